"""A tool of a capsule through `astrid mcp serve`, against the same tool in a plain MCP server.

Both over stdio, both with the official SDK's client and server. Ours adds a process, a socket, the
kernel with its permissions and records, and the sandbox.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from mcp import Client, StdioServerParameters

from tests.benchmarks.daemon_side import echo_daemon
from tests.benchmarks.kernel_side import TEXT
from tests.benchmarks.mcp_side import mcp_client
from tests.benchmarks.measure import Row, alternate_async, information, timed


async def measured(home: Path, *, rounds: int) -> Row:
    """Two clients on one loop, in turns."""
    served = StdioServerParameters(
        command=str(Path(sys.executable).with_name("astrid")),
        args=["mcp", "serve"],
        env={**os.environ, "ASTRID_HOME": str(home)},
        cwd=str(home.parent),
    )
    async with Client(served) as ours, mcp_client() as plain:
        await timed(lambda: ours.call_tool("echo__echo", TEXT), 50)
        await timed(lambda: plain.call_tool("echo", TEXT), 50)
        sides = await alternate_async(
            lambda: ours.call_tool("echo__echo", TEXT),
            lambda: plain.call_tool("echo", TEXT),
            times=(60, 60),
            rounds=rounds,
        )
    return information(
        "tool of a capsule through 'astrid mcp serve', against a plain MCP server",
        1 / sides.ratio,
        unit="x",
        detail=sides.detail("astrid", "plain"),
    )


def run(*, quick: bool = False) -> list[Row]:
    """Measure."""
    with echo_daemon() as home:
        return [asyncio.run(measured(home, rounds=3 if quick else 9))]
