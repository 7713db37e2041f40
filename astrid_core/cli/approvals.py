"""`astrid approvals`: what capsules wait for a person to decide, and deciding about it.

The inbox is in the home: it outlives the daemon, and whoever gave up waiting finds the answer at
the next try. Spec: cli-and-ux 9.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol

import typer

from astrid_core.cli.acting import acting
from astrid_core.cli.context import home_path
from astrid_core.cli.management import manage
from astrid_core.cli.moments import second_text
from astrid_core.cli.output import NeedsAnswerError, current, describe
from astrid_core.daemon.client import DaemonClient, Message
from astrid_core.daemon.client_errors import AnswerTimeoutError, NotRunningError
from astrid_hookspecs.errors import ConfigError, DeniedError
from astrid_hookspecs.values import NIL_SOURCE

if TYPE_CHECKING:
    from astrid_hookspecs.values import Principal

app = typer.Typer(help="List what waits for a decision, and decide.", add_completion=False)

ANSWER_TIMEOUT_S: Final = 10.0
_ANSWERS: Final = "astrid.v1.approval.response."
_KIND: Final = "approval_response"
_NAMES: Final = ("id", "principal", "capsule", "action", "resource")

OfOption = Annotated[
    str | None, typer.Option("--of", help="Whose; the acting agent's unless given.")
]
AllOption = Annotated[
    bool, typer.Option("--all", help="Every question of the agent that waits now.")
]
IdsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of questions.")
]
Row = Mapping[str, Any]


@app.command("list")
@describe(example="astrid approvals list")
def list_approvals(
    *,
    of: OfOption = None,
    everybody: Annotated[
        bool, typer.Option("--everybody", help="Of every agent; for the owner.")
    ] = False,
) -> None:
    """List the questions of an agent's capsules that wait for a decision, oldest first."""
    rows = _waiting(of, everybody=everybody)
    output = current()
    if not rows:
        output.info("nothing waits for a decision")
    headers = [name.upper() for name in _NAMES]
    output.result(
        rows,
        text=lambda: output.table(headers, [tuple(row[name] for name in _NAMES) for row in rows]),
    )


@app.command("show")
@describe(example="astrid approvals show 11111111-2222-4333-8444-555555555555")
def show(
    request_id: Annotated[str, typer.Argument(help="The question's id.", metavar="ID")],
    *,
    of: OfOption = None,
) -> None:
    """Show a question in full, and what a yes for more than one time would cover."""
    wanted = _id(request_id)
    found = [row for row in _waiting(of, everybody=False) if row["id"] == wanted]
    if not found:
        raise ConfigError(
            f"no request {wanted} waits for a decision",
            code="approval.not-found",
            hint="it may have been answered or have expired; --of names another agent",
        )
    current().result(found[0], text=lambda: _text(found[0]))


@app.command("allow")
@describe(example="astrid approvals allow --all --once")
def allow(
    request_ids: IdsArgument = None,
    *,
    once: Annotated[
        bool, typer.Option("--once", help="One time, within a day. The default.")
    ] = False,
    session: Annotated[
        bool,
        typer.Option("--session", help="Until the last client of the agent leaves the daemon."),
    ] = False,
    always: Annotated[bool, typer.Option("--always", help="From now on; mints a token.")] = False,
    scope: Annotated[
        str | None,
        typer.Option(
            "--scope",
            help="What --session or --always covers: 'exact', or a pattern such as 'git push *'.",
        ),
    ] = None,
    all_of_them: AllOption = False,
    of: OfOption = None,
) -> None:
    """Say yes to questions of the acting agent; the owner decides about everybody's.

    Without --scope, a yes for more than one time covers what `show` says. A capsule that no longer
    waits finds the yes at its next try.
    """
    if once + session + always > 1:
        raise ConfigError("choose one of --once, --session and --always", code="approval.decision")
    if scope is not None and not (session or always):
        raise ConfigError(
            "--scope goes with --session or --always",
            code="approval.scope",
            hint="a yes for one time is about this one request",
        )
    decision = "approve_session" if session else "approve_always" if always else "approve"
    _answer(_chosen(request_ids, all_of_them=all_of_them, of=of), decision, scope=scope)


@app.command("deny")
@describe(example="astrid approvals deny 11111111-2222-4333-8444-555555555555")
def deny(
    request_ids: IdsArgument = None, *, all_of_them: AllOption = False, of: OfOption = None
) -> None:
    """Say no to questions of the acting agent; the owner decides about everybody's."""
    _answer(_chosen(request_ids, all_of_them=all_of_them, of=of), "deny", scope=None)


