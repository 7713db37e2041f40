"""Finds the benchmarks and runs each module in a process of its own.

What one benchmark leaves behind, threads, heap, a crashed C library, does not weigh on the next.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module, metadata
from pathlib import Path

from tests.benchmarks.measure import Row

ROOT = Path(__file__).parents[2]
MAX_S = 900


def names() -> list[str]:
    """The benchmarks, sorted: `marshal` stands for `bench_marshal.py`."""
    return sorted(
        path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*")
    )


def load(name: str) -> Callable[..., list[Row]]:
    """The `run` of a benchmark."""
    run: Callable[..., list[Row]] = import_module(f"tests.benchmarks.bench_{name}").run
    return run


def summary(name: str) -> str:
    """The first line of a benchmark's docstring."""
    return (import_module(f"tests.benchmarks.bench_{name}").__doc__ or "").partition("\n")[0]


def run_all(
    chosen: Iterable[str], *, quick: bool, progress: Callable[[str], None]
) -> Iterator[Row]:
    """Run benchmarks one after the other; a crash becomes a row with `error`."""
    for name in chosen:
        progress(name)
        yield from run_apart(name, quick=quick)


def run_apart(name: str, *, quick: bool) -> list[Row]:
    """Run one benchmark in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks", "--child", name]
    if quick:
        command.append("--quick")
    start = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=MAX_S, check=False
        )
    except subprocess.TimeoutExpired:
        return [{"name": name, "error": f"no result after {MAX_S} s"}]
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"]
        return [{"name": name, "error": lines[-1], "output": done.stderr[-4000:]}]
    rows: list[Row] = json.loads(done.stdout.splitlines()[-1])
    seconds = round(time.monotonic() - start, 1)
    return [{"benchmark": name, **row, "took_s": seconds} for row in rows]


def machine() -> dict[str, object]:
    """What the figures depend on."""
    return {
        "cpus": os.cpu_count(),
        "load_1m": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("wasmtime", "mcp", "astrid-core")},
    }
