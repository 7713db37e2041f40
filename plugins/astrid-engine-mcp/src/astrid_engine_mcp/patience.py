"""How much of a call's time others used: people who think, models that answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

MOST_S: Final = 900.0
"""Nobody can hold a call open by asking again and again."""


class Patience:
    """The clock of one call that stands still meanwhile. Safe from any thread.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._questions = 0
        self._since = 0.0
        self._before_s = 0.0

    def begin(self) -> None:
        """Somebody else is asked."""
        with self._lock:
            if self._questions == 0:
                self._since = self._clock()
            self._questions += 1

    def end(self) -> None:
        """They are done."""
        with self._lock:
            self._questions -= 1
            if self._questions == 0:
                self._before_s += self._clock() - self._since

    def excused_s(self) -> float:
        """Seconds that do not count, until now."""
        with self._lock:
            now_s = self._clock() - self._since if self._questions else 0.0
            return min(self._before_s + now_s, MOST_S)
