"""Bounded queues per (capsule, principal)."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from loguru import logger

from astrid_core.kernel.mailboxes import Bounds, Mailboxes, MailboxKey
from astrid_core.kernel.worker_pool import Job, WorkerPool
from astrid_hookspecs.values import CapsuleId, Principal

WAIT_S = 20.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def key(capsule: str = "c", principal: str = "alice") -> MailboxKey:
    return MailboxKey(CapsuleId(capsule), Principal(principal))


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(size=4, idle_s=WAIT_S)
    yield pool
    assert pool.close(timeout_s=WAIT_S)


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(str(line)), level="WARNING", format="{message}")
    yield lines
    logger.remove(sink)


class Handler:
    """Records items; holds up each one whose text starts with `hold` until released."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.entered = threading.Semaphore(0)
        self.release = threading.Event()

    def __call__(self, item: str) -> None:
        if item.startswith("hold"):
            self.entered.release()
            assert self.release.wait(WAIT_S)
        if item.startswith("fail"):
            raise ValueError(item)
        self.seen.append(item)


def hold(boxes: Mailboxes[str], handler: Handler, at: MailboxKey) -> None:
    assert boxes.offer(at, f"hold {at}", size_bytes=1)
    assert handler.entered.acquire(timeout=WAIT_S)


def test_busy_queue_takes_256_items_and_refuses_the_newest(pool: WorkerPool, warnings: list[str]):
    """Guest vector 145."""
    handler = Handler()
    boxes = Mailboxes(pool, handle=handler)
    hold(boxes, handler, key())
    accepted = [boxes.offer(key(), str(n), size_bytes=1) for n in range(257)]
    assert accepted == [True] * 256 + [False]
    assert boxes.stats()["queued"] == 256
    assert sum("is full" in line for line in warnings) == 1
    assert not boxes.offer(key(), "again", size_bytes=1)
    assert sum("is full" in line for line in warnings) == 1, "one warning per flood is enough"
    assert boxes.offer(key("other"), "x", size_bytes=1), "another capsule's queue is full too"
    assert boxes.offer(key(principal="bob"), "x", size_bytes=1), "another principal's queue too"
    handler.release.set()
    assert boxes.wait_quiet(timeout_s=WAIT_S)


def test_items_of_a_queue_keep_their_order(pool: WorkerPool):
    seen: list[int] = []
    done = threading.Event()

    def handle(item: int) -> None:
        seen.append(item)
        if item == 199:
            done.set()

    boxes = Mailboxes(pool, handle=handle)
    for number in range(200):
        assert boxes.offer(key(), number, size_bytes=0)
    assert done.wait(WAIT_S)
    assert seen == list(range(200))


def test_queues_run_beside_each_other(pool: WorkerPool):
    handler = Handler()
    boxes = Mailboxes(pool, handle=handler)
    hold(boxes, handler, key("slow"))
    hold(boxes, handler, key("slow", "bob"))
    hold(boxes, handler, key("other"))
    assert boxes.stats()["running"] == 3
    handler.release.set()
    assert boxes.wait_quiet(timeout_s=WAIT_S)


def test_failure_costs_only_its_own_item(pool: WorkerPool):
    handler = Handler()
    boxes = Mailboxes(pool, handle=handler)
    hold(boxes, handler, key())
    assert boxes.offer(key(), "fail", size_bytes=1)
    hold_next = "hold next"
    assert boxes.offer(key(), hold_next, size_bytes=1)
    handler.release.set()
    assert handler.entered.acquire(timeout=WAIT_S)
    assert boxes.wait_quiet(timeout_s=WAIT_S)
    assert handler.seen[-1] == hold_next


def test_queue_is_bounded_in_bytes(pool: WorkerPool):
    handler = Handler()
    boxes = Mailboxes(pool, handle=handler, bounds=Bounds(queue_bytes=100))
    hold(boxes, handler, key())
    assert boxes.offer(key(), "large", size_bytes=500), "an empty queue takes a single large item"
    assert not boxes.offer(key(), "more", size_bytes=1)
    assert boxes.stats()["queued_bytes"] == 500
    handler.release.set()
    assert boxes.wait_quiet(timeout_s=WAIT_S)


