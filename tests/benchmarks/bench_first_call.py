"""The first call of an installed Python capsule, against compiling its component.

Loading is what a restart does with a capsule whose files have been checked: the component is
hashed, the sealed machine code is verified and mapped, imports are compared with the ABI, and a new
instance answers. `ratio_with_check` adds the check of the installed files; compiling has none.

Most of what a start reads is authenticated first; the second row compares the code that does it.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from pathlib import Path

import blake3

from astrid_core import Kernel
from astrid_core.host.abi import load_abi
from astrid_core.kernel.install.installed import load_installed
from astrid_engine_wasm import mac
from astrid_engine_wasm.engine import WasmEngine
from astrid_hookspecs.engines import EngineEnvironment
from astrid_hookspecs.values import CapsuleId
from tests.benchmarks.kernel_side import GUESTS, TEXT, install_project, open_kernel, scratch
from tests.benchmarks.measure import Row, alternate, at_least, information

NAME = "echo-python"
SEALED_BYTES = 30_000_000


def compile_s(component: Path, cache_dir: Path) -> float:
    """Seconds to compile a component that no cache holds."""
    engine = WasmEngine(EngineEnvironment(cache_dir=cache_dir, seal_key=b"\0" * 32, abi=load_abi()))
    try:
        start = time.perf_counter()
        engine.prepare(component)
        return time.perf_counter() - start
    finally:
        engine.close()


async def first_call(kernel: Kernel) -> tuple[float, float, float]:
    """Seconds to check the installed files, to load the capsule, and of the call that follows."""
    parts = kernel._parts
    parts.capsules.unload(CapsuleId(NAME))
    start = time.perf_counter()
    installed = load_installed(parts.home, NAME)
    checked = time.perf_counter()
    parts.capsules.load(installed)
    loaded = time.perf_counter()
    await kernel.call_tool(f"{NAME}.echo", TEXT)
    return checked - start, loaded - checked, time.perf_counter() - loaded


async def measured(directory: Path, *, times: int) -> Row:
    """Load, call and compile in one run."""
    async with open_kernel(directory / "home") as kernel:
        component = await install_project(kernel, GUESTS / "echo_python")
        size_bytes = component.stat().st_size
        before = [await first_call(kernel) for _ in range(times)]
        cache = directory / "cache"
        cache.mkdir(mode=0o700)
        compiling = await asyncio.to_thread(compile_s, component, cache)
        found = before + [await first_call(kernel) for _ in range(times)]
    check, load, call = (statistics.median(part) for part in zip(*found, strict=True))
    return at_least(
        "first call of an installed Python capsule, against compiling it",
        compiling / statistics.median(load + call for _, load, call in found),
        500,
        detail={
            "compile_s": round(compiling, 2),
            "ratio_with_check": round(compiling / statistics.median(map(sum, found))),
            "check_ms": round(check * 1e3, 2),
            "load_ms": round(load * 1e3, 2),
            "call_ms": round(call * 1e3, 2),
            "component_mb": round(size_bytes / 1e6, 1),
        },
    )


def seal_check(*, times: int) -> Row:
    """Authenticate as much as a compiled Python capsule, on one processor and on all of them."""
    artefact = memoryview(os.urandom(SEALED_BYTES))
    processors = os.cpu_count() or 1
    sides = alternate(
        lambda: mac.authenticate(artefact, nonce=b"n" * mac.NONCE_BYTES, key=b"k" * mac.KEY_BYTES),
        lambda: blake3.blake3(artefact, key=b"k" * 32, max_threads=processors).digest(),
        times=(times, times),
        rounds=5,
    )
    return information(
        "authenticate 30 MB of compiled code, against keyed BLAKE3 on every processor",
        sides.ratio,
        unit="x",
        detail={**sides.detail("ours", "blake3"), "processors": processors},
    )


def run(*, quick: bool = False) -> list[Row]:
    """Measure."""
    with scratch() as directory:
        first = asyncio.run(measured(directory, times=5 if quick else 20))
    return [first, seal_check(times=3 if quick else 20)]
