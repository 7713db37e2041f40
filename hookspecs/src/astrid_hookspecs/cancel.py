"""Cooperative cancellation shared by kernel, host functions and engines."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class WaitSource(Protocol):
    """Something a thread can wait for: a queue with messages, a fired token, a finished child."""

    def is_ready(self) -> bool:
        """Whether waiting would return at once. Non-blocking, without side effect."""
        ...

    def add_waiter(self, event: threading.Event) -> None:
        """Set `event` as soon as the source may have become ready; spurious wake-ups are fine."""
        ...

    def remove_waiter(self, event: threading.Event) -> None:
        """Forget `event`; forgetting an unknown one is not an error."""
        ...


class CancelToken:
    """Fires once, wakes every waiter, stays fired. Safe from any thread."""

    __slots__ = ("_fired", "_lock", "_waiters")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters: set[threading.Event] = set()
        self._fired = False

    def fire(self) -> None:
        """Cancel. Later calls do nothing."""
        with self._lock:
            self._fired = True
            waiters, self._waiters = self._waiters, set()
        for event in waiters:
            event.set()

    def is_ready(self) -> bool:
        """Whether the token has fired (the name makes it a `WaitSource`)."""
        return self._fired

    @property
    def is_fired(self) -> bool:
        """Whether the token has fired."""
        return self._fired

    def add_waiter(self, event: threading.Event) -> None:
        """Set `event` when the token fires, at once if it has."""
        with self._lock:
            if not self._fired:
                self._waiters.add(event)
                return
        event.set()

    def remove_waiter(self, event: threading.Event) -> None:
        """Forget `event`."""
        with self._lock:
            self._waiters.discard(event)


def wait_any(sources: tuple[WaitSource, ...], *, timeout_s: float | None) -> bool:
    """Wait until one source is ready.

    Args:
        sources: At least one; a `CancelToken` is a source like any other.
        timeout_s: Upper bound in seconds, None for none.

    Returns:
        True when a source is ready, False when the time is over.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    event = threading.Event()
    for source in sources:
        source.add_waiter(event)
    try:
        while True:
            if any(source.is_ready() for source in sources):
                return True
            remaining = None if deadline is None else deadline - time.monotonic()
            if remaining is not None and remaining <= 0:
                return False
            event.wait(remaining)
            event.clear()
    finally:
        for source in sources:
            source.remove_waiter(event)
