"""The dispatcher with a real bus and pool: order, bounds, notices, descriptions, stopping."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator

import pytest

from astrid_core.builtin.memory_bus import MemoryBus, MemorySubscription
from astrid_core.domain.hook_result import Effect
from astrid_core.domain.topic import LAG_TOPIC
from astrid_core.kernel.chain import ChainEnd, ChainReport
from astrid_core.kernel.dispatcher import Dispatcher
from astrid_core.kernel.mailboxes import Bounds
from astrid_core.kernel.worker_pool import WorkerPool
from astrid_hookspecs.buses import Attribution, Envelope
from astrid_hookspecs.cancel import CancelToken, wait_any
from astrid_hookspecs.engines import MIB, GuestResult, InterceptorBinding
from astrid_hookspecs.errors import EngineError, GuestTrapError
from astrid_hookspecs.values import CapsuleId, Principal

WAIT_S = 20.0
A, B, C = CapsuleId("a"), CapsuleId("b"), CapsuleId("c")
SOURCE = "6f1c0d9e-1111-4222-8333-944445555666"
CONTINUE = GuestResult("continue", None)
Handler = Callable[[str, bytes, Envelope, CancelToken | None], GuestResult]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Capsule:
    def __init__(self, handler: Handler, source_id: str) -> None:
        self._handler = handler
        self.source_id = source_id

    def invoke(
        self, action: str, payload: bytes, envelope: Envelope, *, cancel: CancelToken | None
    ) -> GuestResult:
        return self._handler(action, payload, envelope, cancel)


class Directory:
    """Ready capsules by id."""

    def __init__(self) -> None:
        self.ready: dict[CapsuleId, Capsule] = {}

    def lookup(self, capsule_id: CapsuleId) -> Capsule | None:
        return self.ready.get(capsule_id)


class World:
    """A dispatcher with everything around it."""

    def __init__(self, *, size: int = 4, bounds: Bounds | None = None) -> None:
        self.bus = MemoryBus()
        self.pool = WorkerPool(size=size, idle_s=WAIT_S)
        self.directory = Directory()
        self.clock = Clock()
        self.dispatcher = Dispatcher(
            self.bus,
            pool=self.pool,
            directory=self.directory,
            bounds=bounds,
            clock=self.clock,
            wall_ns=lambda: 1_770_109_811_120_000_000,
        )
        self.dispatcher.start()

    def add(self, capsule_id: CapsuleId, *bindings: tuple[str, str, int], handler: Handler) -> None:
        self.directory.ready[capsule_id] = Capsule(handler, SOURCE)
        self.dispatcher.set_bindings(
            capsule_id, [InterceptorBinding(*binding) for binding in bindings]
        )

    def run(
        self, envelope: Envelope, *, skip: Collection[tuple[CapsuleId, str]] = ()
    ) -> ChainReport:
        """Publish and wait for the end of the chain."""
        reports: list[ChainReport] = []
        done = threading.Event()
        matches = self.dispatcher.publish(
            envelope, skip=skip, on_done=lambda report: (reports.append(report), done.set())
        )
        assert matches > 0
        assert done.wait(WAIT_S)
        return reports[0]


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    assert world.dispatcher.close(timeout_s=WAIT_S)
    assert world.pool.close(timeout_s=WAIT_S)


def event(
    topic: str = "t.v1", payload: bytes = b"{}", *, principal: str | None = "alice", depth: int = 0
) -> Envelope:
    return Envelope(
        topic,
        payload,
        principal=Principal(principal) if principal else None,
        attribution=Attribution.VERIFIED if principal else Attribution.SYSTEM,
        depth=depth,
    )


def receive(subscription: MemorySubscription) -> Envelope:
    assert wait_any((subscription,), timeout_s=WAIT_S)
    return subscription.take(max_bytes=1).messages[0]


def answering(log: list[str], name: str, result: GuestResult = CONTINUE) -> Handler:
    def handler(action: str, payload: bytes, _: Envelope, __: CancelToken | None) -> GuestResult:
        log.append(f"{name}.{action}:{payload.decode()}")
        return result

    return handler


class Holding:
    """A handler that says when it is entered and goes on when it is released."""

    def __init__(self, result: GuestResult = CONTINUE) -> None:
        self.entered = threading.Semaphore(0)
        self.release = threading.Event()
        self.calls: list[bytes] = []
        self._result = result

    def __call__(
        self, _: str, payload: bytes, __: Envelope, ___: CancelToken | None
    ) -> GuestResult:
        self.calls.append(payload)
        self.entered.release()
        assert self.release.wait(WAIT_S)
        return self._result


def test_event_reaches_the_bound_interceptor_exactly_once(world: World):
    calls: list[tuple[str, bytes, Envelope]] = []
    done = threading.Semaphore(0)

    def handler(action: str, payload: bytes, envelope: Envelope, _: object) -> GuestResult:
        calls.append((action, payload, envelope))
        done.release()
        return CONTINUE

    world.add(A, ("user.v1.*", "on_user", 100), handler=handler)
    world.dispatcher.start()  # a second start must not listen twice
    sent = world.bus.publish(event("user.v1.prompt", b'{"x":1}'))
    assert done.acquire(timeout=WAIT_S)
    assert world.dispatcher.close(timeout_s=WAIT_S)
    assert calls == [("on_user", b'{"x":1}', sent)]


def test_binding_covers_one_level(world: World):
    log: list[str] = []
    world.add(A, ("a.*", "x", 100), handler=answering(log, "a"))
    assert world.dispatcher.dispatch(event("a.b.c")) == 0
    assert world.dispatcher.dispatch(event("a")) == 0
    assert world.dispatcher.dispatch(event("a.b")) == 1


def test_nothing_bound_costs_no_queue(world: World):
    world.bus.publish(event())
    assert world.dispatcher.stats()["queues"] == 0
    assert world.dispatcher.stats()["dispatched"] == 0


def test_chain_order_is_priority_capsule_declaration(world: World):
    log: list[str] = []
    world.add(B, ("t.v1", "one", 100), ("t.*", "two", 100), handler=answering(log, "b"))
    world.add(A, ("t.v1", "late", 200), ("*.v1", "same", 100), handler=answering(log, "a"))
    world.add(C, ("t.v1", "first", 5), handler=answering(log, "c"))
    report = world.run(event(payload=b"1"))
    assert log == ["c.first:1", "a.same:1", "b.one:1", "b.two:1", "a.late:1"]
    assert report.end is ChainEnd.COMPLETED
    assert (report.members[0].capsule, report.members[0].action) == (C, "first")


def test_chain_over_capsules_passes_data_and_stops_at_denial(world: World):
    """Vector 79."""
    log: list[str] = []
    world.add(A, ("t.v1", "h1", 10), handler=answering(log, "a", GuestResult("continue", "X")))
    world.add(B, ("t.v1", "h2", 20), handler=answering(log, "b"))
    world.add(C, ("t.v1", "h3", 30), handler=answering(log, "c", GuestResult("deny", None)))
    world.add(CapsuleId("d"), ("t.v1", "h4", 40), handler=answering(log, "d"))
    report = world.run(event(payload=b"1"))
    assert log == ["a.h1:1", "b.h2:X", "c.h3:X"]
    assert report.end is ChainEnd.DENIED
    assert report.last is not None
    assert report.last.reason == "denied by interceptor"
    assert world.dispatcher.stats()["denied"] == 1


def test_caller_learns_of_a_trap(world: World):
    def traps(*_: object) -> GuestResult:
        raise GuestTrapError("unreachable")

    world.add(A, ("t.v1", "x", 100), handler=traps)
    report = world.run(event())
    assert report.end is ChainEnd.COMPLETED
    assert isinstance(report.first_error, GuestTrapError)


def test_denial_does_not_hide_the_event_from_subscribers(world: World):
    subscription = world.bus.subscribe("t.v1")
    world.add(A, ("t.v1", "x", 100), handler=answering([], "a", GuestResult("deny", "no")))
    assert world.run(event(payload=b"7")).end is ChainEnd.DENIED
    assert receive(subscription).payload == b"7"


def test_named_handlers_are_skipped_and_their_capsule_is_not(world: World):
    log: list[str] = []
    world.add(A, ("t.v1", "x", 100), ("t.*", "guard", 1), handler=answering(log, A))
    world.add(B, ("t.v1", "x", 100), handler=answering(log, B))
    assert len(world.run(event(payload=b"1"), skip={(A, "x")}).members) == 2
    assert log == ["a.guard:1", "b.x:1"]
    world.dispatcher.remove_bindings(A)
    assert world.dispatcher.publish(event(), skip={(B, "x")}) == 0


def test_direct_dispatch_is_invisible_to_subscribers(world: World):
    """Vector 20: life-cycle events reach interceptors only."""
    log: list[str] = []
    done = threading.Event()
    subscription = world.bus.subscribe("**")
    world.add(A, ("astrid.v1.lifecycle.*", "x", 100), handler=answering(log, "a"))
    matches = world.dispatcher.dispatch(
        event("astrid.v1.lifecycle.kernel_started", b"{}", principal=None),
        on_done=lambda _: done.set(),
    )
    assert matches == 1
    assert done.wait(WAIT_S)
    assert log == ["a.x:{}"]
    assert not subscription.is_ready()


def test_ticket_is_not_given_to_an_event_that_a_listener_publishes(world: World):
    bus = MemoryBus()
    bus.add_listener("outer", lambda _: bus.publish(event("inner")) and None)
    directory = Directory()
    log: list[str] = []
    directory.ready[A] = Capsule(answering(log, "a"), SOURCE)
    dispatcher = Dispatcher(bus, pool=world.pool, directory=directory)
    dispatcher.set_bindings(
        A, [InterceptorBinding("outer", "outer"), InterceptorBinding("inner", "inner")]
    )
    dispatcher.start()
    reports: list[ChainReport] = []
    done = threading.Event()
    matches = dispatcher.publish(
        event("outer"), on_done=lambda report: (reports.append(report), done.set())
    )
    assert matches == 1
    assert done.wait(WAIT_S)
    assert dispatcher.close(timeout_s=WAIT_S)
    assert [m.action for m in reports[0].members] == ["outer"]
    assert sorted(log) == ["a.inner:{}", "a.outer:{}"]


def test_later_publishes_of_the_thread_carry_no_ticket(world: World):
    calls: list[ChainEnd] = []
    log: list[str] = []
    world.add(A, ("t.v1", "x", 100), handler=answering(log, "a"))
    done = threading.Event()
    world.dispatcher.publish(event(), on_done=lambda r: (calls.append(r.end), done.set()))
    assert done.wait(WAIT_S)
    world.bus.publish(event())
    assert world.dispatcher.close(timeout_s=WAIT_S)
    assert calls == [ChainEnd.COMPLETED]


def test_ticket_of_an_event_that_nobody_dispatched_is_forgotten(world: World):
    directory = Directory()
    directory.ready[A] = Capsule(answering([], "a"), SOURCE)
    dispatcher = Dispatcher(world.bus, pool=world.pool, directory=directory)
    dispatcher.set_bindings(A, [InterceptorBinding("t.v1", "x")])
    ends: list[ChainEnd] = []
    assert dispatcher.publish(event(), on_done=lambda r: ends.append(r.end)) == 0
    dispatcher.start()
    world.bus.publish(event())
    assert dispatcher.close(timeout_s=WAIT_S)
    assert dispatcher.stats()["dispatched"] == 1
    assert ends == []


def test_failing_caller_harms_no_later_event(world: World):
    log: list[str] = []
    world.add(A, ("t.v1", "x", 100), handler=answering(log, "a"))

    def broken(report: ChainReport) -> None:
        raise ValueError(report)

    world.dispatcher.publish(event(payload=b"1"), on_done=broken)
    world.run(event(payload=b"2"))
    assert log == ["a.x:1", "a.x:2"]


def test_restarted_capsule_is_looked_up_for_each_event(world: World):
    """C-05: what waits in the queue goes to the capsule as it is then."""
    old = Holding()
    log: list[str] = []
    world.add(A, ("t.v1", "x", 100), handler=old)
    world.bus.publish(event(payload=b"1"))
    assert old.entered.acquire(timeout=WAIT_S)
    done = threading.Event()
    world.dispatcher.publish(event(payload=b"2"), on_done=lambda _: done.set())
    world.directory.ready[A] = Capsule(answering(log, "new"), SOURCE)
    old.release.set()
    assert done.wait(WAIT_S)
    assert old.calls == [b"1"]
    assert log == ["new.x:2"]


def test_capsule_that_stopped_being_ready_is_skipped(world: World):
    world.add(A, ("t.v1", "x", 100), handler=answering([], "a"))
    del world.directory.ready[A]
    report = world.run(event())
    assert report.first_error is not None
    assert report.members[0].outcome is None


def test_bindings_are_replaced_and_removed(world: World):
    log: list[str] = []
    world.add(A, ("t.v1", "old", 100), handler=answering(log, "a"))
    world.add(A, ("t.v1", "new", 100), handler=answering(log, "a"))
    world.run(event(payload=b"1"))
    assert log == ["a.new:1"]
    world.dispatcher.remove_bindings(A)
    world.dispatcher.remove_bindings(A)
    assert world.dispatcher.publish(event()) == 0
    assert world.dispatcher.stats()["bindings"] == 0


def test_full_queue_drops_the_newest_and_says_so(world: World):
    """Guest vector 145, C-27."""
    notices = world.bus.subscribe(LAG_TOPIC)
    held = Holding()
    world.add(A, ("t.v1", "x", 100), handler=held)
    world.bus.publish(event())
    assert held.entered.acquire(timeout=WAIT_S)
    for _ in range(256):
        world.bus.publish(event())
    ends: list[ChainEnd] = []
    assert world.dispatcher.publish(event(), on_done=lambda r: ends.append(r.end)) == 1
    assert ends == [ChainEnd.DROPPED], "the caller is told before publish returns"
    assert world.dispatcher.stats()["dropped"] == 1
    world.bus.publish(event("unrelated"))
    notice = receive(notices)
    assert json.loads(notice.payload) == {"lagged_count": 1}
    assert notice.principal is None
    assert notice.timestamp == "2026-02-03T09:10:11.120Z"

    for _ in range(3):
        world.bus.publish(event())
    world.clock.now += 9
    world.bus.publish(event("unrelated"))
    assert not notices.is_ready(), "a second notice within ten seconds"
    world.clock.now += 2
    world.bus.publish(event("unrelated"))
    assert json.loads(receive(notices).payload) == {"lagged_count": 3}, "counts were forgotten"
    held.release.set()


def test_event_too_deep_is_not_dispatched(world: World):
    log: list[str] = []
    world.add(A, ("t.v1", "x", 100), handler=answering(log, "a"))
    assert world.dispatcher.dispatch(event(depth=9)) == 0
    assert world.dispatcher.dispatch(event(depth=8, payload=b"8")) == 1
    assert world.dispatcher.close(timeout_s=WAIT_S)
    assert "a.x:{}" not in log
    assert world.dispatcher.stats()["too_deep"] == 1


def test_events_of_a_principal_do_not_overtake_each_other(world: World):
    """C-04: also where one event has a chain and the next a single interceptor."""
    order: list[bytes] = []
    lock = threading.Lock()
    slow = Holding()

    def first(_: str, payload: bytes, *__: object) -> GuestResult:
        with lock:
            order.append(payload)
        return CONTINUE

    world.add(A, ("chain.v1", "x", 10), ("single.v1", "x", 10), handler=first)
    world.add(B, ("chain.v1", "x", 20), handler=slow)
    world.bus.publish(event("chain.v1", b"1"))
    assert slow.entered.acquire(timeout=WAIT_S)
    world.bus.publish(event("single.v1", b"2"))
    done = threading.Event()
    world.dispatcher.publish(
        event("single.v1", b"3", principal="bob"), on_done=lambda _: done.set()
    )
    assert done.wait(WAIT_S), "another principal waits for a chain that is not its own"
    assert order == [b"1", b"3"], "an event overtook the chain in front of it"
    slow.release.set()
    assert world.run(event("single.v1", b"4")).end is ChainEnd.COMPLETED
    assert order == [b"1", b"3", b"2", b"4"]


def test_event_without_principal_shares_the_owner_s_queue(world: World):
    held = Holding()
    world.add(A, ("t.v1", "x", 100), handler=held)
    world.bus.publish(event(principal=None))
    assert held.entered.acquire(timeout=WAIT_S)
    world.bus.publish(event(principal="default"))
    assert world.dispatcher.stats()["queues"] == 1
    held.release.set()


def test_interceptor_may_publish_and_bind(world: World):
    subscription = world.bus.subscribe("reply.v1")

    def handler(_: str, payload: bytes, envelope: Envelope, __: object) -> GuestResult:
        world.dispatcher.set_bindings(B, [])
        world.bus.publish(event("reply.v1", payload, depth=envelope.depth + 1))
        return CONTINUE

    world.add(A, ("t.v1", "x", 100), handler=handler)
    world.run(event(payload=b"5"))
    assert receive(subscription).depth == 1


def test_pending_chain_is_cancelled_by_its_token(world: World):
    held = Holding()
    world.add(A, ("t.v1", "x", 100), handler=held)
    world.bus.publish(event(payload=b"1"))
    assert held.entered.acquire(timeout=WAIT_S)
    cancel, done = CancelToken(), threading.Event()
    ends: list[ChainEnd] = []
    world.dispatcher.publish(
        event(payload=b"2"), cancel=cancel, on_done=lambda r: (ends.append(r.end), done.set())
    )
    cancel.fire()
    held.release.set()
    assert done.wait(WAIT_S)
    assert ends == [ChainEnd.CANCELLED]
    assert held.calls == [b"1"]


def test_token_reaches_the_call(world: World):
    tokens: list[CancelToken | None] = []

    def handler(_: str, __: bytes, ___: Envelope, cancel: CancelToken | None) -> GuestResult:
        tokens.append(cancel)
        return CONTINUE

    world.add(A, ("t.v1", "x", 100), handler=handler)
    done, cancel = threading.Event(), CancelToken()
    world.dispatcher.dispatch(event(), cancel=cancel, on_done=lambda _: done.set())
    assert done.wait(WAIT_S)
    assert tokens == [cancel]


def test_stopping_gives_up_what_waits_and_leaves_what_runs():
    world = World(size=1)
    held = Holding()
    world.add(A, ("t.v1", "x", 100), handler=held)
    running, waiting = [], []
    running_done = threading.Event()
    world.dispatcher.publish(
        event(payload=b"1"), on_done=lambda r: (running.append(r.end), running_done.set())
    )
    assert held.entered.acquire(timeout=WAIT_S)
    world.dispatcher.publish(event(payload=b"2"), on_done=lambda r: waiting.append(r.end))
    assert not world.dispatcher.close(timeout_s=0)
    assert waiting == [ChainEnd.CANCELLED]
    assert running == []
    late: list[ChainEnd] = []
    assert world.dispatcher.publish(event(), on_done=lambda r: late.append(r.end)) == 0
    world.dispatcher.dispatch(event(), on_done=lambda r: late.append(r.end))
    assert late == [ChainEnd.DROPPED], "a caller after the end is left waiting"
    held.release.set()
    assert world.dispatcher.close(timeout_s=WAIT_S)
    assert running_done.wait(WAIT_S)
    assert running == [ChainEnd.COMPLETED]
    assert held.calls == [b"1"]
    assert world.pool.close(timeout_s=WAIT_S)


DESCRIPTION = '{"tools":[{"name":"note_find","description":"d","input_schema":{}}]}'
REPLY_TOPIC = f"tool.v1.response.describe.{SOURCE}"


@pytest.mark.parametrize(
    ("request_payload", "reply"),
    [
        pytest.param(b"{}", json.loads(DESCRIPTION), id="plain"),
        pytest.param(
            b'{"correlation_id":"q-1"}',
            {**json.loads(DESCRIPTION), "correlation_id": "q-1"},
            id="correlated",
        ),
        pytest.param(b'{"correlation_id":7}', json.loads(DESCRIPTION), id="not-text"),
        pytest.param(b"[]", json.loads(DESCRIPTION), id="not-an-object"),
        pytest.param(b"", json.loads(DESCRIPTION), id="not-json"),
    ],
)
def test_description_is_published_for_the_capsule(
    world: World, request_payload: bytes, reply: object
):
    subscription = world.bus.subscribe("tool.v1.response.describe.*")
    world.add(
        A,
        ("tool.v1.request.describe", "tool_describe", 100),
        handler=answering([], "a", GuestResult("continue", DESCRIPTION)),
    )
    world.bus.publish(event("tool.v1.request.describe", request_payload, depth=2))
    published = receive(subscription)
    assert published.topic == REPLY_TOPIC
    assert json.loads(published.payload) == reply
    assert published.source_id == SOURCE
    assert published.principal == "alice"
    assert published.attribution is Attribution.VERIFIED
    assert published.depth == 3
    assert published.kind == "custom"


def test_claimed_request_gets_a_claimed_reply(world: World):
    subscription = world.bus.subscribe("tool.v1.response.describe.*")
    world.add(
        A,
        ("tool.v1.request.describe", "tool_describe", 100),
        handler=answering([], "a", GuestResult("continue", DESCRIPTION)),
    )
    world.bus.publish(
        Envelope(
            "tool.v1.request.describe",
            b"{}",
            principal=Principal("alice"),
            attribution=Attribution.CLAIMED,
        )
    )
    assert receive(subscription).attribution is Attribution.CLAIMED


@pytest.mark.parametrize(
    ("action", "result", "depth"),
    [
        pytest.param("tool_describe", CONTINUE, 0, id="no-data"),
        pytest.param("tool_describe", GuestResult("final", DESCRIPTION), 0, id="final"),
        pytest.param("tool_describe", GuestResult("deny", DESCRIPTION), 0, id="deny"),
        pytest.param("tool_describe", GuestResult("continue", "{oops"), 0, id="not-json"),
        pytest.param("tool_describe", GuestResult("continue", DESCRIPTION), 8, id="too-deep"),
        pytest.param("other", GuestResult("continue", DESCRIPTION), 0, id="other-action"),
    ],
)
def test_nothing_is_published_for_other_answers(
    world: World, action: str, result: GuestResult, depth: int
):
    subscription = world.bus.subscribe("tool.v1.response.describe.*")
    world.add(A, ("tool.v1.request.describe", action, 100), handler=answering([], "a", result))
    report = world.run(event("tool.v1.request.describe", depth=depth))
    assert report.first_error is None
    assert not subscription.is_ready()


def test_a_description_larger_than_a_message_is_an_error(world: World):
    subscription = world.bus.subscribe("tool.v1.response.describe.*")
    too_long = GuestResult("continue", f'"{"x" * MIB}"')
    world.add(
        A, ("tool.v1.request.describe", "tool_describe", 100), handler=answering([], "a", too_long)
    )
    error = world.run(event("tool.v1.request.describe")).first_error
    assert isinstance(error, EngineError)
    assert error.code == "engine.answer-too-large"
    assert not subscription.is_ready()


def test_each_member_of_a_describe_chain_is_published(world: World):
    subscription = world.bus.subscribe("tool.v1.response.describe.*")
    for capsule_id in (A, B):
        world.add(
            capsule_id,
            ("tool.v1.request.describe", "tool_describe", 100),
            handler=answering([], capsule_id, GuestResult("continue", f'{{"of":"{capsule_id}"}}')),
        )
    report = world.run(event("tool.v1.request.describe"))
    assert [m.outcome and m.outcome.effect for m in report.members] == [Effect.CONTINUE] * 2
    assert [json.loads(receive(subscription).payload)["of"] for _ in range(2)] == ["a", "b"]


class Load:
    """Handlers that record what they get, and whether two of one place ever run together."""

    def __init__(self, pool: WorkerPool) -> None:
        self.seen: defaultdict[tuple[str, str | None], list[int]] = defaultdict(list)
        self.overlaps: list[tuple[str, str | None]] = []
        self.left = threading.Semaphore(0)
        self._pool = pool
        self._busy: set[tuple[str, str | None]] = set()
        self._lock = threading.Lock()

    def handler(
        self, action: str, payload: bytes, envelope: Envelope, _: CancelToken | None
    ) -> GuestResult:
        place = (action, envelope.principal)
        with self._lock:
            if place in self._busy:
                self.overlaps.append(place)
            self._busy.add(place)
            self.seen[place].append(int(payload))
        with self._pool.blocked():
            pass
        with self._lock:
            self._busy.discard(place)
        self.left.release()
        return CONTINUE


def test_load_of_principals_and_capsules_keeps_order_and_loses_nothing():
    each, principals, capsules = 60, 6, (A, B, C)
    total = each * principals * len(capsules)
    world = World(size=3, bounds=Bounds(items=each))
    load = Load(world.pool)
    for capsule_id in capsules:
        world.add(capsule_id, (f"load.{capsule_id}", capsule_id, 100), handler=load.handler)
    start = threading.Barrier(principals)

    def publish(number: int) -> None:
        start.wait(WAIT_S)
        for n in range(each):
            for capsule_id in capsules:
                world.bus.publish(event(f"load.{capsule_id}", b"%d" % n, principal=f"p{number}"))

    threads = [threading.Thread(target=publish, args=(n,)) for n in range(principals)]
    for thread in threads:
        thread.start()
    for _ in range(total):
        assert load.left.acquire(timeout=WAIT_S)
    for thread in threads:
        thread.join(WAIT_S)
    assert list(load.seen.values()) == [list(range(each))] * (principals * len(capsules))
    assert not load.overlaps
    assert world.dispatcher.close(timeout_s=WAIT_S)
    stats = world.dispatcher.stats()
    assert stats["completed"] == stats["dispatched"] == total
    assert (stats["dropped"], stats["queued"], stats["queued_bytes"]) == (0, 0, 0)
    assert world.pool.close(timeout_s=WAIT_S)
