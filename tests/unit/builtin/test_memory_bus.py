"""The in-memory bus: order, bounds, batches, waiting, listeners, and all of it under load."""

from __future__ import annotations

import random
import threading
from collections import Counter

import pytest

from astrid_core.builtin.memory_bus import MemoryBus
from astrid_hookspecs.buses import Attribution, Bus, BusSubscription, Envelope, QueueBudget
from astrid_hookspecs.cancel import CancelToken, WaitSource, wait_any
from astrid_hookspecs.engines import MIB
from astrid_hookspecs.errors import LocalProtocolError
from astrid_hookspecs.values import NIL_SOURCE, Principal


def message(
    topic: str = "t",
    payload: bytes = b"1",
    *,
    principal: str | None = None,
    attribution: Attribution | None = None,
) -> Envelope:
    if attribution is None:
        attribution = Attribution.VERIFIED if principal else Attribution.SYSTEM
    return Envelope(
        topic,
        payload,
        principal=Principal(principal) if principal else None,
        attribution=attribution,
    )


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


def drain(subscription: BusSubscription, *, max_bytes: int = MIB) -> list[Envelope]:
    out: list[Envelope] = []
    while subscription.is_ready():
        out.extend(subscription.take(max_bytes=max_bytes).messages)
    return out


def test_bus_has_the_shape_of_the_contract(bus: MemoryBus):
    as_bus: Bus = bus
    subscription: BusSubscription = as_bus.subscribe("a.*")
    source: WaitSource = subscription
    assert not source.is_ready()
    assert subscription.pattern == "a.*"


def test_envelopes_are_numbered_from_one_and_otherwise_unchanged(bus: MemoryBus):
    sent = Envelope(
        "a.b",
        b'{"x":1}',
        kind="raw_json",
        source_id="6f1c0d9e-1111-4222-8333-944445555666",
        principal=Principal("alice"),
        attribution=Attribution.CLAIMED,
        timestamp="2026-02-03T09:10:11.120Z",
        seq=99,
        depth=3,
    )
    subscription = bus.subscribe("a.b")
    first, second = bus.publish(sent), bus.publish(sent)
    assert [first.seq, second.seq] == [1, 2]
    assert sent.seq == 99
    received = subscription.take(max_bytes=MIB).messages
    assert received == (first, second)
    for name in Envelope.__slots__:
        if name != "seq":
            assert getattr(received[0], name) == getattr(sent, name)


def test_kernel_message_is_system_with_nil_source(bus: MemoryBus):
    """Guest vector 98."""
    subscription = bus.subscribe("astrid.v1.*")
    bus.publish(Envelope("astrid.v1.watchdog.tick", b"{}"))
    (received,) = subscription.take(max_bytes=MIB).messages
    assert received.attribution is Attribution.SYSTEM
    assert received.source_id == NIL_SOURCE


def test_only_matching_later_messages_arrive(bus: MemoryBus):
    bus.publish(message("a.b"))
    subscription = bus.subscribe("a.*")
    for topic in ("a.b", "a", "b.a", "a.b.c"):
        bus.publish(message(topic))
    assert [m.topic for m in drain(subscription)] == ["a.b", "a.b.c"]


def test_everything_pattern_receives_every_topic(bus: MemoryBus):
    subscription = bus.subscribe("**")
    heard: list[str] = []
    bus.add_listener("**", lambda envelope: heard.append(envelope.topic))
    for topic in ("a", "a.b", "x.y.z"):
        bus.publish(message(topic))
    assert [m.topic for m in drain(subscription)] == heard == ["a", "a.b", "x.y.z"]


@pytest.mark.parametrize(
    ("queue", "batches"),
    [
        pytest.param(["alice", "alice", "bob", "alice"], [2, 1, 1], id="90"),
        pytest.param(["alice", "alice", "bob"], [2, 1], id="105"),
        pytest.param([None, "alice"], [1, 1], id="106"),
    ],
)
def test_batches_hold_one_principal_and_lose_nothing(
    bus: MemoryBus, queue: list[str | None], batches: list[int]
):
    subscription = bus.subscribe("t")
    for principal in queue:
        bus.publish(message(principal=principal))
    received = [subscription.take(max_bytes=MIB) for _ in batches]
    assert [len(batch.messages) for batch in received] == batches
    assert all(len({m.principal for m in batch.messages}) == 1 for batch in received)
    assert [m.principal for batch in received for m in batch.messages] == queue
    assert subscription.take(max_bytes=MIB).messages == ()


