"""Something that happens once, on another thread, and can be waited for with other things."""

from __future__ import annotations

import threading


class SignalFlag:
    """Implements `astrid_hookspecs.cancel.WaitSource`. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_set = False
        self._waiters: set[threading.Event] = set()

    def set(self) -> None:
        """It has happened."""
        with self._lock:
            self._is_set = True
            waiters = tuple(self._waiters)
        for event in waiters:
            event.set()

    def is_ready(self) -> bool:
        """Whether it has."""
        return self._is_set

    def add_waiter(self, event: threading.Event) -> None:
        """As `WaitSource.add_waiter`."""
        with self._lock:
            self._waiters.add(event)
            if self._is_set:
                event.set()

    def remove_waiter(self, event: threading.Event) -> None:
        """As `WaitSource.remove_waiter`."""
        with self._lock:
            self._waiters.discard(event)
