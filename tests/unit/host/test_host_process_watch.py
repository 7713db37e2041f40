"""`watch` and `unwatch` of `astrid:process@1.0.0`: what the bus says about a process, to whom."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from astrid_core.host.instance import Instance
from astrid_core.kernel.processes import watching
from astrid_core.kernel.processes.table import ProcessTable
from astrid_hookspecs.buses import Attribution, BusSubscription, Envelope
from astrid_hookspecs.cancel import wait_any
from astrid_hookspecs.engines import Caller
from astrid_hookspecs.values import NIL_SOURCE, Principal
from tests.unit.host.conftest import World
from tests.unit.host.test_host_process import SH, opened, processes, run
from tests.unit.host.test_host_process_persistent import kept

__all__ = ["opened", "processes", "run"]
Open = Callable[..., Instance]
Run = Callable[..., tuple[str, Any]]
EVENTS = "astrid.process.v1.*"
QUIET_S = 0.2


def heard(events: BusSubscription, *, within_s: float = 5.0) -> list[Envelope]:
    if not events.is_ready():
        wait_any((events,), timeout_s=within_s)
    return list(events.take(max_bytes=10**6).messages)


def only(events: BusSubscription, **options: float) -> tuple[str, Any]:
    (event,) = heard(events, **options)
    return event.topic.removeprefix("astrid.process.v1."), json.loads(event.payload)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "EVENT_S", 0.05)


def test_an_end_is_told_once_for_the_principal_that_watches(
    opened: Open, run: Run, world: World
) -> None:
    events = world.bus.subscribe(EVENTS)
    instance = opened(*SH, persistent=True)
    name = kept(run, instance, "sh", "-c", "read x; exit 3", keep=True)
    assert run(instance, "watch", name, "build-1") == ("ok", None)
    assert heard(events, within_s=QUIET_S) == []
    instance.close()
    run(opened(*SH, persistent=True), "close-stdin", name)
    (event,) = heard(events)
    assert event.topic == "astrid.process.v1.exited.build-1"
    assert json.loads(event.payload) == {"id": name, "exit": {"exit_code": 3, "signal": None}}
    assert (event.principal, event.attribution) == ("alice", Attribution.VERIFIED)
    assert (event.source_id, event.depth) == (NIL_SOURCE, 0)
    assert heard(events, within_s=QUIET_S) == []


def test_an_end_before_the_watch_is_told_at_once(opened: Open, run: Run, world: World) -> None:
    events = world.bus.subscribe(EVENTS)
    instance = opened(*SH, persistent=True)
    name = kept(run, instance, "sleep", "60")
    run(instance, "signal", name, "term")
    run(instance, "wait", name, 5000)
    run(instance, "watch", name, None)
    ended = {"exit_code": None, "signal": signal.SIGTERM}
    assert only(events) == (f"exited.{name}", {"id": name, "exit": ended})
    run(instance, "watch", name, None)
    assert heard(events, within_s=QUIET_S) == []  # at most once a second, however often it asks


@pytest.mark.slow
def test_output_is_told_at_most_once_in_a_while(opened: Open, run: Run, world: World) -> None:
    events = world.bus.subscribe(EVENTS)
    instance = opened(*SH, persistent=True)
    name = kept(run, instance, "sh", "-c", "while :; do echo x; sleep 0.01; done")
    run(instance, "watch", name, "noisy")
    assert only(events) == ("log-ready.noisy", {"id": name})
    run(instance, "unwatch", name)
    run(instance, "watch", name, "noisy")
    assert heard(events, within_s=QUIET_S) == []
    assert only(events, within_s=2.0) == ("log-ready.noisy", {"id": name})


@pytest.mark.usefixtures("fast")
@pytest.mark.slow
def test_silence_is_told_by_nothing(opened: Open, run: Run, world: World) -> None:
    events = world.bus.subscribe(EVENTS)
    instance = opened(*SH, persistent=True)
    name = kept(run, instance, "cat", keep=True)
    run(instance, "watch", name, None)
    for _ in range(2):
        assert heard(events, within_s=QUIET_S) == []
        run(instance, "write-stdin", name, b"x")
        assert only(events)[0] == f"log-ready.{name}"


def test_watching_again_replaces_the_watch(opened: Open, run: Run, world: World) -> None:
    events = world.bus.subscribe(EVENTS)
    instance = opened(*SH, persistent=True)
    name = kept(run, instance, "cat", keep=True)
    for suffix in ("first", "second"):
        run(instance, "watch", name, suffix)
    run(instance, "close-stdin", name)
    assert only(events)[0] == "exited.second"
    assert heard(events, within_s=QUIET_S) == []


@pytest.mark.parametrize("end", ["unwatch", "stop", "unload"])
def test_nothing_is_told_after_the_watch(
    opened: Open, run: Run, world: World, processes: ProcessTable, end: str
) -> None:
    events = world.bus.subscribe(EVENTS)
    instance = opened(*SH, persistent=True)
    name = kept(run, instance, "sleep", "60")
    run(instance, "watch", name, None)
    assert run(instance, "unwatch", name) == ("ok", None)
    if end == "unwatch":
        assert run(instance, "unwatch", name) == ("ok", None)
        run(instance, "signal", name, "term")
    else:
        run(instance, "watch", name, None)
        if end == "unload":
            processes.end_unloaded(lambda _load: False)
        else:
            found = processes.find(instance.context.id, instance.principal, name)
            assert found is not None
            processes.release(found)
            processes.watch(found, lambda *_: pytest.fail("it is forgotten"))
    assert heard(events, within_s=QUIET_S) == []


@pytest.mark.parametrize("suffix", ["", "a.b", "*", "a b", "x" * 250])
def test_a_watch_denied_when_its_suffix_is_no_segment(opened: Open, run: Run, suffix: str) -> None:
    instance = opened(*SH, persistent=True)
    name = kept(run, instance, "sleep", "60")
    assert run(instance, "watch", name, suffix)[0] == "invalid-input"


def test_a_claim_stays_a_claim(opened: Open, run: Run, world: World) -> None:
    events = world.bus.subscribe(EVENTS)
    claimed = Caller(Principal("alice"), Attribution.CLAIMED, "", "")
    instance = opened(*SH, persistent=True, caller=claimed)
    run(instance, "watch", kept(run, instance, "true"), "x")
    assert heard(events)[-1].attribution is Attribution.CLAIMED


def test_only_capsules_of_the_principal_that_may_subscribe_hear_it(
    opened: Open, run: Run, world: World, call: Callable[..., tuple[str, Any]]
) -> None:
    pattern, ipc = "astrid.process.v1.exited.*", "astrid:ipc/host@1.0.0"
    outcomes = {}
    for principal in ("alice", "bob"):
        listener = world.open(principal=principal, subscribe=(pattern,))
        case, outcomes[principal] = call(listener, "subscribe", pattern, interface=ipc)
        assert case == "ok"
    stranger = world.open(subscribe=("other.v1.*",))
    assert call(stranger, "subscribe", pattern, interface=ipc)[0] == "capability-denied"
    instance = opened(*SH, persistent=True)
    proof = world.bus.subscribe(EVENTS)
    run(instance, "watch", kept(run, instance, "true"), "x")
    heard(proof)
    assert [one.topic for one in outcomes["alice"].take().messages] == [
        "astrid.process.v1.exited.x"
    ]
    assert outcomes["bob"].take().messages == ()


@pytest.mark.usefixtures("fast")
def test_a_bus_that_hangs_or_fails_holds_no_process_up(
    opened: Open, run: Run, processes: ProcessTable
) -> None:
    instance = opened(*SH, persistent=True)
    names = [kept(run, instance, "cat", keep=True) for _ in range(2)]
    one, two = (processes.find(instance.context.id, instance.principal, name) for name in names)
    assert one is not None
    assert two is not None
    hangs, goes_on, told = threading.Event(), threading.Event(), threading.Event()

    def stuck(*_: object) -> None:
        hangs.set()
        goes_on.wait(5)
        raise RuntimeError("the bus is broken")

    processes.watch(one, stuck)
    processes.watch(two, lambda *_: told.set())
    run(instance, "close-stdin", names[0])
    assert hangs.wait(5)
    began = time.monotonic()
    assert run(instance, "stop", names[0], None)[0] == "ok"  # served while the bus hangs
    run(instance, "close-stdin", names[1])
    assert run(instance, "wait", names[1], 3000) == ("ok", (0, None))
    assert time.monotonic() - began < 3
    goes_on.set()
    assert told.wait(5)