def test_batch_of_a_system_message_is_attributed_to_the_system(bus: MemoryBus):
    """Vector 106."""
    subscription = bus.subscribe("t")
    bus.publish(message())
    bus.publish(message(principal="alice"))
    assert subscription.take(max_bytes=MIB).messages[0].attribution is Attribution.SYSTEM


def test_claim_does_not_ride_in_the_batch_of_a_verified_message(bus: MemoryBus):
    subscription = bus.subscribe("t")
    bus.publish(message(principal="alice"))
    bus.publish(message(principal="alice", attribution=Attribution.CLAIMED))
    first, second = (subscription.take(max_bytes=MIB) for _ in range(2))
    assert [m.attribution for m in first.messages] == [Attribution.VERIFIED]
    assert [m.attribution for m in second.messages] == [Attribution.CLAIMED]


def test_batch_budget_keeps_the_message_that_does_not_fit(bus: MemoryBus):
    """Guest vector 91."""
    subscription = bus.subscribe("t")
    sent = [bus.publish(message(payload=b"x" * 629_146)) for _ in range(3)]
    received = [subscription.take(max_bytes=MIB) for _ in range(3)]
    assert [batch.messages for batch in received] == [(envelope,) for envelope in sent]
    assert all(batch.lagged == 0 for batch in received)


def test_batch_budget_counts_the_first_message_and_allows_the_exact_sum(bus: MemoryBus):
    subscription = bus.subscribe("t")
    for size in (6, 4, 1, 99):
        bus.publish(message(payload=b"x" * size))
    sizes = [[len(m.payload) for m in subscription.take(max_bytes=10).messages] for _ in range(3)]
    assert sizes == [[6, 4], [1], [99]]


def test_full_queue_drops_the_oldest_and_counts_them(bus: MemoryBus):
    """Vector 107, guest vector 92."""
    subscription = bus.subscribe("t")
    for _ in range(1100):
        bus.publish(message())
    batch = subscription.take(max_bytes=MIB)
    assert batch.lagged == 76
    assert [m.seq for m in batch.messages] == list(range(77, 1101))
    assert subscription.take(max_bytes=MIB) == ((), 0), "the count is reset by reading it"
    assert bus.stats()["dropped"] == 76


def test_whoever_has_most_in_a_full_queue_loses_first(bus: MemoryBus):
    subscription = bus.subscribe("t", capacity=4)
    for number, who in enumerate("abbbbacac"):
        bus.publish(message(payload=b"%d" % number, principal=who))
    kept = [(one.principal, one.payload) for one in drain(subscription)]
    assert kept == [("b", b"4"), ("c", b"6"), ("a", b"7"), ("c", b"8")]
    assert bus.stats()["dropped"] == 5


def test_newest_message_stays_even_if_its_principal_has_most():
    bus = MemoryBus(max_queue_bytes=10)
    subscription = bus.subscribe("t")
    for number in range(3):
        bus.publish(message(payload=b"%d" % number, principal="a"))
    bus.publish(message(payload=b"x" * 8, principal="b"))
    assert [len(one.payload) for one in drain(subscription)] == [1, 1, 8]
    bus.publish(message(principal="a"))
    bus.publish(message(payload=b"x" * 99, principal="b"))
    assert [len(one.payload) for one in drain(subscription)] == [99]
    assert bus.stats()["queued_bytes"] == 0


def test_random_floods_keep_the_books_right():
    chance = random.Random(7)  # noqa: S311 - a seed, so that failures repeat
    bus, budget = MemoryBus(max_queue_bytes=300), QueueBudget(500)
    queues = [bus.subscribe("t", capacity=8, budget=budget) for _ in range(3)]
    received = 0
    for _ in range(5000):
        if chance.random() < 0.3:
            batch = chance.choice(queues).take(max_bytes=chance.randrange(100))
            received += len(batch.messages)
            continue
        who = chance.choice(("a", "b", "c", None))
        bus.publish(message(payload=b"x" * chance.randrange(60), principal=who))
        assert budget.used == bus.stats()["queued_bytes"]
        assert all(queue.held_locked()[0] <= 8 and queue.is_ready() for queue in queues)
    received += sum(len(drain(queue)) for queue in queues)
    stats = bus.stats()
    assert (budget.used, stats["queued_bytes"]) == (0, 0)
    assert stats["delivered"] == received + stats["dropped"]
    assert all(queue._queue._shares == {} for queue in queues)


