"""A tool call of a client through the socket and the whole kernel, and eight clients at once.

One side is the client that the command line uses and a daemon process; the others are the same call
in the kernel's own process, the same tool in an MCP server, and a daemon that records nothing.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mcp import Client

from astrid_core import Kernel
from astrid_core.daemon.client import DaemonClient
from tests.benchmarks.daemon_side import UNAUDITED, echo_daemon
from tests.benchmarks.kernel_side import TEXT, echo_kernel
from tests.benchmarks.mcp_side import mcp_client
from tests.benchmarks.measure import Row, at_least, information, micro, percentile, timed

CLIENTS = 8
DEPTH = 16
"""Calls that each client has under way."""


def calls(client: DaemonClient, count: int) -> list[float]:
    """Seconds of each of `count` calls, one after the other."""
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        client.call_tool("echo.echo", TEXT)
        seconds.append(time.perf_counter() - start)
    return seconds


async def alone(client: DaemonClient, kernel: Kernel, server: Client, *, rounds: int) -> list[Row]:
    """The same call by three ways, in turns."""
    by_socket, inside, by_mcp, slowest = [], [], [], []
    for _ in range(rounds):
        socket = calls(client, 300)
        by_socket.append(statistics.median(socket))
        slowest.append(percentile(socket, 99))
        inside.append(
            statistics.median(await timed(lambda: kernel.call_tool("echo.echo", TEXT), 300))
        )
        by_mcp.append(statistics.median(await timed(lambda: server.call_tool("echo", TEXT), 60)))
    detail = {
        "socket_us": micro(statistics.median(by_socket)),
        "in_process_us": micro(statistics.median(inside)),
        "mcp_us": micro(statistics.median(by_mcp)),
        "socket_p99_us": round(statistics.median(slowest) * 1e6),
    }

    def ratio(over: list[float], under: list[float]) -> float:
        return statistics.median(a / b for a, b in zip(over, under, strict=True))

    return [
        at_least(
            "warm tool call of a client over the socket, with audit, against an MCP stdio server",
            ratio(by_mcp, by_socket),
            8,
            detail=detail,
        ),
        information(
            "warm tool call over the socket, against the same call in process",
            ratio(by_socket, inside),
            unit="x",
        ),
    ]


@contextmanager
def crowd(home: Path) -> Iterator[list[DaemonClient]]:
    """Eight connections."""
    with ExitStack() as stack:
        yield [stack.enter_context(DaemonClient.connect(home)) for _ in range(CLIENTS)]


def rate(clients: list[DaemonClient], *, turns: int) -> float:
    """Calls per second while each client has several under way."""
    params = {"name": "echo.echo", "arguments": TEXT}
    start = time.perf_counter()
    for _ in range(turns):
        sent = [
            (client, client.send("CallTool", params)) for client in clients for _ in range(DEPTH)
        ]
        for client, request_id in sent:
            client.wait(request_id)
    return turns * CLIENTS * DEPTH / (time.perf_counter() - start)


def together(audited: Path, unaudited: Path, *, rounds: int) -> list[Row]:
    """Eight clients of a daemon, against eight of one that records nothing, in turns."""
    with crowd(audited) as recorded, crowd(unaudited) as free:
        for clients in (recorded, free):
            rate(clients, turns=2)
        rates = [(rate(recorded, turns=8), rate(free, turns=8)) for _ in range(rounds)]
    with_audit = statistics.median(first for first, _ in rates)
    name = f"{CLIENTS} clients with {DEPTH} calls each under way"
    return [
        at_least(
            f"{name}, with audit, against the rate without",
            statistics.median(first / second for first, second in rates),
            0.8,
            detail={
                "calls_per_s": round(with_audit),
                "without_audit_per_s": round(statistics.median(second for _, second in rates)),
            },
        ),
        at_least(f"{name}, with audit", with_audit, 10_000, unit="calls/s", detail={}),
    ]


async def measured(home: Path, *, rounds: int) -> list[Row]:
    """One client."""
    async with echo_kernel() as kernel, mcp_client() as server:
        with DaemonClient.connect(home) as client:
            calls(client, 200)
            await timed(lambda: kernel.call_tool("echo.echo", TEXT), 200)
            await timed(lambda: server.call_tool("echo", TEXT), 50)
            return await alone(client, kernel, server, rounds=rounds)


def run(*, quick: bool = False) -> list[Row]:
    """Measure."""
    rounds = 3 if quick else 9
    with echo_daemon() as audited:
        rows = asyncio.run(measured(audited, rounds=rounds))
        with echo_daemon(module=UNAUDITED) as unaudited:
            return rows + together(audited, unaudited, rounds=rounds)
