"""The event bus of a single process: envelopes go from a publisher into bounded queues.

Trusted with order and completeness: one lock numbers an envelope and puts it into every queue it
matches, so that `seq` and the order of each queue agree, and what a full queue loses is counted and
was that of whoever had most in it. It
decides nothing about who may publish or subscribe.

Spec: capsules-and-bus 6.4, 6.7, 13.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Final

from loguru import logger

from astrid_core.builtin.fair_queue import FairQueue
from astrid_core.domain.failure_text import failure_text
from astrid_core.domain.topic_trie import Matcher, TopicTrie
from astrid_hookspecs.buses import Batch, Envelope, QueueBudget
from astrid_hookspecs.engines import MIB
from astrid_hookspecs.errors import LocalProtocolError
from astrid_hookspecs.values import Principal

DEFAULT_CAPACITY: Final = 1024
DEFAULT_QUEUE_BYTES: Final = 16 * MIB


class MemorySubscription:
    """A bounded queue of envelopes. Implements `astrid_hookspecs.buses.BusSubscription`.

    Made by `MemoryBus.subscribe`. Every method may be called from any thread.
    """

    __slots__ = (
        "_budget",
        "_bus",
        "_capacity",
        "_is_closed",
        "_lagged",
        "_lock",
        "_max_bytes",
        "_queue",
        "handle",
        "pattern",
        "principal",
        "waiters",
    )

    def __init__(
        self,
        bus: MemoryBus,
        *,
        pattern: str,
        capacity: int,
        max_bytes: int,
        budget: QueueBudget,
        principal: Principal | None,
        lock: threading.Lock,
    ) -> None:
        self.pattern = pattern
        self.principal = principal
        self._bus = bus
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._budget = budget
        self._lock = lock  # the bus's own
        self._queue = FairQueue()
        self._lagged = 0
        self.waiters: set[threading.Event] = set()
        self._is_closed = False
        self.handle = -1

    def is_ready(self) -> bool:
        """Whether `take` would return a message; never true again after `close`."""
        return bool(self._queue.messages)

    def add_waiter(self, event: threading.Event) -> None:
        """Set `event` whenever a message was queued, and when the subscription is closed."""
        with self._lock:
            self.waiters.add(event)
            wake = bool(self._queue.messages) or self._is_closed
        if wake:
            event.set()

    def remove_waiter(self, event: threading.Event) -> None:
        """Forget `event`."""
        with self._lock:
            self.waiters.discard(event)

    def take(self, *, max_bytes: int) -> Batch:
        """Take the first message, then more of the same origin while they fit.

        A batch ends before a message of another principal. It ends as well where the same principal
        is attributed otherwise: a claim must not be read in the context of a verified message.

        Args:
            max_bytes: Budget for the sum of payload lengths; the first message may exceed it.
        """
        with self._lock:
            lagged, self._lagged = self._lagged, 0
            messages, size = self._queue.take(max_bytes=max_bytes)
            self._budget.used -= size
            return Batch(messages, lagged)

    def close(self) -> None:
        """Stop receiving, drop what is queued and wake whoever waits."""
        self._bus.discard(self)

    def append_locked(self, envelope: Envelope) -> int:
        """Queue an envelope. For the bus, which holds the lock.

        Returns:
            How many older envelopes made room for it.
        """
        queue, budget = self._queue, self._budget
        queue.append(envelope)
        budget.used += len(envelope.payload)
        messages = queue.messages
        lost = 0
        while len(messages) > self._capacity:
            budget.used -= queue.drop_one(by_bytes=False)
            lost += 1
        while len(messages) > 1 and (queue.bytes > self._max_bytes or budget.used > budget.limit):
            budget.used -= queue.drop_one(by_bytes=True)
            lost += 1
        self._lagged += lost
        return lost

    def shut_locked(self) -> set[threading.Event]:
        """Empty the queue for good. For the bus, which holds the lock.

        Returns:
            The waiters to wake.
        """
        self._is_closed = True
        self._budget.used -= self._queue.bytes
        self._queue.clear()
        self._lagged = 0
        return self.waiters

    def held_locked(self) -> tuple[int, int]:
        """Messages and payload bytes in the queue. For the bus, which holds the lock."""
        return len(self._queue.messages), self._queue.bytes


class MemoryBus:
    """Routes envelopes inside one process. Implements `astrid_hookspecs.buses.Bus`.

    Besides patterns of matcher B, `subscribe` and `add_listener` take `**`: every topic.

    Args:
        max_queue_bytes: Payload bytes that one subscription keeps before it drops its oldest
            message; a single larger message is kept.
    """

    def __init__(self, *, max_queue_bytes: int = DEFAULT_QUEUE_BYTES) -> None:
        self._max_queue_bytes = max_queue_bytes
        self._lock = threading.Lock()
        self._subscriptions: TopicTrie[MemorySubscription] = TopicTrie(Matcher.RECEIVER)
        self._open: set[MemorySubscription] = set()
        self._listeners: TopicTrie[Callable[[Envelope], None]] = TopicTrie(Matcher.RECEIVER)
        self._is_closed = False
        self._seq = 0
        self._delivered = 0
        self._dropped = 0
        self._listener_errors = 0

    def publish(self, envelope: Envelope) -> Envelope:
        """Number the envelope, queue it, call the listeners, then wake the readers.

        Listeners run without the lock: they may use the bus, and those of concurrent publishers run
        in either order. Readers wake after them, so that what a reader publishes in answer seldom
        overtakes the message itself on its way to a listener.

        Returns:
            The envelope with its `seq`. A closed bus numbers it and delivers to nobody.
        """
        woken: list[threading.Event] = []
        with self._lock:
            self._seq += 1
            numbered = Envelope(
                envelope.topic,
                envelope.payload,
                envelope.kind,
                envelope.source_id,
                envelope.principal,
                envelope.attribution,
                envelope.timestamp,
                self._seq,
                envelope.depth,
            )
            who = envelope.principal
            for subscription in self._subscriptions.match(envelope.topic):
                if who is not None and subscription.principal not in (None, who):
                    continue
                self._delivered += 1
                self._dropped += subscription.append_locked(numbered)
                if subscription.waiters:
                    woken.extend(subscription.waiters)
            listeners = self._listeners.match(envelope.topic)
        for listener in listeners:
            try:
                listener(numbered)
            except Exception as error:  # noqa: BLE001 - a publisher does not fail for a listener
                self._report_listener(numbered, error)
        for event in woken:
            event.set()
        return numbered

    def subscribe(
        self,
        pattern: str,
        *,
        capacity: int = DEFAULT_CAPACITY,
        budget: QueueBudget | None = None,
        principal: Principal | None = None,
    ) -> MemorySubscription:
        """Receive later envelopes that match.

        Args:
            pattern: Checked by the caller where a guest wrote it; `**` for every topic.
            capacity: At least 1.
            budget: As in `Bus.subscribe`.
            principal: As in `Bus.subscribe`.

        Raises:
            LocalProtocolError: `bus.closed`, or `bus.capacity` for a capacity below 1.
        """
        if capacity < 1:
            raise LocalProtocolError(
                f"a subscription cannot hold {capacity} messages",
                code="bus.capacity",
                hint="use a capacity of at least 1",
            )
        subscription = MemorySubscription(
            self,
            pattern=pattern,
            capacity=capacity,
            max_bytes=self._max_queue_bytes,
            budget=budget or QueueBudget(self._max_queue_bytes),
            principal=principal,
            lock=self._lock,
        )
        with self._lock:
            self._check_open()
            subscription.handle = self._subscriptions.insert(pattern, subscription)
            self._open.add(subscription)
        return subscription

    def add_listener(
        self, pattern: str, listener: Callable[[Envelope], None]
    ) -> Callable[[], None]:
        """Call `listener` in the publisher's thread, in the order listeners were added.

        Args:
            pattern: As for `subscribe`.
            listener: Returns quickly and does not raise; an exception is logged.

        Returns:
            A function that removes the listener; calling it twice is not an error. A publish that
            is under way in another thread may still call the listener once more.

        Raises:
            LocalProtocolError: `bus.closed`.
        """
        with self._lock:
            self._check_open()
            handle = self._listeners.insert(pattern, listener)

        def remove() -> None:
            with self._lock:
                self._listeners.remove(handle)

        return remove

    def discard(self, subscription: MemorySubscription) -> None:
        """Close one subscription of this bus; closing it twice is not an error."""
        with self._lock:
            self._open.discard(subscription)
            self._subscriptions.remove(subscription.handle)
            woken = set(subscription.shut_locked())
        for event in woken:
            event.set()

    def close(self) -> None:
        """Close every subscription and forget the listeners. Closing twice is not an error."""
        with self._lock:
            self._is_closed = True
            remaining = list(self._open)
            self._listeners = TopicTrie(Matcher.RECEIVER)
        for subscription in remaining:
            self.discard(subscription)

    def stats(self) -> Mapping[str, int]:
        """Counters since the start, and what is held now."""
        with self._lock:
            held = [subscription.held_locked() for subscription in self._open]
            return {
                "published": self._seq,
                "delivered": self._delivered,
                "dropped": self._dropped,
                "listener_errors": self._listener_errors,
                "subscriptions": len(self._open),
                "listeners": len(self._listeners),
                "queued_messages": sum(messages for messages, _ in held),
                "queued_bytes": sum(size for _, size in held),
            }

    def _check_open(self) -> None:
        if self._is_closed:
            raise LocalProtocolError(
                "the bus is closed", code="bus.closed", hint="the kernel is shutting down"
            )

    def _report_listener(self, envelope: Envelope, error: Exception) -> None:
        with self._lock:
            self._listener_errors += 1
        logger.error(
            "a bus listener failed on topic {!r}, seq {}: {}",
            envelope.topic,
            envelope.seq,
            failure_text(error),
        )
