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
from typing import Any, NamedTuple

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


class Memory(NamedTuple):
    """KiB of a process, or of a part of one."""

    proportional: float
    resident: float


def memory_of(process: int | str = "self") -> Memory:
    """What a process takes now."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split()[0]: int(line.split()[1]) for line in lines}
    return Memory(sizes["Pss:"], sizes["Rss:"])


async def grown(kernel: Kernel, tools: list[str], principals: range) -> Memory:
    """What one more instance of each tool for each principal takes."""
    gc.collect()
    before = memory_of()
    for number in principals:
        for name in tools:
            await kernel.call_tool(name, TEXT, principal=f"user-{number}")
    gc.collect()
    count = len(principals) * len(tools)
    return Memory(*((now - then) / count for now, then in zip(memory_of(), before, strict=True)))


async def tiny_instance(directory: Path) -> Memory:
    """An instance of a tiny guest."""
    async with open_kernel(directory / "home") as kernel:
        names = [f"echo-{number}" for number in range(CAPSULES)]
        for name in names:
            await install_echo(kernel, directory, name)
        return await idle(kernel, [f"{name}.echo" for name in names], PRINCIPALS)


async def python_instance(directory: Path, instances: int) -> Memory:
    """An instance of a CPython guest."""
    async with open_kernel(directory / "home") as kernel:
        await install_project(kernel, GUESTS / "echo_python")
        return await idle(kernel, ["echo-python.echo"], instances)


async def idle(kernel: Kernel, tools: list[str], principals: int) -> Memory:
    """Each instance after the first of each tool, which pays for what is shared."""
    await grown(kernel, tools, range(1))
    found = await grown(kernel, tools, range(1, principals))
    alive = sum(capsule.stats()["instances"] for capsule in kernel.capsules())
    if alive != len(tools) * principals:
        raise RuntimeError(f"{alive} instances are left: some were evicted while they counted")
    return found


def apart(function: Callable[..., Coroutine[Any, Any, Memory]], *arguments: object) -> Memory:
    """Run a coroutine function in a process of its own, where nothing was freed before."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        return processes.submit(_run, function, *arguments).result()


def _run(function: Callable[..., Coroutine[Any, Any, Memory]], *arguments: object) -> Memory:
    return asyncio.run(function(*arguments))


def run(*, quick: bool = False) -> list[Row]:
    """Measure."""
    with mcp_server() as process:
        server = memory_of(process)
    count = 10 if quick else 20
    with scratch() as directory:
        tiny = apart(tiny_instance, directory / "tiny")
        python = apart(python_instance, directory / "python", count)
    return [
        _row("tiny guest", tiny, server, budget=500, instances=CAPSULES * PRINCIPALS),
        _row("CPython guest", python, server, budget=40, instances=count),
    ]


def _row(guest: str, instance: Memory, server: Memory, *, budget: float, instances: int) -> Row:
    return at_least(
        f"memory of one idle instance, {guest}, against an MCP server process",
        server.proportional / instance.proportional,
        budget,
        detail={
            "instances": instances,
            "instance_kib": round(instance.proportional, 1),
            "server_kib": server.proportional,
            "instance_resident_kib": round(instance.resident, 1),
            "server_resident_kib": server.resident,
        },
    )