def test_queue_is_bounded_in_bytes_too():
    bus = MemoryBus(max_queue_bytes=100)
    subscription = bus.subscribe("t")
    for size in (50, 50, 40):
        bus.publish(message(payload=b"x" * size))
    assert bus.stats()["queued_bytes"] == 90
    batch = subscription.take(max_bytes=MIB)
    assert batch.lagged == 1
    assert [m.seq for m in batch.messages] == [2, 3]
    bus.publish(message(payload=b"x" * 500))
    (kept,) = subscription.take(max_bytes=1).messages
    assert len(kept.payload) == 500, "a single message above the bound is kept"
    assert bus.stats()["queued_bytes"] == 0


def test_capacity_is_chosen_per_subscription(bus: MemoryBus):
    small, large = bus.subscribe("t", capacity=2), bus.subscribe("t")
    for _ in range(5):
        bus.publish(message())
    assert [m.seq for m in drain(small)] == [4, 5]
    assert len(drain(large)) == 5


def test_capacity_below_one_refused(bus: MemoryBus):
    with pytest.raises(LocalProtocolError) as caught:
        bus.subscribe("t", capacity=0)
    assert caught.value.code == "bus.capacity"


def test_waiting_ends_when_a_message_arrives(bus: MemoryBus):
    subscription = bus.subscribe("t")
    assert not wait_any((subscription,), timeout_s=0)
    waiting = threading.Event()
    results: list[bool] = []

    def wait() -> None:
        waiting.set()
        results.append(wait_any((subscription, CancelToken()), timeout_s=30))

    thread = threading.Thread(target=wait)
    thread.start()
    assert waiting.wait(10)
    bus.publish(message("other"))
    bus.publish(message())
    thread.join(10)
    assert results == [True]
    assert not subscription.waiters, "the waiter stays behind"


def test_waiter_added_to_a_ready_subscription_is_set_at_once(bus: MemoryBus):
    subscription = bus.subscribe("t")
    bus.publish(message())
    event = threading.Event()
    subscription.add_waiter(event)
    assert event.is_set()
    subscription.remove_waiter(event)
    subscription.remove_waiter(event)


def test_closing_wakes_waiters_and_empties_the_queue(bus: MemoryBus):
    subscription = bus.subscribe("t")
    event = threading.Event()
    subscription.add_waiter(event)
    bus.publish(message())
    event.clear()
    subscription.close()
    assert event.is_set()
    assert not subscription.is_ready()
    bus.publish(message())
    assert subscription.take(max_bytes=MIB) == ((), 0)
    subscription.close()
    late = threading.Event()
    subscription.add_waiter(late)
    assert late.is_set(), "nobody may wait for a closed subscription"
    assert bus.stats()["subscriptions"] == 0
    assert bus.stats()["queued_bytes"] == 0


def test_readers_wake_after_the_listeners_ran(bus: MemoryBus):
    subscription = bus.subscribe("t")
    event = threading.Event()
    subscription.add_waiter(event)
    woken_before: list[bool] = []
    bus.add_listener("t", lambda _: woken_before.append(event.is_set()))
    bus.publish(message())
    assert woken_before == [False]
    assert event.is_set()


def test_listeners_run_in_the_publisher_s_thread_in_order_of_addition(bus: MemoryBus):
    calls: list[tuple[str, int, int]] = []
    bus.add_listener("a.*", lambda e: calls.append(("one", e.seq, threading.get_ident())))
    remove = bus.add_listener("**", lambda e: calls.append(("two", e.seq, threading.get_ident())))
    bus.add_listener("a.b", lambda e: calls.append(("three", e.seq, threading.get_ident())))
    bus.publish(message("a.b"))
    me = threading.get_ident()
    assert calls == [("one", 1, me), ("two", 1, me), ("three", 1, me)]
    remove()
    remove()
    bus.publish(message("a.b"))
    assert [name for name, seq, _ in calls if seq == 2] == ["one", "three"]


def test_listener_may_use_the_bus(bus: MemoryBus):
    subscription = bus.subscribe("reply")
    bus.add_listener("ask", lambda _: bus.subscribe("x").close() or bus.publish(message("reply")))
    assert bus.publish(message("ask")).seq == 1
    assert [m.seq for m in drain(subscription)] == [2]


