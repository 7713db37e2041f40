"""Timers of calls that other threads finish, given back without waking the loop.

A call ends on a worker thread; cancelling its timer there would wake the loop just when the client
that waits for the answer should run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Deadlines:
    """The timers of one loop.

    Args:
        loop: Runs what is overdue.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._retired: deque[asyncio.TimerHandle] = deque()

    def add(self, delay_s: float, action: Callable[[], None]) -> asyncio.TimerHandle:
        """Do something later. On the loop."""
        self.clear()
        return self._loop.call_later(delay_s, action)

    def retire(self, timer: asyncio.TimerHandle) -> None:
        """A timer is no longer needed; until it is cleared it may still run. From any thread."""
        self._retired.append(timer)

    def clear(self) -> None:
        """Cancel what was retired: at the next timer there are as few as calls under way."""
        while self._retired:
            self._retired.popleft().cancel()
