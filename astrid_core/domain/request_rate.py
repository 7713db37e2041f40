"""How often a principal may use a method: so many times in any sixty seconds.

A pure state machine: the caller passes the time in and holds a lock around each call.
Spec: kernel-and-security 4.1, 16 D-16.
"""

from __future__ import annotations

from collections import deque
from typing import Final

WINDOW_S: Final = 60.0
MAX_KEYS: Final = 10_000


class RequestRate:
    """Counts requests for each (principal, method)."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, str], deque[float]] = {}

    def wait_s(self, principal: str, method: str, *, limit: int, now: float) -> float:
        """Count a request if it is within the limit.

        Args:
            principal: Who asks.
            method: For what.
            limit: Requests in a window, at least 1.
            now: Monotonic seconds.

        Returns:
            0 when it was counted, else after how many seconds it would be.
        """
        if len(self._used) >= MAX_KEYS:
            self._used = {
                key: used for key, used in self._used.items() if used[-1] > now - WINDOW_S
            }
        used = self._used.get((principal, method))
        if used is None:
            used = self._used[principal, method] = deque()
        while used and used[0] <= now - WINDOW_S:
            used.popleft()
        if len(used) >= limit:
            return used[0] + WINDOW_S - now
        used.append(now)
        return 0.0
