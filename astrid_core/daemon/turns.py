"""Whose frames are acted on next, when there is more to do than the event loop gets done.

Trusted with the share that each principal gets of the loop: while it is idle everybody is served at
once, and then everybody in turn, whatever number of connections somebody has. Runs on the loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import Final

TURN_S: Final = 0.005
"""How long frames are acted on before everybody else on the loop has a turn."""


class Turns:
    """Turns on one loop.

    Args:
        loop: The running one.
        now: Seconds that never go back.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._loop = loop
        self._now = now
        self._spent_s = 0.0
        self._is_crowded = False
        self._lines: dict[Hashable, deque[Callable[[], None]]] = {}

    def ask(self, whose: Hashable, turn: Callable[[], None]) -> bool:
        """Take a turn now, or get in line.

        Args:
            whose: Those with the same share one line; the lines have their turns one by one.
            turn: Acts, for about as long as `TURN_S` at most, and never raises.

        Returns:
            Whether it was called; else it will be, once.
        """
        if self._is_crowded:
            self._lines.setdefault(whose, deque()).append(turn)
            return False
        self._run(turn)
        if self._spent_s >= TURN_S and not self._is_crowded:
            self._is_crowded = True
            self._loop.call_soon(self._next)
        return True

    def _next(self) -> None:
        self._spent_s = 0.0
        if not self._lines:
            self._is_crowded = False
            return
        self._loop.call_soon(self._next)  # after what arrives meanwhile
        while self._lines and self._spent_s < TURN_S:
            whose = next(iter(self._lines))
            line = self._lines.pop(whose)
            turn = line.popleft()
            if line:
                self._lines[whose] = line
            self._run(turn)

    def _run(self, turn: Callable[[], None]) -> None:
        started = self._now()
        try:
            turn()
        finally:
            self._spent_s += self._now() - started
