"""The commands of `astrid mcp`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from astrid_core.cli.acting import acting
from astrid_core.cli.mcp import pins, servers
from astrid_core.cli.mcp.clients import CLIENTS, own_command
from astrid_core.cli.output import current, describe
from astrid_core.domain.tool_filter import ToolFilter
from astrid_hookspecs.errors import ConfigError

app = typer.Typer(help="Serve tools to MCP clients, and use MCP servers.", add_completion=False)
for _name, _command in (
    ("add", servers.add),
    ("list", servers.list_),
    ("inspect", servers.inspect),
    ("call", servers.call),
    ("remove", servers.remove),
    ("import", servers.import_),
    ("pins", pins.pins),
    ("approve", pins.approve),
):
    app.command(_name)(_command)

OnlyOption = Annotated[
    list[str] | None,
    typer.Option("--only", help="Serve what matches, such as 'notes.*'; repeatable."),
]
_TOOL_HEADERS: Final = ("TOOL", "SERVED AS", "SERVER", "DESCRIPTION")
_SHOWN: Final = 60


@app.command("serve")
@describe(example="astrid --principal alice mcp serve --only 'notes.*'")
def serve(
    *,
    only: OnlyOption = None,
    http: Annotated[
        str | None,
        typer.Option("--http", help="Serve HTTP on this loopback address instead: 127.0.0.1:0."),
    ] = None,
) -> None:
    """Be an MCP server: the client lists and calls the tools that the acting agent may use.

    Every call goes through the daemon, its policy and its audit log. What a tool asks permission
    for is asked through the client where it can ask people, and waits in 'astrid approvals' else.
    """
    from astrid_core.cli.mcp.serve import connector, serve_http, serve_stdio  # noqa: PLC0415 - heavy

    connect = connector(acting(), Path.cwd())
    if http is None:
        if sys.stdin.isatty():
            current().info(
                "a client is expected on standard input; 'astrid mcp config CLIENT' says how one "
                "starts this, Ctrl-C ends it"
            )
        serve_stdio(connect, only=ToolFilter(only or ()))
    else:
        host, port = _address(http)
        serve_http(connect, only=ToolFilter(only or ()), host=host, port=port)


@app.command("config")
@describe(example="astrid mcp config claude-desktop")
def config(
    client: Annotated[str, typer.Argument(help=f"One of: {', '.join(CLIENTS)}.")],
    *,
    only: OnlyOption = None,
) -> None:
    """Print what makes a client use Astrid's tools."""
    found = CLIENTS.get(client)
    if found is None:
        raise ConfigError(
            f"there is no snippet for {client!r}",
            code="mcp.client",
            hint=f"known are {', '.join(CLIENTS)}; most others take what claude-desktop takes",
        )
    arguments = ["--principal", acting(), "mcp", "serve"]
    for pattern in only or ():
        arguments += ["--only", pattern]
    text = found.make(own_command(), arguments)
    output = current()
    output.info(f"{found.title}: {found.path}")
    value = {"client": client, "place": found.path, "text": text}
    output.result(value, text=text)


@app.command("tools")
@describe(example="astrid --principal alice mcp tools")
def tools(*, only: OnlyOption = None) -> None:
    """List the tools that the acting agent may call, and what clients see them as."""
    from astrid_core.cli.mcp.names import served_tools  # noqa: PLC0415 - as serve
    from astrid_core.cli.mcp.serve import connector  # noqa: PLC0415 - the same

    with connector(acting(), Path.cwd())() as client:
        rows: list[Mapping[str, Any]] = client.request("ListTools").data
    served = served_tools(rows, only=ToolFilter(only or ()))
    output = current()
    cells = [
        (tool.target, tool.name, tool.row.get("server") or "-", _cut(tool.row.get("description")))
        for tool in served
    ]
    value = [{**tool.row, "target": tool.target, "served_as": tool.name} for tool in served]
    output.result(value, text=lambda: output.table(_TOOL_HEADERS, cells))


def _cut(text: object) -> str:
    first = str(text or "").partition("\n")[0]
    return first if len(first) <= _SHOWN else first[: _SHOWN - 1] + "…"


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535:  # noqa: PLR2004 - ports
        raise ConfigError(
            f"{text!r} is no address", code="mcp.address", hint="for example 127.0.0.1:8765"
        )
    return host.strip("[]") or "127.0.0.1", int(port)
