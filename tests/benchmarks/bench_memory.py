"""Memory of idle instances, against the resident size of one MCP server process.

Each instance has answered one call and keeps everything it touched, including the kernel's objects
for it. Resident size is read from the system, so freed memory that the allocator keeps counts too.
"""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

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


def resident_kib(process: int | str = "self") -> int:
    """Resident memory of a process."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError("the system does not tell the resident size")


async def grown_kib(kernel: Kernel, tools: list[str], principals: range) -> float:
    """KiB that one more instance of each tool for each principal takes."""
    gc.collect()
    before = resident_kib()
    for number in principals:
        for name in tools:
            await kernel.call_tool(name, TEXT, principal=f"user-{number}")
    gc.collect()
    return (resident_kib() - before) / (len(principals) * len(tools))


async def measured(directory: Path, *, python_instances: int) -> tuple[float, float]:
    """KiB of a tiny instance and of a CPython one."""
    async with open_kernel(directory / "home") as kernel:
        names = [f"echo-{number}" for number in range(CAPSULES)]
        for name in names:
            await install_echo(kernel, directory, name)
        tools = [f"{name}.echo" for name in names]
        await grown_kib(kernel, tools, range(1))  # what is made once, for the first of all
        tiny = await grown_kib(kernel, tools, range(1, 1 + PRINCIPALS - 1))
        await install_project(kernel, GUESTS / "echo_python")
        await grown_kib(kernel, ["echo-python.echo"], range(1))
        python = await grown_kib(kernel, ["echo-python.echo"], range(1, 1 + python_instances))
        alive = {str(capsule.id): capsule.stats()["instances"] for capsule in kernel.capsules()}
        if alive["echo-0"] != PRINCIPALS or alive["echo-python"] != 1 + python_instances:
            raise RuntimeError(f"instances were evicted while they were counted: {alive}")
    return tiny, python


def run(*, quick: bool = False) -> list[Row]:
    """Measure."""
    with mcp_server() as process:
        server = resident_kib(process)
    with scratch() as directory:
        count = 10 if quick else 20
        tiny, python = asyncio.run(measured(directory, python_instances=count))
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