@app.command("attend")
@describe(example="astrid approvals attend", structured=False, needs_daemon=True)
def attend() -> None:
    """Answer on this terminal what the daemon asks, until Ctrl-C.

    First what waits already; then each question of the agent's capsules, and what install hooks ask
    for, as it comes.
    """
    from astrid_core.cli.attending import TOPICS  # noqa: PLC0415 - no other command asks here
    from astrid_core.cli.call_questions import NO_CONSENT, answer_with  # noqa: PLC0415
    from astrid_core.cli.terminal import has_person  # noqa: PLC0415

    if not has_person() or current().is_json:
        raise NeedsAnswerError(
            "nobody can be asked without a terminal", hint="'astrid approvals allow' needs none"
        )
    who = acting()
    with DaemonClient.connect(home_path(), principal=who) as client:
        for topic in TOPICS:
            client.subscribe(topic)
        hear = answer_with(client, NO_CONSENT.attendant())
        for row in client.manage("ApprovalList", {"principal": who}).data:
            hear(Message(TOPICS[0], _as_asked(row), NIL_SOURCE))
        current().info("waiting for questions; Ctrl-C ends")
        for message in client.messages():
            hear(message)


def _as_asked(row: Row) -> Row:
    """A question of the inbox in the form in which front ends hear of it."""
    return {
        "type": "approval_required",
        "request_id": row["id"],
        "action": f"{row['capsule']}: {row['action']}",
        "resource": row["resource"],
        "reason": row["reason"],
        "scope": row["scope"],
    }


def _waiting(of: str | None, *, everybody: bool) -> list[Row]:
    if everybody:
        agents = [row["principal"] for row in manage("AgentList")]
        return [row for agent in agents for row in manage("ApprovalList", principal=agent)]
    rows: list[Row] = manage("ApprovalList", principal=of or acting())
    return rows


def _chosen(request_ids: list[str] | None, *, all_of_them: bool, of: str | None) -> list[str]:
    if all_of_them is bool(request_ids):
        raise ConfigError(
            "name questions by their ids, or say --all",
            code="approval.invalid",
            hint="'astrid approvals list' shows them",
        )
    if all_of_them:
        return [row["id"] for row in _waiting(of, everybody=False)]
    return list(dict.fromkeys(_id(text) for text in request_ids or ()))


def _answer(request_ids: Iterable[str], decision: str, *, scope: str | None) -> None:
    """Answer one after the other; the first that is not taken is an error."""
    output, answered = current(), []
    with _door(acting()) as door:
        for request_id in request_ids:
            response = {"type": _KIND, "request_id": request_id, "decision": decision}
            door({**response, **({} if scope is None else {"scope": scope})})
            answered.append({"id": request_id, "decision": decision, "scope": scope})
            output.success(f"answered {request_id}: {decision}")
    if not answered:
        output.info("nothing waits for a decision")
    output.result(answered, text="")


def _id(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise ConfigError(
            f"{text[:40]!r} is no id of a question",
            code="approval.invalid",
            hint="'astrid approvals list' shows them",
        ) from error


def _text(row: Row) -> str:
    lines = [
        ("id", row["id"]),
        ("agent", row["principal"]),
        ("capsule", row["capsule"]),
        ("action", row["action"]),
        ("resource", row["resource"]),
        ("reason", row["reason"]),
        ("asked", second_text(row["created_at"])),
        ("waits until", second_text(row["expires_at"])),
        ("more than once would cover", row["scope"]),
    ]
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in lines)


class _Door(Protocol):
    """Where answers are taken."""

    def __call__(self, response: Mapping[str, str]) -> None:
        """Answer; raises when it is not taken."""
        ...


@contextmanager
def _door(who: Principal) -> Iterator[_Door]:
    """The daemon that runs, else a kernel in this process."""
    try:
        client = DaemonClient.connect(home_path(), principal=who)
    except NotRunningError:
        with _in_process(who) as door:
            yield door
        return
    with client:
        yield lambda response: _send(client, response)


def _send(client: DaemonClient, response: Mapping[str, str]) -> None:
    topic = _ANSWERS + response["request_id"]
    client.subscribe(topic)
    client.publish(topic, response)
    for message in client.messages(timeout_s=ANSWER_TIMEOUT_S):
        if message.topic == topic:  # the kernel passes on what it has taken
            return
        payload: Any = message.payload
        if isinstance(payload, dict) and payload.get("status") == "Error":
            raise DeniedError(str(payload.get("data")), rule="approval", code="approval.not-taken")
    raise AnswerTimeoutError(
        "the daemon did not say whether it took the answer",
        hint="'astrid approvals list' shows what still waits",
    )


@contextmanager
def _in_process(who: Principal) -> Iterator[_Door]:
    # Imported here because they load the whole kernel.
    from astrid_core.kernel.assembly import assemble  # noqa: PLC0415
    from astrid_core.kernel.clients import ClientAccess  # noqa: PLC0415

    parts = assemble(home_path())
    with closing(parts.release):
        clients = ClientAccess(parts)

        def take(response: Mapping[str, str]) -> None:
            if response["decision"] == "approve_session":
                raise ConfigError(
                    "no daemon runs, so there is no session that the yes could last for",
                    code="approval.session",
                    hint="use --once or --always, or start the daemon: astrid start",
                )
            clients.publish(
                _ANSWERS + response["request_id"],
                kind=_KIND,
                payload=json.dumps(response).encode(),
                principal=who,
                source_id=NIL_SOURCE,
            )

        yield take
