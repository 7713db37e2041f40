"""`astrid start`, `stop` and `restart`. Spec: cli-and-ux 5.11, 6."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from astrid_core.cli.acting import acting
from astrid_core.cli.capsule_session import workspace
from astrid_core.cli.context import home_path
from astrid_core.cli.daemon_status import uptime
from astrid_core.cli.output import current, describe
from astrid_core.daemon.client import DaemonClient
from astrid_core.daemon.ending import STOP_TIMEOUT_S, stop_daemon
from astrid_core.daemon.launch import START_TIMEOUT_S, Launch, start_daemon
from astrid_core.daemon.survey import survey

StartTimeout = Annotated[
    float, typer.Option("--timeout", min=0.1, help="Give up after this many seconds.")
]
WorkspaceOption = Annotated[
    Path | None,
    typer.Option("--workspace", "-w", metavar="DIR", help="Project directory, instead of this."),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Kill it when it does not end by itself.")
]


@describe(example="astrid start")
def start(
    *,
    project: WorkspaceOption = None,
    ephemeral: Annotated[
        bool, typer.Option("--ephemeral", help="End soon after the last client has left.")
    ] = False,
    timeout_s: StartTimeout = START_TIMEOUT_S,
) -> None:
    """Start the daemon in the background and wait until it serves."""
    _start(project, is_ephemeral=ephemeral, timeout_s=timeout_s, verb="started")


@describe(example="astrid stop")
def stop(*, force: ForceOption = False, timeout_s: StartTimeout = STOP_TIMEOUT_S) -> None:
    """Stop the daemon and wait until its process is gone."""
    output = current()
    outcome = stop_daemon(home_path(), principal=acting(), force=force, timeout_s=timeout_s)
    words = {
        "stopped": "stopped",
        "killed": "killed: it did not end by itself",
        "cleaned": "not running; what a killed daemon had left is removed",
        "not-running": "not running",
    }
    if outcome in ("stopped", "killed"):
        output.success(words[outcome])
        words[outcome] = ""
    output.result({"outcome": outcome}, text=words[outcome])


@describe(example="astrid restart")
def restart(
    *,
    project: WorkspaceOption = None,
    force: ForceOption = False,
    timeout_s: StartTimeout = START_TIMEOUT_S,
) -> None:
    """Stop the daemon if it runs, and start it again in the same workspace."""
    before: dict[str, Any] = {}
    found = survey(home_path())
    if found.client is not None:
        with found.client as client:
            before = client.request("GetStatus").data
    stop_daemon(home_path(), force=force, timeout_s=timeout_s)
    again = before.get("workspace")
    chosen = project if project is not None or again is None else Path(again)
    _start(chosen, is_ephemeral=False, timeout_s=timeout_s, verb="restarted")


def _start(project: Path | None, *, is_ephemeral: bool, timeout_s: float, verb: str) -> None:
    output = current()
    launch = Launch(
        project.absolute() if project is not None else workspace(),
        is_ephemeral=is_ephemeral,
        is_verbose=output.verbose,
    )
    started = start_daemon(home_path(), launch, timeout_s=timeout_s)
    with started.client as client:
        facts = _facts(client)
    outcome = verb if started.is_new else "already running"
    since = "" if started.is_new else f", up {uptime(facts['uptime_secs'])}"
    output.success(f"{outcome} (PID {facts['pid']}{since})")
    for problem in facts.get("problems", []):
        output.warning(f"{problem['capsule']} is left out: {problem['error']}")
    output.result({"outcome": outcome, **facts}, text="")


def _facts(client: DaemonClient) -> dict[str, Any]:
    status: dict[str, Any] = client.request("GetStatus").data
    kept = ("pid", "uptime_secs", "version", "workspace", "loaded_capsules", "problems")
    return {key: status[key] for key in kept if key in status}
