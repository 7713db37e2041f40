"""One tool call from the command line, by way of a daemon: its arguments, the asking, its answer.

Loads neither the parser nor the kernel.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from astrid_core.cli.acting import acting
from astrid_core.cli.call_questions import Consent, hearing
from astrid_core.cli.context import home_path
from astrid_core.cli.output import current
from astrid_core.daemon.client import DaemonClient
from astrid_core.daemon.client_errors import DaemonError, NotRunningError, RemoteError, remote_error
from astrid_hookspecs.errors import AstridError, ToolError, ToolNotFoundError
from astrid_hookspecs.values import Principal, parse_principal

_ARGUMENTS: Final = """give one JSON object in quotes: '{"name": "Ada"}'"""

MAX_TIMEOUT_S: Final = 86_400.0
SERVERS_FILE: Final = "servers.toml"
"""What was left out when `etc/servers.toml` is not understood; not imported, to stay quick."""


class ToolCall(NamedTuple):
    """What is called.

    Attributes:
        name: `capsule.tool`.
        arguments: By name.
        principal: On whose behalf.
    """

    name: str
    arguments: Mapping[str, Any]
    principal: Principal


def acting_as(named: str | None) -> Principal:
    """The principal that an option names, or for whom commands act otherwise.

    Raises:
        ConfigError: `principal.invalid`, `cli.context`.
    """
    return acting() if named is None else parse_principal(named)


def running_daemon(principal: Principal) -> DaemonClient | None:
    """A connection to the daemon, for a principal; None when none runs, so that a kernel can.

    Raises:
        DaemonError: One runs, holds the home, and cannot be used.
    """
    try:
        client = DaemonClient.connect(home_path(), principal=principal)
    except NotRunningError:
        return None
    current().info(f"asking the running daemon (process {client.pid})")
    return client


def warn_of_other_workspace(client: DaemonClient, here: Path) -> None:
    """Say when the daemon works on another project than the one somebody is in.

    A principal that may not see the status is not told.
    """
    try:
        there = client.request("GetStatus").data.get("workspace")
    except (RemoteError, DaemonError):
        return
    if there != str(here):
        current().warning(f"the daemon's workspace is {there}; restart it here to change that")


def ask_daemon(
    client: DaemonClient, call: ToolCall, *, timeout_s: float | None, consent: Consent
) -> Mapping[str, Any]:
    """Call the tool; the answer's keys are those of `DaemonClient.call_tool`.

    Args:
        client: Connected for the call's principal.
        call: What is called.
        timeout_s: How long it may take; None for the principal's limit.
        consent: What is said when the tool asks for permission.

    Raises:
        RemoteError: As the call would have failed in this process.
    """
    limit_s = None if timeout_s is None else min(timeout_s, MAX_TIMEOUT_S)
    try:
        return client.call_tool(
            call.name, call.arguments, timeout_s=limit_s, hear=hearing(client, consent)
        )
    except RemoteError as error:
        if error.code == "tool.not-found":
            explain_absence(call, _problems(client))
        raise


def explain_absence(call: ToolCall, problems: Iterable[tuple[str, AstridError]]) -> None:
    """Raise the reason for which a tool is absent, if what was left out is that reason.

    Args:
        call: Of a tool that nothing offers.
        problems: What was left out by name, and why.

    Raises:
        AstridError: Why the tool's capsule was left out.
        ToolNotFoundError: No server of `etc/servers.toml` runs, and it may be one of them.
    """
    for capsule, error in problems:
        if call.name.startswith(f"{capsule}."):
            raise error
        if capsule == SERVERS_FILE:
            raise ToolNotFoundError(
                f"nothing offers a tool called {call.name[:120]!r}, and no configured server runs: "
                f"{error}",
                hint=error.hint,
            ) from error


def _problems(client: DaemonClient) -> Iterator[tuple[str, AstridError]]:
    """What the daemon has left out; nothing for one who may not see it."""
    try:
        problems = client.request("GetStatus").data["problems"]
    except RemoteError:
        return
    for problem in problems:
        yield problem["capsule"], remote_error(problem["answer"])


def parse_arguments(text: str) -> dict[str, Any]:
    """The arguments of a call, as somebody wrote them.

    Raises:
        ToolError: `tool.arguments`; no JSON object.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ToolError(
            f"the arguments are not JSON: {error}", code="tool.arguments", hint=_ARGUMENTS
        ) from error
    if not isinstance(values, dict):
        raise ToolError(
            "the arguments have to be a JSON object",
            code="tool.arguments",
            hint=_ARGUMENTS,
        )
    return values


def show_answer(call: ToolCall, *, content: str, is_error: bool) -> None:
    """Print what the tool said.

    Raises:
        ToolError: It said that it failed.
    """
    if is_error:
        raise ToolError(f"{call.name} failed: {content}")
    current().result(_value(content), text=content)


def _value(content: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content