def test_principal_is_bounded_over_all_queues(pool: WorkerPool):
    handler = Handler()
    boxes = Mailboxes(pool, handle=handler, bounds=Bounds(principal_bytes=100))
    for capsule in ("a", "b"):
        hold(boxes, handler, key(capsule))
    assert boxes.offer(key("a"), "x", size_bytes=60)
    assert not boxes.offer(key("b"), "y", size_bytes=60)
    assert boxes.offer(key("b"), "z", size_bytes=40)
    hold(boxes, handler, key("b", "bob"))
    assert boxes.offer(key("b", "bob"), "x", size_bytes=100), "one principal starved another"
    handler.release.set()
    assert boxes.wait_quiet(timeout_s=WAIT_S)


def test_bytes_are_given_back(pool: WorkerPool):
    done = threading.Semaphore(0)
    boxes: Mailboxes[int] = Mailboxes(pool, handle=lambda _: done.release())
    for number in range(50):
        assert boxes.offer(key(), number, size_bytes=1000)
    for _ in range(50):
        assert done.acquire(timeout=WAIT_S)
    assert boxes.wait_quiet(timeout_s=WAIT_S)
    assert boxes.stats() == {"queues": 1, "queued": 0, "queued_bytes": 0, "running": 0}
    assert not boxes._held


def test_idle_queues_are_forgotten_after_a_minute(pool: WorkerPool):
    clock, handler = Clock(), Handler()
    boxes = Mailboxes(pool, handle=handler, clock=clock)
    assert boxes.offer(key("idle"), "x", size_bytes=1)
    hold(boxes, handler, key("busy"))
    assert boxes.wait_quiet(timeout_s=0) is False
    while "x" not in handler.seen:
        threading.Event().wait(0.001)
    clock.now += 59
    assert boxes.offer(key("busy"), "y", size_bytes=1)
    assert boxes.stats()["queues"] == 2
    clock.now += 2
    assert boxes.offer(key("busy"), "z", size_bytes=1)
    assert boxes.stats()["queues"] == 1, "the busy queue alone stays"
    handler.release.set()
    assert boxes.wait_quiet(timeout_s=WAIT_S)


def test_number_of_queues_is_bounded(pool: WorkerPool):
    clock, handler = Clock(), Handler()
    boxes = Mailboxes(pool, handle=handler, bounds=Bounds(queues=2), clock=clock)
    hold(boxes, handler, key("a"))
    hold(boxes, handler, key("b"))
    assert not boxes.offer(key("c"), "x", size_bytes=1)
    assert boxes.offer(key("a"), "known", size_bytes=1), "a queue that exists goes on"
    clock.now += 2
    assert not boxes.offer(key("c"), "x", size_bytes=1), "busy queues were forgotten"
    handler.release.set()
    assert boxes.wait_quiet(timeout_s=WAIT_S)
    while boxes.stats()["queued"] or any(box.is_submitted for box in boxes._boxes.values()):
        threading.Event().wait(0.001)
    clock.now += 0.5
    assert not boxes.offer(key("c"), "x", size_bytes=1), "every event of a flood sweeps"
    clock.now += 1
    assert boxes.offer(key("c"), "x", size_bytes=1), "idle queues make no room"
    assert boxes.stats()["queues"] <= 2


def test_stopping_gives_back_what_waits_and_accepts_nothing(pool: WorkerPool):
    handler = Handler()
    boxes = Mailboxes(pool, handle=handler)
    hold(boxes, handler, key())
    for item in ("a", "b"):
        assert boxes.offer(key(), item, size_bytes=1)
    assert boxes.stop() == ["a", "b"]
    assert boxes.stop() == []
    assert not boxes.offer(key(), "c", size_bytes=1)
    assert not boxes.wait_quiet(timeout_s=0)
    handler.release.set()
    assert boxes.wait_quiet(timeout_s=WAIT_S)
    assert len(handler.seen) == 1


