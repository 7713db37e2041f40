"""Questions of capsules, asked through MCP clients: yes or no, and values that are no secrets.

Trusted with never saying yes by itself: without an answer from the client's person a question
stays in the queue. Secrets are never asked for this way: what is typed there goes through the
client, and its model may see it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from astrid_core.cli.attending import Reply, field_of, typed_answer
from astrid_core.domain import approval as rules
from astrid_core.domain.elicitation import ElicitError
from astrid_core.domain.topic import APPROVAL_ANSWERS, ELICIT_ANSWERS

DECISIONS: Final = {
    "once": "approve",
    "this session": "approve_session",
    "always": "approve_always",
    "no": "deny",
}


def approval_form(asked: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The text and the schema of the question whether something may be done."""
    capsule, _, action = str(asked["action"]).partition(": ")
    text = (
        f"{capsule} asks for permission.\nAction: {action}\nResource: {asked['resource']}\n"
        f"More than once would cover: {asked.get('scope') or 'exactly this'}"
    )
    decision = {"type": "string", "title": "Allow it?", "enum": list(DECISIONS)}
    return text, {
        "type": "object",
        "properties": {"decision": decision},
        "required": ["decision"],
    }


def approval_reply(request_id: str, action: str, content: Mapping[str, Any] | None) -> Reply:
    """What the kernel is told about a question.

    Args:
        request_id: Of the question.
        action: What the client's person did: `accept`, `decline`, `cancel`.
        content: What was chosen.
    """
    decision = rules.LATER
    if action == "accept":
        decision = DECISIONS.get(str((content or {}).get("decision")), rules.LATER)
    elif action == "decline":
        decision = "deny"
    return Reply(
        f"{APPROVAL_ANSWERS}{request_id}",
        {"type": "approval_response", "request_id": request_id, "decision": decision},
    )


def value_form(asked: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The text and the schema of a question for a value; None for a secret."""
    wanted = field_of(asked["field"])
    if wanted.kind == "Secret":
        return None
    value: dict[str, Any] = {"type": "string", "title": wanted.prompt}
    if wanted.description:
        value["description"] = wanted.description
    if wanted.choices:
        value["enum"] = list(wanted.choices)
    if wanted.default is not None:
        value["default"] = wanted.default
    hint = " (JSON list of texts)" if wanted.kind == "Array" else ""
    schema = {"type": "object", "properties": {"value": value}, "required": ["value"]}
    return f"{asked['capsule_id']}: {wanted.prompt}{hint}", schema


def value_reply(asked: Mapping[str, Any], action: str, content: Mapping[str, Any] | None) -> Reply:
    """What the kernel is told about a question for a value; nothing where there is no answer."""
    request_id = str(asked["request_id"])
    given: Mapping[str, Any] = {}
    if action == "accept" and content and isinstance(content.get("value"), str):
        try:
            given = typed_answer(field_of(asked["field"]), content["value"])
        except ElicitError:
            given = {}
    payload = {"type": "elicit_response", "request_id": request_id, **given}
    return Reply(f"{ELICIT_ANSWERS}{request_id}", payload)
