"""What can be waited for of a process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol


class Watched(Protocol):
    """Who has states, and tells the waiters when one may have changed."""

    lock: threading.Lock
    waiters: set[threading.Event]


class ChildState:
    """A `WaitSource` that is one question about a child; asked under its lock."""

    def __init__(self, child: Watched, question: Callable[[], bool]) -> None:
        self._child = child
        self._question = question

    def is_ready(self) -> bool:
        """As `WaitSource.is_ready`."""
        with self._child.lock:
            return self._question()

    def add_waiter(self, event: threading.Event) -> None:
        """As `WaitSource.add_waiter`."""
        with self._child.lock:
            self._child.waiters.add(event)
        event.set()  # the state may have changed before; a spurious wake-up is allowed

    def remove_waiter(self, event: threading.Event) -> None:
        """As `WaitSource.remove_waiter`."""
        with self._child.lock:
            self._child.waiters.discard(event)
