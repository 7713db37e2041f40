"""`astrid status`: whether a daemon serves this home, and what it says about itself.

Loads neither the parser nor the kernel. Spec: cli-and-ux 5.11, 6.3, 6.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from astrid_core.cli.context import home_path
from astrid_core.cli.fast import run_plain
from astrid_core.cli.output import clean_line, current, describe
from astrid_core.daemon.client_errors import DaemonError
from astrid_core.daemon.survey import LOOK_TIMEOUT_S, Survey, survey
from astrid_hookspecs.exits import EXIT_NOT_RUNNING, EXIT_OK, EXIT_UNHEALTHY

_WORDS = {
    "stopped": "not running",
    "stale": "not running; one that was killed left its socket behind (stale)",
    "busy": "not serving: a process holds the home and is starting, stopping or another command",
    "silent": "not healthy: it runs but does not answer",
    "refused": "not healthy: it runs but refused this client",
}


def fast_status(arguments: Sequence[str]) -> int | None:
    """Run `astrid status` without the parser; None when that has to read the arguments."""
    return run_plain(arguments, status)


@describe(example="astrid status")
def status() -> int:
    """Show whether the daemon runs, since when, for whom, and what it has loaded.

    Ends with 0 when it runs, 3 when it does not, 4 when it is there but cannot be used.
    """
    found = survey(home_path())
    if found.client is None:
        return _show_absence(found)
    with found.client as client:
        try:
            facts: dict[str, Any] = client.request("GetStatus", timeout_s=LOOK_TIMEOUT_S).data
        except DaemonError as error:
            return _show_absence(Survey("silent", found.pid, error=error))
    facts = {"running": True, "state": "running", **facts}
    current().result(facts, text=lambda: status_text(facts))
    return EXIT_OK


def _show_absence(found: Survey) -> int:
    """Say why there is no answer; returns the exit status."""
    output = current()
    reason = None if found.error is None else found.error.to_json()
    facts = {"running": False, "state": found.state, "pid": found.pid, "error": reason}
    process = "" if found.pid is None else f" (process {found.pid})"
    is_gone = found.state in ("stopped", "stale")
    output.result(facts, text=_WORDS[found.state] + process)
    if found.error is not None and found.state in ("silent", "refused") and not output.is_json:
        output.error(str(found.error), hint=found.error.hint)
    return EXIT_NOT_RUNNING if is_gone else EXIT_UNHEALTHY


def status_text(facts: dict[str, Any]) -> str:
    """What people read."""
    output = current()
    kind = "ephemeral, " if facts["ephemeral"] else ""
    output.success(f"running ({kind}PID {facts['pid']}, up {uptime(facts['uptime_secs'])})")
    lines = [
        f"  Version    {facts['version']}",
        f"  Workspace  {facts['workspace'] or '-'}",
        f"  Clients    {facts['connected_clients']}",
        f"  Capsules   {len(facts['loaded_capsules'])} loaded",
    ]
    lines += [
        f"    {row['capsule']} {row['version']} ({row['state']})" for row in facts["capsules"]
    ]
    lines += [f"    {row['capsule']} (failed): {row['error']}" for row in facts.get("problems", [])]
    return "\n".join(clean_line(line) for line in lines)


def uptime(seconds: int) -> str:
    """`1h02m03s`, `2m03s`, `3s`. Spec: cli-and-ux 3.4."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m{rest:02}s"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
