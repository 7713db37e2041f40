"""`astrid mcp pins` and `approve`: what tools of servers were accepted, and accepting changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from astrid_core.cli.acting import acting
from astrid_core.cli.context import home_path
from astrid_core.cli.management import confirm
from astrid_core.cli.output import current, describe
from astrid_core.daemon.client import DaemonClient
from astrid_hookspecs.errors import ToolNotFoundError

_HEADERS: Final = ("CAPSULE", "SERVER", "TOOL", "OFFERED AS", "WAITS BECAUSE")
Row = Mapping[str, Any]


@describe(example="astrid mcp pins --waiting")
def pins(
    *,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Only what waits, with its difference.")
    ] = False,
) -> None:
    """List the tools of MCP servers as they were accepted, and those that wait for approval."""
    rows = [row for row in known_pins() if row["proposed"] or not waiting]
    output = current()

    def text() -> str:
        table = output.table(_HEADERS, [_cells(row) for row in rows])
        diffs = [f"{_place(row)}\n{row['diff']}" for row in rows] if waiting else []
        return "\n\n".join([table, *diffs])

    output.result(rows, text=text)


@describe(example="astrid mcp approve clock time get_current_time")
def approve(
    capsule: Annotated[str, typer.Argument(help="Whose server it is.")],
    server: Annotated[str, typer.Argument(help="The server's id.")],
    tool: Annotated[str, typer.Argument(help="The tool, as `astrid mcp pins` shows it.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Accept what a server says about a tool now, after showing what changed."""
    found = [row for row in known_pins() if (row["capsule"], row["server"], row["tool"]) ==
             (capsule, server, tool) and row["proposed"]]  # fmt: skip
    if not found:
        raise ToolNotFoundError(
            f"no tool {tool!r} of server {server!r} of {capsule!r} waits for approval",
            hint="see what does: astrid mcp pins --waiting",
        )
    (row,) = found
    output = current()
    output.info(f"{_place(row)}: {', '.join(row['reasons'])}")
    output.info(row["diff"])
    confirm(f"Accept {tool} as it is now", yes=yes)
    with DaemonClient.connect(home_path(), principal=acting()) as client:
        data = client.request(
            "ApproveToolPin",
            {"capsule": capsule, "server": server, "tool": tool, "proposed": row["proposed"]},
        ).data
    output.success(f"{tool} is offered as {data['offered_as']}")
    output.result(data, text="")


def known_pins() -> list[Row]:
    """Every tool that was accepted or waits.

    Raises:
        DaemonError, RemoteError: The daemon cannot be asked.
    """
    with DaemonClient.connect(home_path(), principal=acting()) as client:
        rows: list[Row] = client.request("ListToolPins").data
    return rows


def _place(row: Row) -> str:
    return f"{row['capsule']} {row['server']} {row['tool']}"


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row["capsule"],
        row["server"],
        row["tool"],
        row["offered_as"] or "-",
        ", ".join(row["reasons"]) or "-",
    )
