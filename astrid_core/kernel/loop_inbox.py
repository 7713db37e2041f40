"""Brings outcomes from worker threads to futures of an event loop.

Trusted with delivering each outcome once and with waking the loop no more often than it must: one
wake-up serves everything that arrived before the loop got to it.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class LoopInbox(Generic[T]):
    """Settles futures of one loop from any thread.

    Args:
        loop: Whose futures are settled.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._arrived: list[tuple[asyncio.Future[T], T]] = []

    def put(self, future: asyncio.Future[T], outcome: T) -> None:
        """Settle a future soon, unless it is done by then. Does nothing on a closed loop."""
        with self._lock:
            is_first = not self._arrived
            self._arrived.append((future, outcome))
        if is_first:
            try:
                self._loop.call_soon_threadsafe(self._settle)
            except RuntimeError:  # the loop is closed: nobody is waiting
                with self._lock:
                    self._arrived.clear()

    def _settle(self) -> None:
        with self._lock:
            arrived, self._arrived = self._arrived, []
        for future, outcome in arrived:
            if not future.done():
                future.set_result(outcome)
