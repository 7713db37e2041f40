"""The commands of `astrid caps approval`: what waits for a person, and deciding about it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from astrid_core.cli.acting import acting
from astrid_core.cli.context import home_path
from astrid_core.cli.management import manage
from astrid_core.cli.output import current, describe
from astrid_core.daemon.client import DaemonClient
from astrid_core.daemon.client_errors import AnswerTimeoutError, NotRunningError
from astrid_hookspecs.errors import ConfigError, DeniedError
from astrid_hookspecs.values import NIL_SOURCE

if TYPE_CHECKING:
    from astrid_hookspecs.values import Principal

app = typer.Typer(help="List what waits for a decision, and decide.", add_completion=False)

ANSWER_TIMEOUT_S: Final = 10.0
_ANSWERS: Final = "astrid.v1.approval.response."
_KIND: Final = "approval_response"
_HEADERS: Final = ("ID", "CAPSULE", "ACTION", "RESOURCE", "REASON")
_DECISIONS: Final = {
    "once": "approve",
    "session": "approve_session",
    "always": "approve_always",
    "deny": "deny",
}


@app.command("list")
@describe(example="astrid caps approval list --of alice")
def list_approvals(
    *,
    of: Annotated[
        str | None, typer.Option("--of", help="Whose; the acting agent's unless given.")
    ] = None,
) -> None:
    """List the questions of an agent's capsules that wait for a decision."""
    rows = manage("ApprovalList", principal=of or acting())
    output = current()
    names = ("id", "capsule", "action", "resource", "reason")
    output.result(
        rows,
        text=lambda: output.table(_HEADERS, [tuple(row[name] for name in names) for row in rows]),
    )


@app.command("answer")
@describe(example="astrid caps approval answer 11111111-2222-4333-8444-555555555555 once")
def answer(
    request_id: Annotated[str, typer.Argument(help="The question's id.", metavar="ID")],
    decision: Annotated[str, typer.Argument(help="once, session, always or deny.")],
) -> None:
    """Decide about a question of the acting agent; the owner decides about everybody's."""
    if decision not in _DECISIONS:
        raise ConfigError(
            f"{decision[:40]!r} is no decision",
            code="approval.decision",
            hint=f"use {', '.join(_DECISIONS)}",
        )
    response = {
        "type": _KIND,
        "request_id": _id(request_id),
        "decision": _DECISIONS[decision],
    }
    _send(acting(), response)
    output = current()
    output.success(f"answered {request_id}: {decision}")
    output.result({"id": request_id, "decision": decision}, text="")


def _id(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise ConfigError(
            f"{text[:40]!r} is no id of a question",
            code="approval.invalid",
            hint="'astrid caps approval list' shows them",
        ) from error


def _send(who: Principal, response: Mapping[str, str]) -> None:
    """Answer by way of the daemon that runs, else in this process."""
    topic = _ANSWERS + response["request_id"]
    try:
        client = DaemonClient.connect(home_path(), principal=who)
    except NotRunningError:
        _in_process(who, topic, response)
        return
    with client:
        client.subscribe(topic)
        client.publish(topic, response)
        for message in client.messages(timeout_s=ANSWER_TIMEOUT_S):
            if message.topic == topic:  # the kernel passes on what it has taken
                return
            payload: Any = message.payload
            if isinstance(payload, dict) and payload.get("status") == "Error":
                raise DeniedError(
                    str(payload.get("data")), rule="approval", code="approval.not-taken"
                )
    raise AnswerTimeoutError(
        "the daemon did not say whether it took the answer",
        hint="'astrid caps approval list' shows what still waits",
    )


def _in_process(who: Principal, topic: str, response: Mapping[str, str]) -> None:
    # Imported here because they load the whole kernel.
    from astrid_core.kernel.assembly import assemble  # noqa: PLC0415
    from astrid_core.kernel.clients import ClientAccess  # noqa: PLC0415

    parts = assemble(home_path())
    with closing(parts.release):
        ClientAccess(parts).publish(
            topic,
            kind=_KIND,
            payload=json.dumps(response).encode(),
            principal=who,
            source_id=NIL_SOURCE,
        )
