"""What one principal waits for while another floods the kernel."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import wasmtime

from astrid_core import Kernel
from astrid_hookspecs.errors import AstridError
from tests.benchmarks.kernel_side import GUESTS, TEXT, install_echo, open_kernel, scratch
from tests.benchmarks.measure import Row, at_most, micro, percentile
from tests.support.capsules import install, install_example, write_capsule

OUTSTANDING = 8
FLOODER, NEIGHBOUR = "alice", "bob"
Flood = Callable[[Kernel], Awaitable[object]]


FLOOD_MANIFEST = """
[package]
name = "flood"
version = "1.0.0"
[[component]]
file = "guest.wasm"
[publish]
"bench.v1.flood" = { wit = "opaque" }
[subscribe]
"tool.v1.execute.flood" = { wit = "opaque", handler = "tool_execute_flood" }
"""


def _flood() -> bytes:
    return bytes(wasmtime.wat2wasm((GUESTS / "flood.wat").read_text()))


async def _calls(kernel: Kernel) -> None:
    await kernel.call_tool("echo", TEXT, principal=FLOODER)


async def _runaway(kernel: Kernel) -> None:
    await kernel.call_tool("spin", {}, principal=FLOODER)


async def _events(kernel: Kernel) -> None:
    await kernel.call_tool("flood", {}, principal=FLOODER)


FLOODS: dict[str, tuple[Flood, int]] = {
    f"{OUTSTANDING} calls outstanding at all times": (_calls, OUTSTANDING),
    "as many endless guests as processors": (_runaway, os.cpu_count() or 1),
    "a guest that publishes without end": (_events, 1),
}


async def _neighbour(kernel: Kernel, times: int) -> list[float]:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        await kernel.call_tool("echo", TEXT, principal=NEIGHBOUR)
        taken.append(time.perf_counter() - start)
    return taken


async def _under(kernel: Kernel, flood: Flood, count: int, *, times: int) -> list[float]:
    is_over = False

    async def go_on() -> None:
        while not is_over:
            with suppress(AstridError):  # a refusal or a deadline is the end of one attempt only
                await flood(kernel)
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(go_on()) for _ in range(count)]
    await asyncio.sleep(0.2)
    try:
        return await _neighbour(kernel, times)
    finally:
        is_over = True
        await asyncio.gather(*tasks)


async def measure(*, rounds: int, times: int) -> list[Row]:
    """Each flood in turns with silence."""
    rows = []
    with scratch() as directory:
        async with open_kernel(directory / "home") as kernel:
            (directory / "home/etc/profiles" / f"{FLOODER}.toml").write_text(
                "[quotas]\nmax_timeout_secs = 1\nmax_cpu_secs_per_minute = 6000\n"
            )
            await install_echo(kernel, directory, "echo")
            await install_example(kernel, "spinner")
            await install(kernel, write_capsule(directory / "flood", _flood(), FLOOD_MANIFEST))
            await _neighbour(kernel, 200)
            for name, (flood, count) in FLOODS.items():
                quiet, busy = [], []
                for _ in range(rounds):
                    quiet.append(await _neighbour(kernel, times))
                    busy.append(await _under(kernel, flood, count, times=times))
                rows.append(_row(name, quiet, busy))
    return rows


def _row(name: str, quiet: list[list[float]], busy: list[list[float]]) -> Row:
    medians = [
        statistics.median(after) / statistics.median(before)
        for before, after in zip(quiet, busy, strict=True)
    ]
    before = [value for values in quiet for value in values]
    after = [value for values in busy for value in values]
    return at_most(
        f"a call beside another principal's flood: {name}, against a quiet kernel",
        statistics.median(medians),
        2,
        detail={
            "quiet_us": micro(statistics.median(before)),
            "beside_us": micro(statistics.median(after)),
            "quiet_p99_us": micro(percentile(before, 99)),
            "beside_p99_us": micro(percentile(after, 99)),
        },
    )


def run(*, quick: bool = False) -> list[Row]:
    """Measure."""
    return asyncio.run(measure(rounds=2 if quick else 5, times=200 if quick else 500))
