"""Bounded queues of events, one for each (capsule, principal), worked off by the worker pool.

Trusted with order and memory: the items of one queue are handled one after the other in the order
they came, and no queue, principal or number of queues grows without bound. When a bound is reached
the newest item is refused, so that what was accepted is never lost. No capsule occupies more than
its share of the threads, so that one which waits on behalf of many principals stops nobody else.

Spec: capsules-and-bus 7.2, 7.6, [C-04], [C-05].
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, Generic, NamedTuple, TypeVar

from loguru import logger

from astrid_core.domain.failure_text import failure_text
from astrid_core.kernel.turns import Turns
from astrid_core.kernel.worker_pool import WorkerPool
from astrid_hookspecs.engines import MIB
from astrid_hookspecs.values import CapsuleId, Principal

T = TypeVar("T")

QUEUE_CAPACITY: Final = 256
QUEUE_BYTES: Final = 16 * MIB
PRINCIPAL_BYTES: Final = 64 * MIB
MAX_QUEUES: Final = 10_000
CAPSULE_THREADS: Final = 64
IDLE_S: Final = 60.0
_FORCED_SWEEP_PAUSE_S: Final = 1.0


class MailboxKey(NamedTuple):
    """Whose queue it is: the first capsule of the chain and the effective principal."""

    capsule: CapsuleId
    principal: Principal


class Bounds(NamedTuple):
    """How much may wait.

    Attributes:
        items: Per queue, not counting the one being handled.
        queue_bytes: Per queue; a single larger item is accepted by an empty one.
        principal_bytes: Over all queues of a principal.
        queues: Number of queues.
        capsule_threads: Queues of one capsule that are worked off at once; the others take turns.
        idle_s: How long an empty queue is kept.
    """

    items: int = QUEUE_CAPACITY
    queue_bytes: int = QUEUE_BYTES
    principal_bytes: int = PRINCIPAL_BYTES
    queues: int = MAX_QUEUES
    capsule_threads: int = CAPSULE_THREADS
    idle_s: float = IDLE_S


class _Mailbox(Generic[T]):
    """One queue; a job of the worker pool. The owner's lock guards everything in it."""

    __slots__ = ("_owner", "bytes", "idle_since", "is_refusing", "is_submitted", "items", "key")

    def __init__(self, owner: Mailboxes[T], key: MailboxKey, *, now: float) -> None:
        self._owner = owner
        self.key = key
        self.items: deque[tuple[T, int]] = deque()
        self.bytes = 0
        self.is_submitted = False
        self.is_refusing = False
        self.idle_since = now

    def run_one(self) -> bool:
        return self._owner.handle_next(self)


class _Share(Generic[T]):
    """The threads of one capsule: how many it uses, and which queues wait for their turn."""

    __slots__ = ("active", "parked")

    def __init__(self) -> None:
        self.active = 0
        self.parked: deque[_Mailbox[T]] = deque()


