"""`astrid logs`: what the daemon and the capsules have logged. Spec: cli-and-ux 5.11, T-44."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from astrid_core.cli.context import home_path
from astrid_core.cli.moments import parse_moment
from astrid_core.cli.output import current, describe
from astrid_core.kernel.log_reader import Log, LogLine, capsule_log, daemon_log, has_log
from astrid_hookspecs.errors import CapsuleNotFoundError
from astrid_hookspecs.values import (
    DEFAULT_PRINCIPAL,
    CapsuleId,
    Principal,
    parse_capsule_id,
    parse_principal,
)

POLL_S: Final = 0.2
Level = Literal["trace", "debug", "info", "warning", "error"]


@describe(example="astrid logs -n 50")
def logs(
    capsule: Annotated[
        str | None, typer.Argument(help="A capsule's log instead of the daemon's.")
    ] = None,
    *,
    agent: Annotated[
        str, typer.Option("--agent", "-a", help="For which principal the capsule logged.")
    ] = DEFAULT_PRINCIPAL,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, max=1_000_000, help="How many to show.")
    ] = 100,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is logged from now on.")
    ] = False,
    level: Annotated[Level, typer.Option("--level", help="Leave out what matters less.")] = "trace",
    since: Annotated[
        str | None, typer.Option("--since", help="A date, a time, or an age such as 2h.")
    ] = None,
    grep: Annotated[
        str | None, typer.Option("--grep", help="Only lines that contain this text.")
    ] = None,
) -> None:
    """Show what the daemon, or a capsule, has logged. With --json, one object per line."""
    output = current()
    keep = _filter(level=level, since=parse_moment(since, code="cli.since"), text=grep)
    log = _log(capsule, parse_principal(agent))
    follower = log.follow() if follow else None
    shown = log.latest(lines, keep=keep) if lines else []
    for line in shown:
        _show(line)
    if not shown and follower is None:
        output.info("nothing has been logged")
    while follower is not None:
        time.sleep(POLL_S)
        for line in follower.new_lines():
            if keep(line):
                _show(line)


def _log(name: str | None, principal: Principal) -> Log:
    """The log that is meant.

    Raises:
        CapsuleNotFoundError: There is no such capsule and never was.
    """
    home = home_path()
    if name is None:
        return daemon_log(home)
    capsule = parse_capsule_id(name)
    if not has_log(home, principal, capsule) and not _is_installed(home, capsule):
        raise CapsuleNotFoundError(
            f"no capsule called {name!r} is installed, and none has logged for {principal!r}",
            hint="'astrid capsule list' shows what is installed",
        )
    directory = home / "home" / principal / ".local" / "log" / capsule
    return capsule_log(directory, principal=principal)


def _is_installed(home: Path, capsule: CapsuleId) -> bool:
    from astrid_core.cli.capsule_session import workspace  # noqa: PLC0415 - loads the installer

    places = (home / "home" / DEFAULT_PRINCIPAL / ".local", workspace() / ".astrid")
    return any((place / "capsules" / capsule).is_dir() for place in places)


def _filter(*, level: str, since: str | None, text: str | None) -> Callable[[LogLine], bool]:
    def keep(line: LogLine) -> bool:
        return (
            line.is_at_least(level)
            and (since is None or line.ts >= since)
            and (text is None or text in line.message)
        )

    return keep


def _show(line: LogLine) -> None:
    whom = "" if line.principal is None else f" {line.principal}"
    current().row(line, text=f"{line.ts} {line.level:7}{whom} [{line.source}] {line.message}")
