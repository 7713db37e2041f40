"""Starting: a daemon with twenty compiled capsules, and commands of `astrid` that must be quick.

Everything is measured from starting a process to its first answer or its end.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.benchmarks.daemon_side import daemon_process, echo_daemon
from tests.benchmarks.kernel_side import install_echo, open_kernel, scratch
from tests.benchmarks.mcp_side import mcp_server
from tests.benchmarks.measure import Row, Sides, alternate, at_most, compare

CAPSULES = 20
STARTER = Path(__file__).parent / "kernel_start.py"
ASTRID = Path(sys.executable).parent / "astrid"


async def prepare(directory: Path) -> None:
    """Install the capsules, which compiles them."""
    async with open_kernel(directory / "h") as kernel:
        for number in range(CAPSULES):
            await install_echo(kernel, directory, f"echo-{number}")


def start_kernel(home: Path) -> float:
    """Seconds until a process has a kernel that is ready."""
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, str(STARTER), str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the kernel has no pipes")
        ready = process.stdout.readline().strip()
        seconds = time.perf_counter() - start
        process.stdin.close()
        process.wait(timeout=10)
        if ready != str(CAPSULES).encode():
            raise RuntimeError(f"the kernel started with {ready!r} capsules")
    return seconds


def start_daemon(home: Path) -> float:
    """Seconds until a daemon process has answered its first client."""
    with daemon_process(home) as seconds:
        return seconds


def start_server() -> float:
    """Seconds until an MCP server process has answered its first request."""
    start = time.perf_counter()
    with mcp_server():
        return time.perf_counter() - start


def command(*arguments: str, home: Path | None = None) -> Callable[[], object]:
    """Runs a program to its end."""
    environ = os.environ if home is None else {**os.environ, "ASTRID_HOME": str(home)}
    return lambda: subprocess.run(arguments, check=True, capture_output=True, env=environ)


def milliseconds(sides: Sides, ours: str, theirs: str) -> dict[str, object]:
    """Both times."""
    return {f"{ours}_ms": round(sides.ours * 1e3, 1), f"{theirs}_ms": round(sides.theirs * 1e3, 1)}


def run(*, quick: bool = False) -> list[Row]:
    """Measure."""
    rounds = 3 if quick else 11
    rows = []
    with scratch() as directory:
        asyncio.run(prepare(directory))
        for what, start in (("kernel process", start_kernel), ("daemon", start_daemon)):
            sides = compare(start_server, partial(start, directory / "h"), rounds=rounds)
            rows.append(
                at_most(
                    f"{what} start to ready with {CAPSULES} compiled capsules, "
                    "against an MCP server process",
                    sides.ratio,
                    1,
                    detail=milliseconds(sides, "mcp", "astrid"),
                )
            )
    return rows + commands(rounds=rounds)


def commands(*, rounds: int) -> list[Row]:
    """Whole commands, from the shell's point of view."""
    rows = []
    with echo_daemon() as home:
        for arguments, reference, budget in (
            (("--help",), "import typer", 2),
            (("--version",), "pass", 4),
            (("status",), "pass", 4),
            (("call", "echo.echo", '{"text": "hello"}'), "pass", 4),
        ):
            sides = alternate(
                command(sys.executable, "-c", reference),
                command(str(ASTRID), *arguments, home=home),
                times=(3, 3),
                rounds=rounds,
            )
            rows.append(
                at_most(
                    f"astrid {arguments[0]}, against python -c '{reference}'",
                    sides.ratio,
                    budget,
                    detail=milliseconds(sides, "python", "astrid"),
                )
            )
    return rows