class Mailboxes(Generic[T]):
    """All queues. Every method may be called from any thread.

    Args:
        pool: Runs the queues, fairly between them.
        handle: Called on a worker thread for each item; an exception is logged and goes no further.
        bounds: How much may wait.
        turns: Whose item is handled before whose.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        pool: WorkerPool,
        *,
        handle: Callable[[T], None],
        bounds: Bounds | None = None,
        turns: Turns | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._handle = handle
        self._bounds = bounds or Bounds()
        self._turns = turns or Turns(blocked=pool.blocked, monotonic=clock)
        self._clock = clock
        self._lock = threading.Lock()
        self._boxes: dict[MailboxKey, _Mailbox[T]] = {}
        self._held: dict[Principal, int] = {}
        self._shares: dict[CapsuleId, _Share[T]] = {}
        self._running = 0
        self._quiet = threading.Condition(self._lock)
        self._swept_at = clock()
        self._is_stopped = False

    def offer(self, key: MailboxKey, item: T, *, size_bytes: int) -> bool:
        """Queue an item.

        Returns:
            False when a bound is reached, or after `stop`; the item is not kept.
        """
        with self._lock:
            box = self._enqueue_locked(key, item, size_bytes)
            if box is None:
                return False
            if box.is_submitted:
                return True
            box.is_submitted = True
            share = self._shares.setdefault(key.capsule, _Share())
            if share.active >= self._bounds.capsule_threads:
                share.parked.append(box)
                return True
            share.active += 1
        is_taken = self._pool.submit(box, principal=key.principal)
        return is_taken or self._is_given_back(box)

    def stop(self) -> list[T]:
        """Accept nothing more.

        Returns:
            What was waiting, in no particular order between queues. It will not be handled.
        """
        with self._lock:
            self._is_stopped = True
            dropped = [item for box in self._boxes.values() for item, _ in box.items]
            for box in self._boxes.values():
                for _ in box.items:
                    self._turns.leave(box.key.principal)
                box.items.clear()
                box.bytes = 0
            self._held.clear()
            return dropped

    def wait_quiet(self, *, timeout_s: float) -> bool:
        """Wait until no item is being handled; returns whether that was reached in time."""
        with self._quiet:
            return self._quiet.wait_for(lambda: self._running == 0, timeout_s)

    def stats(self) -> Mapping[str, int]:
        """Queues, what waits in them, and items being handled."""
        with self._lock:
            return {
                "queues": len(self._boxes),
                "queued": sum(len(box.items) for box in self._boxes.values()),
                "queued_bytes": sum(self._held.values()),
                "running": self._running,
            }

    def handle_next(self, box: _Mailbox[T]) -> bool:
        """Handle the oldest item of a queue. For the worker pool."""
        self._turns.give_way(box.key.principal)
        with self._lock:
            entry = box.items.popleft() if box.items else None  # there is none only after `stop`
            if entry is not None:
                self._account_locked(box, -entry[1])
                self._running += 1
        if entry is not None:
            self._handle_item(box, entry[0])
        with self._lock:
            if box.items and not self._shares[box.key.capsule].parked:
                return True
            successor = self._give_place_locked(box)
        if successor is not None:
            self._pool.submit(successor, principal=successor.key.principal)
        return False

    def _handle_item(self, box: _Mailbox[T], item: T) -> None:
        try:
            self._handle(item)
        except BaseException as error:  # noqa: BLE001 - items behind this one must not be lost
            logger.error(
                "handling an event of capsule {} failed: {}", box.key.capsule, failure_text(error)
            )
        self._turns.leave(box.key.principal)
        with self._lock:
            self._running -= 1
            if self._running == 0:
                self._quiet.notify_all()

    def _give_place_locked(self, box: _Mailbox[T]) -> _Mailbox[T] | None:
        """End the turn of a queue; returns the queue of the same capsule whose turn it is now."""
        share = self._shares[box.key.capsule]
        if box.items:
            share.parked.append(box)
        else:
            box.is_submitted = False
            box.idle_since = self._clock()
        if share.parked:
            return share.parked.popleft()
        share.active -= 1
        if share.active == 0:
            del self._shares[box.key.capsule]
        return None

    def _enqueue_locked(self, key: MailboxKey, item: T, size_bytes: int) -> _Mailbox[T] | None:
        """The queue that took the item, None when a bound is reached."""
        box = None if self._is_stopped else self._box_locked(key)
        if box is None:
            return None
        if self._is_full_locked(box, size_bytes):
            if not box.is_refusing:  # one warning for each time that the queue fills up
                box.is_refusing = True
                logger.warning(
                    "queue of capsule {} for principal {} is full; events are dropped",
                    key.capsule,
                    key.principal,
                )
            return None
        box.is_refusing = False
        self._turns.join(key.principal)
        box.items.append((item, size_bytes))
        self._account_locked(box, size_bytes)
        return box

    def _is_given_back(self, box: _Mailbox[T]) -> bool:
        """Undo an offer that the closed pool will not handle.

        Returns:
            Whether `stop` came in between and has given the item back already.
        """
        with self._lock:
            is_empty = not box.items
            if not is_empty:
                self._account_locked(box, -box.items.popleft()[1])
                self._turns.leave(box.key.principal)
            self._give_place_locked(box)
            return is_empty

    def _box_locked(self, key: MailboxKey) -> _Mailbox[T] | None:
        now = self._clock()
        if now - self._swept_at >= self._bounds.idle_s:
            self._sweep_locked(now, idle_s=self._bounds.idle_s)
        box = self._boxes.get(key)
        if box is not None:
            return box
        if len(self._boxes) >= self._bounds.queues:
            # Looking at every queue costs a millisecond: not for each event of a flood.
            if now - self._swept_at >= _FORCED_SWEEP_PAUSE_S:
                self._sweep_locked(now, idle_s=0.0)
            if len(self._boxes) >= self._bounds.queues:
                return None
        box = self._boxes[key] = _Mailbox(self, key, now=now)
        return box

    def _sweep_locked(self, now: float, *, idle_s: float) -> None:
        """Forget queues that are empty and idle; they hold nothing that a new one would lack."""
        self._swept_at = now
        self._boxes = {
            key: box
            for key, box in self._boxes.items()
            if box.is_submitted or now - box.idle_since < idle_s
        }

    def _is_full_locked(self, box: _Mailbox[T], size_bytes: int) -> bool:
        bounds = self._bounds
        held = self._held.get(box.key.principal, 0)
        return (
            len(box.items) >= bounds.items
            or (box.bytes > 0 and box.bytes + size_bytes > bounds.queue_bytes)
            or (held > 0 and held + size_bytes > bounds.principal_bytes)
        )

    def _account_locked(self, box: _Mailbox[T], change_bytes: int) -> None:
        box.bytes += change_bytes
        held = self._held.get(box.key.principal, 0) + change_bytes
        if held:
            self._held[box.key.principal] = held
        else:
            self._held.pop(box.key.principal, None)
