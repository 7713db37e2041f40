"""Guests that fail: recovery after a trap, and a runaway with its neighbour."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable
from pathlib import Path

from astrid_core import Kernel
from astrid_hookspecs.engines import TICK_S
from astrid_hookspecs.errors import GuestTimeoutError, GuestTrapError, ToolError
from tests.benchmarks.kernel_side import (
    EXAMPLES,
    TEXT,
    install_echo,
    install_project,
    open_kernel,
    scratch,
)
from tests.benchmarks.measure import Row, at_most, micro, percentile, timed
from tests.support.capsules import answering, install, manifest, tool, write_capsule

DEADLINE_S = 1
TRAP_ON_DEMAND = """
  ;; The payload's last argument decides: {"boom":1} traps, {"boom":0} returns.
  (if (i32.eq
      (i32.load8_u (i32.sub (i32.add (local.get 2) (local.get 3)) (i32.const 3)))
      (i32.const 49))
    (then unreachable))
"""


async def _expect(call: Awaitable[object], error: type[Exception]) -> float:
    """Seconds until the call failed in the expected way."""
    start = time.perf_counter()
    try:
        await call
    except error:
        return time.perf_counter() - start
    raise RuntimeError(f"the call did not end with {error.__name__}")


async def trapped(kernel: Kernel, directory: Path, *, times: int) -> Row:
    """A trap, and the call after it, which gets a new store and instance."""
    source = write_capsule(
        directory / "mine",
        answering("continue", body=TRAP_ON_DEMAND),
        manifest("mine", body=tool("step")),
    )
    await install(kernel, source)
    warm, trap, after = [], [], []
    for _ in range(times):
        # The guest publishes no answer, which keeps the call itself as small as it can be.
        await _expect(kernel.call_tool("step", {"boom": 0}), ToolError)
        warm.append(await _expect(kernel.call_tool("step", {"boom": 0}), ToolError))
        trap.append(await _expect(kernel.call_tool("step", {"boom": 1}), GuestTrapError))
        after.append(await _expect(kernel.call_tool("step", {"boom": 0}), ToolError))
    call_s = statistics.median(warm)
    extra = statistics.median(
        (trap[i] - warm[i]) + (after[i] - warm[i]) + warm[i] for i in range(times)
    )
    return at_most(
        "recovery of a trapped capsule (drop, new instance, call), against a warm call",
        extra / call_s,
        10,
        detail={
            "warm_us": micro(call_s),
            "trapping_call_us": micro(statistics.median(trap)),
            "next_call_us": micro(statistics.median(after)),
        },
    )


async def runaway(kernel: Kernel, *, times: int) -> list[Row]:
    """One endless loop with a deadline, beside a neighbour that is called all the time."""
    overruns, quiet, disturbed = [], [], []
    for _ in range(times):
        alone = await timed(lambda: kernel.call_tool("echo", TEXT), 3000)
        spinning = asyncio.create_task(
            _expect(kernel.call_tool("spin", principal="impatient"), GuestTimeoutError)
        )
        await asyncio.sleep(0.02)
        beside: list[float] = []
        end = time.perf_counter() + DEADLINE_S * 0.9
        while time.perf_counter() < end:
            beside += await timed(lambda: kernel.call_tool("echo", TEXT), 50)
        overruns.append(await spinning - DEADLINE_S)
        quiet.append(percentile(alone, 99))
        disturbed.append(percentile(beside, 99))
    overrun, p99 = statistics.median(overruns), statistics.median(quiet)
    return [
        at_most(
            "runaway guest stopped after its deadline",
            overrun * 1e3,
            TICK_S * 1e3 + 5,
            unit="ms",
            detail={"worst_ms": round(max(overruns) * 1e3, 1)},
        ),
        at_most(
            "p99 of a neighbour's calls beside one runaway, against its p99 alone",
            statistics.median(b / a for a, b in zip(quiet, disturbed, strict=True)),
            2,
            detail={"alone_us": micro(p99), "beside_us": micro(statistics.median(disturbed))},
        ),
    ]


async def measured(directory: Path, *, quick: bool) -> list[Row]:
    """Every row of this module."""
    async with open_kernel(directory / "home") as kernel:
        profiles = directory / "home" / "etc" / "profiles"
        (profiles / "impatient.toml").write_text(f"[quotas]\nmax_timeout_secs = {DEADLINE_S}\n")
        await install_echo(kernel, directory, "echo")
        await install_project(kernel, EXAMPLES / "spinner")
        await timed(lambda: kernel.call_tool("echo", TEXT), 300)
        row = await trapped(kernel, directory, times=50 if quick else 300)
        return [row, *await runaway(kernel, times=2 if quick else 7)]


def run(*, quick: bool = False) -> list[Row]:
    """Measure."""
    with scratch() as directory:
        return asyncio.run(measured(directory, quick=quick))
