"""What a command answers while something it started asks: a person at the terminal, or a policy.

Trusted with never saying yes by itself: without a person, and without an option that says so, a
question stays where it is. Spec: cli-and-ux 9, 10.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from astrid_core.cli.output import Output, clean_line
from astrid_core.cli.prompts import Raw, ask
from astrid_core.cli.terminal import Terminal, UnansweredError
from astrid_core.domain import approval as rules
from astrid_core.domain.approval import ApprovalError, Question
from astrid_core.domain.elicitation import Elicitation, ElicitError, read_answer
from astrid_core.domain.environment import OnboardingField
from astrid_core.domain.resource_pattern import ResourcePattern
from astrid_core.domain.topic import APPROVAL_ANSWERS, APPROVAL_TOPIC, ELICIT_ANSWERS, ELICIT_TOPIC

TOPICS: Final = (APPROVAL_TOPIC, ELICIT_TOPIC)
"""What a command that attends hears."""
APPROVAL_S: Final = 60.0
ELICIT_S: Final = 120.0
_ATTEMPTS: Final = 3
_WORDS: Final = {
    "y": "approve",
    "yes": "approve",
    "s": "approve_session",
    "a": "approve_always",
    "n": "deny",
    "no": "deny",
}
_CHOICES: Final = "[y] once  [s] this session  [a] always  [e] another scope  [n] no: "
_KINDS: Final = {"Text": "text", "Secret": "secret", "Array": "array"}


class Reply(NamedTuple):
    """What goes back.

    Attributes:
        topic: Of the answer.
        payload: Tagged by `type`.
    """

    topic: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Policy:
    """What is said where nobody is asked.

    Attributes:
        approves_once: Yes to every question, once.
        patterns: Yes, once, to what matches one: `action` or `action resource`.
        waits: Whether the command waits for somebody else's answer; else it gives up at once, and
            the question stays.
        values: Answers to questions for values, by key.
    """

    approves_once: bool = False
    patterns: tuple[ResourcePattern, ...] = ()
    waits: bool = False
    values: Mapping[str, str] = field(default_factory=dict, repr=False)


class Attendant:
    """Answers what arrives on `TOPICS`.

    Args:
        output: Where notes go.
        policy: What is said without asking.
        terminal: Where the person is; None where nobody is.
        paused: Makes room on the terminal for a question.

    Attributes:
        unanswered: Questions for values that nobody answered, by key.
        used: Keys of the policy's values that were asked for.
    """

    def __init__(
        self,
        output: Output,
        *,
        policy: Policy,
        terminal: Terminal | None,
        paused: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._output = output
        self._paused = paused
        self._policy = policy
        self._terminal = terminal
        self.unanswered: dict[str, str] = {}
        self.used: set[str] = set()
        self._open: list[Reply] = []
        self._has_given_up = False

    def answer(self, topic: str, payload: Mapping[str, Any]) -> Reply | None:
        """What to say to a message; None for nothing."""
        if topic == APPROVAL_TOPIC and payload.get("type") == "approval_required":
            nothing = _nothing_decided(payload)
            reply = self._decide
        elif topic == ELICIT_TOPIC and payload.get("type") == "elicit_request":
            nothing = _nothing_given(payload)
            reply = self._give
        else:
            return None
        if self._has_given_up:
            return nothing
        self._open.append(nothing)
        with self._paused():
            said = reply(payload)
        if said is not None:
            self._open.remove(nothing)
        return said

    def give_up(self) -> list[Reply]:
        """Ask nobody from now on; returns what to say to the questions that are open."""
        self._has_given_up = True
        given_up, self._open = self._open, []
        return given_up

    def _decide(self, asked: Mapping[str, Any]) -> Reply | None:
        capsule, _, action = str(asked["action"]).partition(": ")
        title = f"{capsule} asks: {action} {asked['resource']}"
        scope: str | None = None
        if self._covers(action, str(asked["resource"])):
            decision = "approve"
            self._output.info(f"{title} - approved once")
        elif self._terminal is not None:
            decision, scope = self._ask_person(capsule, action, asked, self._terminal)
        elif self._policy.waits:
            self._output.info(f"{title} - waiting for an answer")
            return None
        else:
            decision = rules.LATER
        if decision == rules.LATER:
            self._output.warning(
                f"{title} - not decided; to allow it for the next try: "
                f"astrid approvals allow {asked['request_id']}"
            )
        nothing = _nothing_decided(asked)
        chosen = {} if scope is None else {"scope": scope}
        return Reply(nothing.topic, {**nothing.payload, "decision": decision, **chosen})

    def _covers(self, action: str, resource: str) -> bool:
        if self._policy.approves_once:
            return True
        texts = (action, f"{action} {resource}")
        return any(one.matches(text) for one in self._policy.patterns for text in texts)

    def _ask_person(
        self, capsule: str, action: str, asked: Mapping[str, Any], terminal: Terminal
    ) -> tuple[str, str | None]:
        """The decision and its scope; LATER when there is none."""
        usual = str(asked.get("scope") or rules.EXACT)
        terminal.say(
            f"\n{clean_line(capsule)} asks for permission\n"
            f"  action    {clean_line(action)}\n"
            f"  resource  {clean_line(str(asked['resource']))}\n"
            f"  more than once would cover: {clean_line(usual)}\n"
        )
        question = _question(capsule, action, str(asked["resource"]))
        try:
            with terminal.within(APPROVAL_S):
                return _decision(terminal, question)
        except UnansweredError:
            return rules.LATER, None

    def _give(self, asked: Mapping[str, Any]) -> Reply:
        wanted = field_of(asked["field"])
        given: Mapping[str, Any] = {}
        try:
            given = self._value(wanted, str(asked["capsule_id"]))
        except (UnansweredError, ElicitError) as error:
            self.unanswered[wanted.key] = wanted.prompt
            self._output.warning(f"{wanted.key}: {error.message}")
        nothing = _nothing_given(asked)
        return Reply(nothing.topic, {**nothing.payload, **given})

    def _value(self, wanted: OnboardingField, capsule: str) -> Mapping[str, Any]:
        def check(raw: Raw) -> Mapping[str, Any]:
            return typed_answer(wanted, raw or wanted.default or raw)

        if wanted.key in self._policy.values:
            self.used.add(wanted.key)
            return check(self._policy.values[wanted.key])
        if self._terminal is None:
            if wanted.default is not None:
                return check(wanted.default)
            raise UnansweredError(f"{clean_line(capsule)} asks {wanted.prompt!r}")
        with self._terminal.within(ELICIT_S):
            return ask(wanted, self._terminal, check=check)


def typed_answer(wanted: OnboardingField, raw: Raw) -> Mapping[str, Any]:
    """What was typed, as `value` or `values`.

    Raises:
        ElicitError: It is no answer to this question.
    """
    if wanted.kind == "Array" and isinstance(raw, str):
        raw = _items(raw)
    value, values = (None, raw) if isinstance(raw, list) else (raw, None)
    read_answer(_elicitation(wanted), value=value, values=values)
    return {"value": value} if values is None else {"values": values}


def _nothing_decided(asked: Mapping[str, Any]) -> Reply:
    request_id = str(asked["request_id"])
    payload = {"type": "approval_response", "request_id": request_id, "decision": rules.LATER}
    return Reply(f"{APPROVAL_ANSWERS}{request_id}", payload)


def _nothing_given(asked: Mapping[str, Any]) -> Reply:
    request_id = str(asked["request_id"])
    payload = {"type": "elicit_response", "request_id": request_id}
    return Reply(f"{ELICIT_ANSWERS}{request_id}", payload)


def _decision(terminal: Terminal, question: Question) -> tuple[str, str | None]:
    scope: str | None = None
    for _ in range(_ATTEMPTS):
        said = terminal.line(_CHOICES).lower()
        if said == "e":
            scope = _scope(terminal, question)
            said = terminal.line(f"{clean_line(scope)}: [s] this session  [a] always  [n] no: ")
            if said not in ("s", "a", "n", "no"):
                continue
        if said in _WORDS:
            return _WORDS[said], scope if said in ("s", "a") else None
    raise UnansweredError("no usable answer")


def _scope(terminal: Terminal, question: Question) -> str:
    """A scope that covers the question, as a person wrote it."""
    for _ in range(_ATTEMPTS):
        text = terminal.line(f"scope [{clean_line(rules.usual_scope(question))}]: ")
        text = text or rules.usual_scope(question)
        try:
            rules.check_scope(question, text)
        except ApprovalError as error:
            terminal.say(f"  {clean_line(error.message)}\n")
        else:
            return text
    raise UnansweredError("no usable answer")


def _question(capsule: str, action: str, resource: str) -> Question:
    """The question as far as a scope is about it."""
    return Question(
        id=uuid.UUID(int=0),
        principal="",
        capsule=capsule,
        action=action,
        resource=resource,
        created_at=0,
        expires_at=0,
    )


def field_of(found: Mapping[str, Any]) -> OnboardingField:
    """A question as it stands in payloads."""
    kind = found["field_type"]
    choices = tuple(kind["Enum"]) if isinstance(kind, Mapping) else ()
    return OnboardingField(
        key=str(found["key"]),
        prompt=str(found["prompt"]),
        kind="Enum" if choices else str(kind),
        choices=choices,
        description=found.get("description"),
        default=found.get("default"),
        placeholder=found.get("placeholder"),
    )


def _elicitation(wanted: OnboardingField) -> Elicitation:
    kind: Any = _KINDS.get(wanted.kind, "select")
    return Elicitation(kind, wanted.key, wanted.prompt, wanted.choices)


def _items(text: str) -> list[str]:
    """The items of an array that was given as one text: JSON, else the text itself."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return [text]
    return found if isinstance(found, list) and all(isinstance(x, str) for x in found) else [text]