def test_failing_listener_harms_nobody(bus: MemoryBus):
    heard: list[int] = []

    def broken(envelope: Envelope) -> None:
        raise ValueError(envelope.topic)

    bus.add_listener("t", broken)
    bus.add_listener("t", lambda envelope: heard.append(envelope.seq))
    subscription = bus.subscribe("t")
    bus.publish(message())
    assert heard == [1]
    assert len(drain(subscription)) == 1
    assert bus.stats()["listener_errors"] == 1


def test_closed_bus_delivers_to_nobody(bus: MemoryBus):
    subscription = bus.subscribe("**")
    heard: list[Envelope] = []
    remove = bus.add_listener("**", heard.append)
    bus.close()
    bus.close()
    remove()
    assert bus.publish(message()).seq == 1
    assert not subscription.is_ready()
    assert heard == []
    for refused in (lambda: bus.subscribe("t"), lambda: bus.add_listener("t", heard.append)):
        with pytest.raises(LocalProtocolError) as caught:
            refused()
        assert caught.value.code == "bus.closed"


def test_stats_count_deliveries(bus: MemoryBus):
    bus.subscribe("t", capacity=1)
    bus.subscribe("**")
    bus.add_listener("t", lambda _: None)
    for topic in ("t", "t", "u"):
        bus.publish(message(topic, b"12"))
    assert bus.stats() == {
        "published": 3,
        "delivered": 5,
        "dropped": 1,
        "listener_errors": 0,
        "subscriptions": 2,
        "listeners": 1,
        "queued_messages": 4,
        "queued_bytes": 8,
    }


def test_concurrent_publishers_and_readers_lose_and_repeat_nothing(bus: MemoryBus):
    publishers, readers, each = 8, 8, 400
    total = publishers * each
    start = threading.Barrier(publishers + readers)
    own_seqs: list[list[int]] = [[] for _ in range(publishers)]
    received: list[list[Envelope]] = [[] for _ in range(readers)]
    heard: Counter[int] = Counter()
    heard_lock = threading.Lock()

    def listen(envelope: Envelope) -> None:
        with heard_lock:
            heard[envelope.seq] += 1

    bus.add_listener("load.*", listen)
    subscriptions = [bus.subscribe("load.*", capacity=total) for _ in range(readers)]

    def publish(number: int) -> None:
        start.wait()
        for n in range(each):
            own_seqs[number].append(bus.publish(message(f"load.p{number}", b"%d" % n)).seq)

    def read(number: int) -> None:
        start.wait()
        while len(received[number]) < total and wait_any((subscriptions[number],), timeout_s=30):
            received[number].extend(subscriptions[number].take(max_bytes=100).messages)

    threads = [threading.Thread(target=publish, args=(n,)) for n in range(publishers)]
    threads += [threading.Thread(target=read, args=(n,)) for n in range(readers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert heard == Counter(range(1, total + 1))
    for got in received:
        assert [m.seq for m in got] == list(range(1, total + 1))
    for number, seqs in enumerate(own_seqs):
        assert seqs == [m.seq for m in received[0] if m.topic == f"load.p{number}"]
        order = [int(m.payload) for m in received[0] if m.topic == f"load.p{number}"]
        assert order == list(range(each)), "a publisher's messages are out of order"


def test_readers_sharing_a_subscription_get_each_message_once(bus: MemoryBus):
    total = 2000
    subscription = bus.subscribe("t", capacity=total)
    taken: list[int] = []
    lock = threading.Lock()
    done = threading.Event()

    def read() -> None:
        while not (done.is_set() and not subscription.is_ready()):
            wait_any((subscription,), timeout_s=0.05)
            seqs = [m.seq for m in subscription.take(max_bytes=7).messages]
            with lock:
                taken.extend(seqs)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(total):
        bus.publish(message())
    done.set()
    for thread in threads:
        thread.join(30)
    assert sorted(taken) == list(range(1, total + 1))


def test_subscribing_while_others_publish_keeps_each_queue_gapless(bus: MemoryBus):
    stop = threading.Event()
    gaps: list[list[int]] = []

    def churn() -> None:
        while not stop.is_set():
            subscription = bus.subscribe("t", capacity=4096)
            for _ in range(3):
                wait_any((subscription,), timeout_s=0.05)
            seqs = [m.seq for m in drain(subscription)]
            subscription.close()
            if seqs and seqs != list(range(seqs[0], seqs[0] + len(seqs))):
                gaps.append(seqs)

    threads = [threading.Thread(target=churn) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3000):
        bus.publish(message())
    stop.set()
    for thread in threads:
        thread.join(30)
    assert not gaps
    assert bus.stats()["subscriptions"] == 0
