"""Remembers how much memory one instance of each principal had at most.

Not safe by itself from more than one thread.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final

from astrid_hookspecs.engines import MemoryUse
from astrid_hookspecs.values import Principal

MAX_REMEMBERED: Final = 1024
"""Principals; the one of which nothing was heard for the longest time is forgotten."""


class MemoryPeaks:
    """The peaks of one capsule since it was loaded."""

    def __init__(self) -> None:
        self._peaks: OrderedDict[Principal, int] = OrderedDict()

    def note(self, principal: Principal, size_bytes: int) -> None:
        """An instance of the principal had so much."""
        self._peaks[principal] = max(size_bytes, self._peaks.get(principal, 0))
        self._peaks.move_to_end(principal)
        if len(self._peaks) > MAX_REMEMBERED:
            self._peaks.popitem(last=False)

    def with_live(self, live: Iterable[tuple[Principal, int]]) -> Mapping[Principal, MemoryUse]:
        """What each principal uses, given the sizes of the instances that there are."""
        current: dict[Principal, int] = {}
        for principal, size_bytes in live:
            self.note(principal, size_bytes)
            current[principal] = current.get(principal, 0) + size_bytes
        return {
            principal: MemoryUse(current.get(principal, 0), peak)
            for principal, peak in self._peaks.items()
        }
