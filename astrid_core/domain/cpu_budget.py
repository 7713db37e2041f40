"""Processor time of principals: so many seconds a minute on average, and no more at a stretch.

A pure state machine: the caller passes the time in and holds a lock around each call. What was
used drains away evenly; who has used a whole minute's worth waits until some of it has. A call is
never cut short by this (its deadline does that), but what it used beyond the budget is owed.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

PERIOD_S: Final = 60.0
MAX_KEYS: Final = 10_000


class CpuBudget:
    """Seconds that each key has used and not yet worked off."""

    def __init__(self) -> None:
        self._debts: dict[Hashable, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._debts)

    def wait_s(self, key: Hashable, *, per_minute: float, now: float) -> float:
        """How long the key has to wait before it may use the processor again; 0 for not at all.

        Args:
            key: Whose budget.
            per_minute: Seconds of processor time per minute, above 0.
            now: Monotonic seconds.
        """
        excess = self._debt(key, per_minute=per_minute, now=now) - per_minute
        return 0.0 if excess < 0 else max(excess * PERIOD_S / per_minute, 0.001)

    def charge(self, key: Hashable, used_s: float, *, per_minute: float, now: float) -> None:
        """Add what was used; arguments as for `wait_s`."""
        if len(self._debts) >= MAX_KEYS:
            self._debts = {
                other: debt for other, debt in self._debts.items() if debt[1] > now - PERIOD_S
            }
        debt = self._debt(key, per_minute=per_minute, now=now)
        self._debts[key] = (debt + used_s, now)

    def _debt(self, key: Hashable, *, per_minute: float, now: float) -> float:
        debt, since = self._debts.get(key, (0.0, now))
        return max(0.0, debt - (now - since) * per_minute / PERIOD_S)
