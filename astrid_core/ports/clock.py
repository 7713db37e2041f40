"""Time, as the rules see it."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Wall clock and monotonic clock. Safe from any thread."""

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin, never decreasing."""
        ...

    def monotonic_ns(self) -> int:
        """The same in whole nanoseconds."""
        ...
