"""How the benchmarks measure and report.

Two things are compared by doing them in turns in one run: a busy moment of the machine then hits
both alike. Each round gives one ratio of medians; the median of the rounds is reported.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

Row: TypeAlias = dict[str, Any]
"""One result: name, ratio, budget, bound, unit, ok, detail; or name and `error` of a crash."""

Detail: TypeAlias = Mapping[str, object]
"""The figures behind a ratio, by name with unit."""


class Sides(NamedTuple):
    """Two things measured in turns; times are seconds per call.

    Attributes:
        ours: Median of the first.
        theirs: Median of the second.
        ratio: How many times longer the second takes.
    """

    ours: float
    theirs: float
    ratio: float

    def detail(self, ours: str = "ours", theirs: str = "theirs") -> dict[str, object]:
        """Both times in microseconds."""
        return {f"{ours}_us": micro(self.ours), f"{theirs}_us": micro(self.theirs)}


def alternate(
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    times: tuple[int, int],
    rounds: int,
) -> Sides:
    """Time two callables in turns; `times` are the calls of each in one round."""
    return _sides([(_median(ours, times[0]), _median(theirs, times[1])) for _ in range(rounds)])


def compare(ours: Callable[[], float], theirs: Callable[[], float], *, rounds: int) -> Sides:
    """As `alternate`, for callables that measure themselves and return seconds."""
    return _sides([(ours(), theirs()) for _ in range(rounds)])


async def alternate_async(
    ours: Callable[[], Awaitable[object]],
    theirs: Callable[[], Awaitable[object]],
    *,
    times: tuple[int, int],
    rounds: int,
) -> Sides:
    """As `alternate`, for coroutine functions on one loop."""
    found = []
    for _ in range(rounds):
        first = statistics.median(await timed(ours, times[0]))
        found.append((first, statistics.median(await timed(theirs, times[1]))))
    return _sides(found)


async def timed(call: Callable[[], Awaitable[object]], count: int) -> list[float]:
    """Seconds of each of `count` calls, one after the other."""
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        await call()
        seconds.append(time.perf_counter() - start)
    return seconds


def percentile(values: list[float], percent: float) -> float:
    """The value that `percent` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def at_least(name: str, ratio: float, budget: float, *, detail: Detail, unit: str = "x") -> Row:
    """A row whose ratio must reach the budget."""
    return _row(name, ratio, budget, ">=", ratio >= budget, unit, detail)


def at_most(name: str, ratio: float, budget: float, *, detail: Detail, unit: str = "x") -> Row:
    """A row whose ratio must not pass the budget."""
    return _row(name, ratio, budget, "<=", ratio <= budget, unit, detail)


def information(name: str, value: float, *, unit: str, detail: Detail | None = None) -> Row:
    """A row without a budget."""
    return _row(name, value, None, "", True, unit, detail or {})


def micro(seconds: float) -> float:
    """Microseconds, rounded for people."""
    return round(seconds * 1e6, 2)


def _row(
    name: str,
    ratio: float,
    budget: float | None,
    bound: str,
    ok: bool,
    unit: str,
    detail: Detail,
) -> Row:
    return {
        "name": name,
        "ratio": round(ratio, 3 if ratio < 1 else 2 if ratio < 100 else 0),
        "budget": budget,
        "bound": bound,
        "unit": unit,
        "ok": ok,
        "detail": dict(detail),
    }


def _median(call: Callable[[], object], count: int) -> float:
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _sides(found: list[tuple[float, float]]) -> Sides:
    return Sides(
        statistics.median(ours for ours, _ in found),
        statistics.median(theirs for _, theirs in found),
        statistics.median(theirs / ours for ours, theirs in found),
    )
