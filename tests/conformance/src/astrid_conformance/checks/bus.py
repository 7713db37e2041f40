"""Checks for event buses: order, matching, losses that are counted, and no waiting.

Spec: capsules-and-bus 6.5 matcher B, 6.7; `astrid_hookspecs.buses`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Final

from astrid_conformance.check import CheckList, in_threads, require, require_equal
from astrid_hookspecs.buses import Attribution, Batch, Bus, BusSubscription, Envelope, QueueBudget
from astrid_hookspecs.cancel import wait_any
from astrid_hookspecs.values import Principal

BUS: Final = CheckList[Bus]()
_MIB: Final = 1024 * 1024
_MATCHES: Final = (
    ("a.b.c", "a.b.c", True),
    ("a.b.c", "a.b.*", True),
    ("a.b.c.d", "a.b.*", True),
    ("a.b", "a.b.*", False),
    ("a.x.c", "a.*.c", True),
    ("a.x.y.c", "a.*.c", False),
    ("a.b.c.d", "*.b.*", True),
    ("a.b.c", "a.*.*", True),
    ("a.b", "a.*.*", False),
    ("a.b", "a.b.c", False),
    ("a", "*.b", False),
    ("b", "a.b", False),
    ("a", "*", True),
    ("a.b", "*", False),
    ("A.b", "a.b", False),
    ("foobar", "foo*", False),
    ("a.b.c", "**", True),
)
"""Spec: the table in capsules-and-bus 6.5, column "B (intended)"."""


@contextlib.contextmanager
def bus_subject(factory: Callable[[], Bus]) -> Iterator[Bus]:
    """A bus for one check."""
    bus = factory()
    try:
        yield bus
    finally:
        bus.close()


def envelope(topic: str, payload: bytes = b"{}", *, principal: str | None = "ada") -> Envelope:
    """An envelope as the kernel makes it before publication."""
    return Envelope(
        topic=topic,
        payload=payload,
        principal=None if principal is None else Principal(principal),
        attribution=Attribution.SYSTEM if principal is None else Attribution.VERIFIED,
        timestamp="2026-01-02T03:04:05.678Z",
    )


def _drain(subscription: BusSubscription) -> list[Envelope]:
    messages: list[Envelope] = []
    while subscription.is_ready():
        batch = subscription.take(max_bytes=_MIB)
        require(batch.messages, "is_ready was true but take returned nothing")
        messages.extend(batch.messages)
    return messages


@BUS.required
def numbers_start_at_one(bus: Bus) -> None:
    """`publish` returns the envelope with 1, 2, 3, ... and changes nothing else."""
    for number in (1, 2, 3):
        sent = envelope("a.b", b'{"n":1}')
        published = bus.publish(sent)
        require_equal(published.seq, number, "seq")
        for field in ("topic", "payload", "kind", "source_id", "principal", "timestamp", "depth"):
            require_equal(getattr(published, field), getattr(sent, field), field)


@BUS.required
def subscribers_receive_what_was_published_afterwards(bus: Bus) -> None:
    """A subscription receives later envelopes in order, unchanged, and no earlier ones."""
    bus.publish(envelope("a.b", b"0"))
    subscription = bus.subscribe("a.b")
    sent = [bus.publish(envelope("a.b", str(number).encode())) for number in range(1, 9)]
    bus.publish(envelope("a.c"))
    require_equal(_drain(subscription), sent, "what was received")
    require_equal(subscription.is_ready(), False, "is_ready of an empty subscription")


@BUS.required
def patterns_match_as_specified(bus: Bus) -> None:
    """Patterns follow the receiver matcher, row by row, for subscriptions and listeners."""
    for topic, pattern, expected in _MATCHES:
        heard: list[Envelope] = []
        subscription = bus.subscribe(pattern)
        remove = bus.add_listener(pattern, heard.append)
        bus.publish(envelope(topic))
        require_equal(len(_drain(subscription)) == 1, expected, f"{topic!r} for {pattern!r}")
        require_equal(len(heard) == 1, expected, f"listener: {topic!r} for {pattern!r}")
        subscription.close()
        remove()


@BUS.required
def a_batch_has_one_principal(bus: Bus) -> None:
    """A batch ends before a message of another principal; nobody is no principal."""
    subscription = bus.subscribe("a.*")
    for principal in ("ada", "ada", "bob", None, None, "ada"):
        bus.publish(envelope("a.b", principal=principal))
    sizes: list[int] = []
    while subscription.is_ready():
        batch = subscription.take(max_bytes=_MIB)
        require(len({m.principal for m in batch.messages}) == 1, "a batch mixes principals")
        sizes.append(len(batch.messages))
    require_equal(sizes, [2, 1, 2, 1], "messages per batch")


@BUS.required
def a_batch_keeps_to_its_bytes(bus: Bus) -> None:
    """A batch holds what fits, and its first message always."""
    subscription = bus.subscribe("a.*")
    for size in (10, 10, 10, 100, 1):
        bus.publish(envelope("a.b", b"x" * size))
    taken = [len(subscription.take(max_bytes=20).messages) for _ in range(4)]
    require_equal(taken, [2, 1, 1, 1], "messages per batch of 20 bytes")


@BUS.required
def taking_nothing_is_an_empty_batch(bus: Bus) -> None:
    """`take` of an empty subscription returns at once with nothing."""
    subscription = bus.subscribe("a.*")
    require_equal(subscription.take(max_bytes=1), Batch((), 0), "take of an empty subscription")


@BUS.required
def a_full_queue_drops_the_oldest_and_counts(bus: Bus) -> None:
    """A full queue loses its oldest messages and says how many, once."""
    subscription = bus.subscribe("a.*", capacity=3)
    for number in range(8):
        bus.publish(envelope("a.b", str(number).encode()))
    batch = subscription.take(max_bytes=_MIB)
    require_equal([m.payload for m in batch.messages], [b"5", b"6", b"7"], "what is left")
    require_equal(batch.lagged, 5, "lagged")
    bus.publish(envelope("a.b"))
    require_equal(subscription.take(max_bytes=_MIB).lagged, 0, "lagged the next time")


@BUS.required
def a_flood_costs_others_nothing(bus: Bus) -> None:
    """Whoever has most in a full queue loses first, in messages as in bytes."""
    queue = bus.subscribe("a.*", capacity=10)
    large = bus.subscribe("a.*", budget=QueueBudget(1000))
    for number in range(3):
        bus.publish(envelope("a.b", b"%d" % number, principal="ada"))
        for _ in range(50):
            bus.publish(envelope("a.b", b"x" * 100, principal="bob"))
    for name, subscription in (("messages", queue), ("bytes", large)):
        kept = [one.payload for one in _drain(subscription) if one.principal == "ada"]
        require_equal(kept, [b"0", b"1", b"2"], f"what is left of who says little, by {name}")


@BUS.required
def a_subscription_for_one_principal_hears_no_other(bus: Bus) -> None:
    """Others neither arrive nor displace anything; what has no principal arrives."""
    queue = bus.subscribe("a.*", capacity=3, principal=Principal("ada"))
    for principal in ("ada", *["bob"] * 5, None):
        bus.publish(envelope("a.b", principal=principal))
    mine, nobodys = queue.take(max_bytes=_MIB), queue.take(max_bytes=_MIB)
    found = [one.principal for one in (*mine.messages, *nobodys.messages)]
    require_equal(found, ["ada", None], "principals of what arrived")
    require_equal(mine.lagged + nobodys.lagged, 0, "lagged")


@BUS.required
def queues_that_share_a_budget_keep_no_more(bus: Bus) -> None:
    """What several queues keep has one bound; beyond it each keeps the newest message."""
    budget = QueueBudget(1000)
    queues = [bus.subscribe(f"a.{number}", budget=budget) for number in range(4)]
    for _ in range(5):
        for number in range(4):
            bus.publish(envelope(f"a.{number}", b"x" * 100))
    kept = [_drain(queue) for queue in queues]
    require_equal(sum(map(len, kept)), 10, "messages that fit into the budget")
    require(all(kept), "a queue lost the newest message")
    require_equal(budget.used, 0, "bytes in use when everything was taken")
    bus.publish(envelope("a.0", b"x" * 100))
    queues[0].close()
    require_equal(budget.used, 0, "bytes in use when the queue was closed")


@BUS.required
def a_slow_reader_slows_nobody(bus: Bus) -> None:
    """Publishing never waits for a reader, and a full queue costs the others nothing."""
    full = bus.subscribe("a.*", capacity=1)
    other = bus.subscribe("a.*", capacity=5000)
    for _ in range(2000):
        bus.publish(envelope("a.b"))
    require_equal(len(_drain(other)), 2000, "what the other subscription received")
    require_equal(len(full.take(max_bytes=_MIB).messages), 1, "what the full queue kept")


@BUS.required
def everyone_sees_one_order(bus: Bus) -> None:
    """Publishers on several threads get different numbers, and every queue is in their order."""
    one, two = bus.subscribe("a.*", capacity=5000), bus.subscribe("*.b", capacity=5000)

    def publish() -> list[int]:
        return [bus.publish(envelope("a.b")).seq for _ in range(250)]

    numbers: list[int] = []
    for mine in in_threads(*[publish] * 4):
        require(isinstance(mine, list) and mine == sorted(mine), "numbers of a thread go down")
        numbers.extend(mine if isinstance(mine, list) else [])
    require_equal(sorted(numbers), list(range(1, 1001)), "the numbers given out")
    for subscription in (one, two):
        found = [message.seq for message in _drain(subscription)]
        require_equal(found, list(range(1, 1001)), "the order in a queue")


@BUS.required
def publishing_wakes_a_waiter(bus: Bus) -> None:
    """A thread that waits for a subscription wakes up when something arrives."""
    subscription = bus.subscribe("a.*")

    def wait() -> bool:
        return wait_any((subscription,), timeout_s=20)

    woke, _ = in_threads(wait, lambda: bus.publish(envelope("a.b")))
    require_equal(woke, True, "whether the waiter woke up")
    _drain(subscription)
    event = threading.Event()
    subscription.add_waiter(event)
    subscription.remove_waiter(event)
    subscription.remove_waiter(event)
    bus.publish(envelope("a.b"))
    require_equal(event.is_set(), False, "whether a forgotten waiter was woken")


@BUS.required
def a_waiter_that_comes_late_is_woken_at_once(bus: Bus) -> None:
    """Adding a waiter while a message is queued sets it, or `is_ready` is already true."""
    subscription = bus.subscribe("a.*")
    bus.publish(envelope("a.b"))
    require(wait_any((subscription,), timeout_s=20), "waiting although a message is queued")


@BUS.required
def listeners_run_in_the_publishers_thread(bus: Bus) -> None:
    """Listeners have run, on the publishing thread, when `publish` returns; with the number set."""
    heard: list[tuple[int, int]] = []
    remove = bus.add_listener("a.*", lambda found: heard.append((found.seq, threading.get_ident())))
    published = bus.publish(envelope("a.b"))
    require_equal(heard, [(published.seq, threading.get_ident())], "what the listener heard")
    remove()
    bus.publish(envelope("a.b"))
    require_equal(len(heard), 1, "calls after the listener was removed")


@BUS.required
def a_closed_subscription_receives_nothing(bus: Bus) -> None:
    """`close` drops what is queued, ends delivery, and may be called twice."""
    subscription = bus.subscribe("a.*")
    other = bus.subscribe("a.*")
    bus.publish(envelope("a.b"))
    subscription.close()
    subscription.close()
    bus.publish(envelope("a.b"))
    require_equal(subscription.take(max_bytes=_MIB).messages, (), "messages after close")
    require_equal(len(_drain(other)), 2, "what the other subscription received")


@BUS.required
def closing_the_bus_closes_its_subscriptions(bus: Bus) -> None:
    """After `close` of the bus its subscriptions hold nothing; closing twice is no error."""
    subscription = bus.subscribe("a.*")
    bus.publish(envelope("a.b"))
    bus.close()
    bus.close()
    require_equal(subscription.take(max_bytes=_MIB).messages, (), "messages after close")