def test_queue_stopped_before_its_turn_handles_nothing():
    pool = WorkerPool(size=1, idle_s=WAIT_S)
    handler = Handler()
    boxes = Mailboxes(pool, handle=handler)
    hold(boxes, handler, key("first"))
    assert boxes.offer(key("second"), "x", size_bytes=1)
    assert boxes.stop() == ["x"]
    handler.release.set()
    assert boxes.wait_quiet(timeout_s=WAIT_S)
    while any(box.is_submitted for box in boxes._boxes.values()):
        threading.Event().wait(0.001)
    assert pool.close(timeout_s=WAIT_S)
    assert handler.seen == [f"hold {key('first')}"]


def test_closed_pool_refuses_without_keeping():
    pool = WorkerPool(size=1)
    pool.close(timeout_s=0)
    boxes: Mailboxes[str] = Mailboxes(pool, handle=lambda _: None)
    for _ in range(2):
        assert not boxes.offer(key(), "x", size_bytes=7)
    assert boxes.stats()["queued"] == 0
    assert boxes.stats()["queued_bytes"] == 0
    assert boxes.stop() == []


def test_item_is_given_back_once_when_stopping_overtakes_a_closed_pool():
    given_back: list[str] = []

    class ClosingPool(WorkerPool):
        def submit(self, job: Job, *, principal: Principal | None = None) -> bool:
            given_back.extend(boxes.stop())
            self.close(timeout_s=0)
            return super().submit(job, principal=principal)

    boxes: Mailboxes[str] = Mailboxes(ClosingPool(size=1), handle=lambda _: None)
    accepted = boxes.offer(key(), "x", size_bytes=1)
    assert accepted, "the caller would report the item a second time"
    assert given_back == ["x"]


def test_a_capsule_that_blocks_for_many_principals_leaves_threads_to_the_others():
    pool = WorkerPool(size=2, max_threads=6, idle_s=WAIT_S)
    release, entered, others = threading.Event(), threading.Semaphore(0), threading.Event()

    def handle(item: str) -> None:
        if item == "other":
            others.set()
            return
        entered.release()
        with pool.blocked():
            assert release.wait(WAIT_S)

    boxes: Mailboxes[str] = Mailboxes(pool, handle=handle, bounds=Bounds(capsule_threads=3))
    for number in range(20):
        assert boxes.offer(key("greedy", f"p{number}"), "block", size_bytes=1)
    for _ in range(3):
        assert entered.acquire(timeout=WAIT_S)
    assert boxes.offer(key("modest"), "other", size_bytes=1)
    assert others.wait(WAIT_S), "the greedy capsule has every thread"
    assert boxes.stats()["running"] == 3
    release.set()
    for _ in range(17):
        assert entered.acquire(timeout=WAIT_S), "a queue that had to wait was forgotten"
    assert boxes.wait_quiet(timeout_s=WAIT_S)
    assert pool.close(timeout_s=WAIT_S)
    assert boxes._shares == {}


def test_queues_of_a_capsule_that_share_a_thread_take_turns(pool: WorkerPool):
    handler = Handler()
    boxes = Mailboxes(pool, handle=handler, bounds=Bounds(capsule_threads=1))
    hold(boxes, handler, key(principal="a"))
    for number in range(3):
        for principal in ("a", "b"):
            assert boxes.offer(key(principal=principal), f"{principal}{number}", size_bytes=1)
    handler.release.set()
    done = threading.Event()
    for _ in range(1000):
        if len(handler.seen) == 7:
            break
        done.wait(0.005)
    assert handler.seen == ["hold " + str(key(principal="a")), "b0", "a0", "b1", "a1", "b2", "a2"]


def test_stop_forgets_the_queues_that_wait_for_a_turn(pool: WorkerPool):
    handler = Handler()
    boxes = Mailboxes(pool, handle=handler, bounds=Bounds(capsule_threads=1))
    hold(boxes, handler, key(principal="a"))
    assert boxes.offer(key(principal="b"), "never", size_bytes=1)
    assert boxes.stop() == ["never"]
    handler.release.set()
    assert boxes.wait_quiet(timeout_s=WAIT_S)
    assert pool.close(timeout_s=WAIT_S)
    assert "never" not in handler.seen
    assert boxes._shares == {}
