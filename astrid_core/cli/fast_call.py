"""`astrid call` without the parser, for its plainest spelling."""

from __future__ import annotations

from collections.abc import Sequence

from astrid_core.cli.call_questions import NO_CONSENT, Consent, ask_before
from astrid_core.cli.context import home_path
from astrid_core.cli.fast import run_plain
from astrid_core.cli.output import current
from astrid_core.cli.tool_call import ToolCall, acting_as, ask_daemon, parse_arguments, show_answer
from astrid_core.daemon.client import DaemonClient
from astrid_core.daemon.client_errors import NotRunningError
from astrid_hookspecs.exits import EXIT_OK
from astrid_hookspecs.values import Principal

_PLAIN = (1, 2)
"""How many words: the tool, and perhaps its arguments."""


def fast_call(arguments: Sequence[str]) -> int | None:
    """Run `astrid call TOOL [JSON] [--json]`; None when the parser has to read the arguments."""
    words = [word for word in arguments if not word.startswith("-")]
    if len(words) not in _PLAIN or list(arguments[: len(words)]) != words:
        return None
    return run_plain(arguments[len(words) :], lambda: call_tool(*words), words=words)


def call_tool(
    tool: str,
    arguments: str = "{}",
    *,
    principal: str | None = None,
    timeout_s: float | None = None,
    consent: Consent = NO_CONSENT,
) -> int:
    """Call it and print its answer; returns the exit status.

    Raises:
        ToolError: The arguments are no JSON object, or the tool failed.
        ConfigError: `principal.invalid`.
        DaemonError: A daemon cannot be used or started.
        RemoteError: The daemon refused or failed.
    """
    call = ToolCall(tool, parse_arguments(arguments), acting_as(principal))
    with _daemon(call.principal) as client:
        ask_before(client, tool.partition(".")[0])
        answer = ask_daemon(client, call, timeout_s=timeout_s, consent=consent)
    show_answer(call, content=str(answer["content"]), is_error=bool(answer["is_error"]))
    return EXIT_OK


def _daemon(principal: Principal) -> DaemonClient:
    try:
        return DaemonClient.connect(home_path(), principal=principal)
    except NotRunningError:
        # Loaded now, because a daemon that runs is the usual case and has to be quick.
        from astrid_core.cli.capsule_session import workspace  # noqa: PLC0415
        from astrid_core.daemon.launch import Launch, start_daemon  # noqa: PLC0415

    current().info("starting a daemon")
    started = start_daemon(home_path(), Launch(workspace(), is_ephemeral=True))
    with started.client:
        # It stays until this client has connected again, for its principal.
        return DaemonClient.connect(home_path(), principal=principal)
