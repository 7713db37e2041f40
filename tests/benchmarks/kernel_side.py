"""Kernels and capsules for the benchmarks, made the way users make them."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import wasmtime
from loguru import logger

from astrid_core import Kernel
from astrid_core.kernel.install.sources import Source
from tests.support.capsules import install, write_capsule

GUESTS = Path(__file__).parent / "guests"
EXAMPLES = Path(__file__).parents[2] / "examples" / "capsules"
TEXT = {"text": "hello"}

ECHO_MANIFEST = """
[package]
name = "{name}"
version = "1.0.0"
[[component]]
file = "guest.wasm"
[publish]
"tool.v1.execute.echo.result" = {{ wit = "opaque" }}
[subscribe]
"tool.v1.execute.echo" = {{ wit = "opaque", handler = "tool_execute_echo" }}
"""


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary directory."""
    with tempfile.TemporaryDirectory(prefix="astrid-bench-") as directory:
        yield Path(directory)


@asynccontextmanager
async def open_kernel(home: Path) -> AsyncIterator[Kernel]:
    """A kernel without log sinks: a terminal's speed is nobody's budget."""
    logger.remove()
    async with Kernel.open(home=home) as kernel:
        yield kernel


@asynccontextmanager
async def echo_kernel() -> AsyncIterator[Kernel]:
    """A kernel with the tiny `echo.echo`, called once, in a home that is removed."""
    with scratch() as directory:
        async with open_kernel(directory / "home") as kernel:
            await install_echo(kernel, directory, "echo")
            await kernel.call_tool("echo", TEXT)
            yield kernel


async def install_echo(kernel: Kernel, directory: Path, name: str) -> None:
    """Install the tiny echo tool under a name."""
    component = bytes(wasmtime.wat2wasm((GUESTS / "echo_tool.wat").read_text()))
    source = write_capsule(directory / name, component, ECHO_MANIFEST.format(name=name))
    await install(kernel, source)


async def install_project(kernel: Kernel, project: Path) -> Path:
    """Build a project, through the builder's cache, and install it; returns its component."""
    with kernel.build(project) as built:
        result = await install(kernel, Source(built.directory, "directory"))
    component = result.capsule.component
    if component is None:
        raise RuntimeError(f"{project} has no component")
    return component
