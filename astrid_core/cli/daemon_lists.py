"""`astrid ps` and `astrid who`: what the daemon has loaded, and who is connected to it.

Spec: cli-and-ux 5.11, 16 U-23.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from astrid_core.cli.context import home_path
from astrid_core.cli.daemon_status import uptime
from astrid_core.cli.output import current, describe
from astrid_core.cli.quantities import shown_size
from astrid_core.daemon.client import DaemonClient
from astrid_core.daemon.client_errors import NotRunningError

_FAULTS: Final = ("traps", "timeouts", "limits")
_COLUMNS: Final[Mapping[str, str]] = {
    "CAPSULE": "capsule",
    "STATE": "state",
    "TOOLS": "tools",
    "CALLS": "calls",
    "FAULTS": "faults",
    "MEMORY": "memory",
    "P50 MS": "p50_ms",
    "P95 MS": "p95_ms",
    "UPTIME": "uptime",
}


@describe(example="astrid ps")
def ps() -> None:
    """List the capsules of the running daemon: their state, and what they have done so far."""
    _list(
        _capsules,
        headers=tuple(_COLUMNS),
        keys=tuple(_COLUMNS.values()),
        nothing="no capsules are loaded",
    )


@describe(example="astrid who")
def who() -> None:
    """List the clients that are connected to the daemon, this one included."""
    _list(
        lambda status: [
            {**row, "connected": uptime(row["connected_secs"])} for row in status["clients"]
        ],
        headers=("PRINCIPAL", "PID", "VERSION", "CONNECTED", "ID"),
        keys=("principal", "pid", "client_version", "connected", "id"),
        nothing="nobody is connected",
    )


def _list(
    rows_of: Callable[[Mapping[str, Any]], list[dict[str, Any]]],
    *,
    headers: Sequence[str],
    keys: Sequence[str],
    nothing: str,
) -> None:
    """Print rows made of the status; none, and status 0, when no daemon runs."""
    output = current()
    try:
        with DaemonClient.connect(home_path()) as client:
            rows = rows_of(client.request("GetStatus").data)
    except NotRunningError as error:
        output.info(str(error))
        output.result([], text="")
        return

    def text() -> str:
        cells = [[_cell(row.get(key)) for key in keys] for row in rows]
        return output.table(headers, cells) if rows else nothing

    output.result(rows, text=text)


def _capsules(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Loaded capsules, then those that could not be loaded."""
    rows = [
        {
            **row,
            "faults": sum(row.get(fault, 0) for fault in _FAULTS),
            "memory": shown_size(row["memory_bytes"]),
            "uptime": uptime(row["uptime_secs"]),
        }
        for row in status["capsules"]
    ]
    known = {row["capsule"] for row in rows}
    rows += [
        {
            "capsule": problem["capsule"],
            "state": "failed",
            "problem": problem["error"],
            "calls": 0,
            "p50_ms": 0.0,
            "p95_ms": 0.0,
        }
        for problem in status["problems"]
        if problem["capsule"] not in known
    ]
    return rows


def _cell(value: object) -> str:
    return "-" if value is None else str(value)
