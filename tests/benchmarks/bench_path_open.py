"""Opening a file beneath a root, against a plain open of the same file."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from astrid_core.builtin.host_vfs import open_host_directory
from astrid_core.builtin.host_vfs.beneath import Beneath, KernelWalk, StepWalk, best_beneath
from astrid_hookspecs.vfs import VfsDirectory
from tests.benchmarks.kernel_side import scratch
from tests.benchmarks.measure import Row, Sides, at_most, compare, information

T = TypeVar("T")
NAME = "one/two/three/file"
CALLS = 500


def run(*, quick: bool = False) -> list[Row]:
    """Measure."""
    rounds = 5 if quick else 25
    with scratch() as directory:
        file = directory / NAME
        file.parent.mkdir(parents=True)
        file.write_bytes(b"content")
        walk = _against_plain(directory, StepWalk(), rounds)
        other = _against_plain(directory, best_beneath(), rounds, foreign=True)
        rows = [
            information("open, step by step", 1 / walk.ratio, unit="x", detail=_times(walk)),
            information(
                "open in a workspace, where the file's only name is looked at again",
                1 / other.ratio,
                unit="x",
                detail=_times(other),
            ),
        ]
        if isinstance(best_beneath(), KernelWalk):
            one = _against_plain(directory, KernelWalk(), rounds)
            budget = 2.5
            name = "safe path open, three directories deep, against plain open"
            rows.insert(0, at_most(name, 1 / one.ratio, budget, detail=_times(one)))
    return rows


def _against_plain(
    directory: Path, beneath: Beneath, rounds: int, *, foreign: bool = False
) -> Sides:
    root: VfsDirectory = open_host_directory(directory, foreign=foreign, beneath=beneath)
    plain = os.fspath(directory / NAME)
    try:
        return compare(
            lambda: _median(lambda: root.open(NAME, "read"), lambda file: file.close()),
            lambda: _median(lambda: os.open(plain, os.O_RDONLY | os.O_CLOEXEC), os.close),
            rounds=rounds,
        )
    finally:
        root.close()


def _median(opening: Callable[[], T], closing: Callable[[T], object]) -> float:
    """Seconds of one open; closing is not measured."""
    seconds = []
    for _ in range(CALLS):
        start = time.perf_counter()
        opened = opening()
        seconds.append(time.perf_counter() - start)
        closing(opened)
    return statistics.median(seconds)


def _times(sides: Sides) -> dict[str, object]:
    return sides.detail("ours", "plain")
