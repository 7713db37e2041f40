"""A tool of an MCP server through the kernel, against the SDK's client alone with the same server.

On our side the server is confined and the call is authorised, recorded and matched with its answer
on the bus; on the other side it is neither. Both have the official SDK at both ends of a pipe.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path

from mcp import Client

from astrid_core import Kernel
from astrid_core.kernel.install.sources import Source
from tests.benchmarks.kernel_side import TEXT, open_kernel, scratch
from tests.benchmarks.mcp_side import SERVER, mcp_client
from tests.benchmarks.measure import Row, alternate_async, at_most, timed
from tests.support.capsules import eventually, install


def _capsule(directory: Path) -> Source:
    directory.mkdir()
    shutil.copy(SERVER, directory / "server.py")
    command = json.dumps(sys.executable)
    (directory / "Capsule.toml").write_text(
        '[package]\nname = "served"\nversion = "1.0.0"\n'
        f"[capabilities]\nhost_process = [{command}]\n"
        f'[[mcp_server]]\nid = "echo"\ntype = "stdio"\ncommand = {command}\n'
        'args = ["./server.py"]\n'
    )
    return Source(directory, "directory")


async def _measured(kernel: Kernel, client: Client, *, rounds: int) -> Row:
    if (await kernel.call_tool("echo", TEXT)).content != TEXT["text"]:
        raise RuntimeError("the server did not echo")
    await timed(lambda: client.call_tool("echo", TEXT), 50)
    await timed(lambda: kernel.call_tool("echo", TEXT), 50)
    sides = await alternate_async(
        lambda: kernel.call_tool("echo", TEXT),
        lambda: client.call_tool("echo", TEXT),
        times=(60, 60),
        rounds=rounds,
    )
    detail = sides.detail("astrid", "sdk")
    return at_most(
        "tool of a confined MCP server, against the SDK's client alone",
        1 / sides.ratio,
        1.5,
        detail=detail,
    )


async def measured(*, rounds: int) -> list[Row]:
    """Every row of this module."""
    with scratch() as directory:
        async with open_kernel(directory / "home") as kernel, mcp_client() as client:
            await install(kernel, _capsule(directory / "capsule"))
            await eventually(lambda: bool(kernel.tools()), timeout_s=30)
            return [await _measured(kernel, client, rounds=rounds)]


def run(*, quick: bool = False) -> list[Row]:
    """Measure."""
    return asyncio.run(measured(rounds=3 if quick else 9))
