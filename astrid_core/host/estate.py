"""Bus subscriptions that a run loop leaves behind, for the load that takes its place.

Whether a run loop is replaced or has crashed: what was published for it and not yet received waits
here, within the bounds of its queues, and is received by its successor. Nothing is left to a load
of another capsule, and the successor subscribes by the same checks as anybody.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Final

from astrid_hookspecs.buses import BusSubscription

MAX_QUEUES: Final = 192
"""What one run loop can have at the most: 128 subscriptions and the topics of 64 handlers."""


class Estate:
    """Queues by pattern, oldest first. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: dict[str, deque[BusSubscription]] = {}
        self._is_closed = False

    def keep(self, queue: BusSubscription) -> None:
        """Keep a queue open for a successor; after `close`, or beyond the bound, it is closed.

        Loads that fail one after the other, each with other topics, leave no more than one could.
        """
        with self._lock:
            kept = sum(map(len, self._queues.values()))
            if not self._is_closed and kept < MAX_QUEUES:
                self._queues.setdefault(queue.pattern, deque()).append(queue)
                return
        queue.close()

    def take(self, pattern: str) -> BusSubscription | None:
        """A queue with exactly this pattern, which is the caller's from now on."""
        with self._lock:
            queues = self._queues.get(pattern)
            return queues.popleft() if queues else None

    def adopt(self, other: Estate) -> None:
        """Take over everything that another load left."""
        for queue in other._emptied():
            self.keep(queue)

    def clear(self) -> None:
        """Close what nobody took."""
        for queue in self._emptied():
            queue.close()

    def close(self) -> None:
        """Clear, and keep nothing more."""
        with self._lock:
            self._is_closed = True
        self.clear()

    def _emptied(self) -> list[BusSubscription]:
        with self._lock:
            found, self._queues = self._queues, {}
        return [queue for queues in found.values() for queue in queues]
