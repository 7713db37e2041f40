"""A warm tool call from the caller to the answer, against the same tool in an MCP server.

The socket is not part of it: the caller lives in the kernel's process. The other side has the
official SDK at both ends of a pipe, which is how such tools are run otherwise.
"""

from __future__ import annotations

import asyncio
import time

from mcp import Client

from astrid_core import Kernel
from tests.benchmarks.kernel_side import GUESTS, TEXT, echo_kernel, install_project
from tests.benchmarks.mcp_side import mcp_client
from tests.benchmarks.measure import (
    Row,
    Sides,
    alternate_async,
    at_least,
    information,
    percentile,
    timed,
)

CALLERS = 8


async def against_mcp(kernel: Kernel, client: Client, tool: str, *, rounds: int) -> Sides:
    """The same call on both sides, in turns."""
    if (await kernel.call_tool(tool, TEXT)).content != TEXT["text"]:
        raise RuntimeError(f"{tool} did not echo")
    return await alternate_async(
        lambda: kernel.call_tool(tool, TEXT),
        lambda: client.call_tool("echo", TEXT),
        times=(400, 60),
        rounds=rounds,
    )


async def pipelined(kernel: Kernel, *, rounds: int) -> Row:
    """Calls per second of eight callers at once, against one caller."""
    count = 1600
    found = []
    for _ in range(rounds):
        rates = []
        for callers in (1, CALLERS):
            start = time.perf_counter()
            await asyncio.gather(
                *(
                    timed(lambda: kernel.call_tool("echo.echo", TEXT), count // callers)
                    for _ in range(callers)
                )
            )
            rates.append(count / (time.perf_counter() - start))
        found.append((rates[1] / rates[0], rates[1], rates[0]))
    ratio, many, one = sorted(found)[len(found) // 2]
    return information(
        f"{CALLERS} callers at once, in process, against one caller",
        ratio,
        unit="x calls/s",
        detail={"calls_per_s": round(many), "single_calls_per_s": round(one)},
    )


async def measured(*, rounds: int) -> list[Row]:
    """Every row of this module."""
    async with echo_kernel() as kernel, mcp_client() as client:
        await timed(lambda: client.call_tool("echo", TEXT), 100)
        await timed(lambda: kernel.call_tool("echo", TEXT), 200)
        tiny = await against_mcp(kernel, client, "echo", rounds=rounds)
        p99 = percentile(await timed(lambda: kernel.call_tool("echo", TEXT), 1000), 99)
        callers = await pipelined(kernel, rounds=rounds)
        await install_project(kernel, GUESTS / "echo_python")
        python = await against_mcp(kernel, client, "echo-python.echo", rounds=rounds)
    name = "warm tool call in process, {} guest, against an MCP stdio server"
    return [
        at_least(
            name.format("tiny"),
            tiny.ratio,
            8,
            detail={**tiny.detail("astrid", "mcp"), "astrid_p99_us": round(p99 * 1e6)},
        ),
        information(
            name.format("CPython"), python.ratio, unit="x", detail=python.detail("astrid", "mcp")
        ),
        callers,
    ]


def run(*, quick: bool = False) -> list[Row]:
    """Measure."""
    return asyncio.run(measured(rounds=3 if quick else 9))
