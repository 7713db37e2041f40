"""Memory of idle instances, against that of one MCP server process.

Each instance has answered one call and keeps everything it touched, including the kernel's objects
for it. Both sides are read as proportional set size: a page of the compiled component that all its
instances map is one page. Freed memory that the allocator keeps counts too.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from astrid_core import Kernel
from tests.benchmarks.kernel_side import (
    GUESTS,
    TEXT,
    install_echo,
    install_project,
    open_kernel,
    scratch,
)
from tests.benchmarks.mcp_side import mcp_server
from tests.benchmarks.measure import Row, at_least

CAPSULES, PRINCIPALS = 20, 50


def memory_kib(process: int | str = "self") -> int:
    """Proportional set size of a process."""
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise RuntimeError("the system does not tell the proportional size")


async def grown_kib(kernel: Kernel, tools: list[str], principals: range) -> float:
    """KiB that one more instance of each tool for each principal takes."""
    gc.collect()
    before = memory_kib()
    for number in principals:
        for name in tools:
            await kernel.call_tool(name, TEXT, principal=f"user-{number}")
    gc.collect()
    return (memory_kib() - before) / (len(principals) * len(tools))


async def tiny_kib(directory: Path) -> float:
    """KiB of an instance of a tiny guest."""
    async with open_kernel(directory / "home") as kernel:
        names = [f"echo-{number}" for number in range(CAPSULES)]
        for name in names:
            await install_echo(kernel, directory, name)
        return await idle_kib(kernel, [f"{name}.echo" for name in names], PRINCIPALS)


async def python_kib(directory: Path, instances: int) -> float:
    """KiB of an instance of a CPython guest."""
    async with open_kernel(directory / "home") as kernel:
        await install_project(kernel, GUESTS / "echo_python")
        return await idle_kib(kernel, ["echo-python.echo"], instances)


async def idle_kib(kernel: Kernel, tools: list[str], principals: int) -> float:
    """KiB of each instance after the first of each tool, which pays for what is shared."""
    await grown_kib(kernel, tools, range(1))
    found = await grown_kib(kernel, tools, range(1, principals))
    alive = sum(capsule.stats()["instances"] for capsule in kernel.capsules())
    if alive != len(tools) * principals:
        raise RuntimeError(f"{alive} instances are left: some were evicted while they counted")
    return found


def apart(function: Callable[..., Coroutine[Any, Any, float]], *arguments: object) -> float:
    """Run a coroutine function in a process of its own, where nothing was freed before."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        return processes.submit(_run, function, *arguments).result()


def _run(function: Callable[..., Coroutine[Any, Any, float]], *arguments: object) -> float:
    return asyncio.run(function(*arguments))


def run(*, quick: bool = False) -> list[Row]:
    """Measure."""
    with mcp_server() as process:
        server = memory_kib(process)
    count = 10 if quick else 20
    with scratch() as directory:
        tiny = apart(tiny_kib, directory / "tiny")
        python = apart(python_kib, directory / "python", count)
    name = "memory of one idle instance, {}, against an MCP server process"
    return [
        at_least(
            name.format("tiny guest"),
            server / tiny,
            500,
            detail={
                "instance_kib": round(tiny, 1),
                "server_kib": server,
                "instances": CAPSULES * PRINCIPALS,
            },
        ),
        at_least(
            name.format("CPython guest"),
            server / python,
            40,
            detail={"instance_kib": round(python, 1), "server_kib": server, "instances": count},
        ),
    ]
