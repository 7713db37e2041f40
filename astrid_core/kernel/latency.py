"""How long the latest calls took: enough for an operator to see that one became slow."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

KEPT: Final = 512


class Percentiles(NamedTuple):
    """Milliseconds; 0 without any call.

    Attributes:
        p50_ms: Half of the calls took no longer.
        p95_ms: 19 of 20 calls took no longer.
    """

    p50_ms: float
    p95_ms: float


class Latencies:
    """Durations of the latest calls. Safe from any thread."""

    def __init__(self) -> None:
        self._latest: deque[float] = deque(maxlen=KEPT)

    def add(self, seconds: float) -> None:
        """Remember one."""
        self._latest.append(seconds)

    def percentiles(self) -> Percentiles:
        """Of what is remembered."""
        ordered = sorted(self._latest.copy())
        if not ordered:
            return Percentiles(0.0, 0.0)
        median, high = ordered[len(ordered) // 2], ordered[len(ordered) * 95 // 100]
        return Percentiles(round(median * 1e3, 3), round(high * 1e3, 3))
