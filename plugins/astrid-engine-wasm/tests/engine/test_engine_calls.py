from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from astrid_engine_wasm import capsule as engine_capsule
from astrid_engine_wasm import lifecycle
from astrid_engine_wasm.slots import InstancePool, Slot, SlotTable
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.engines import Call, GuestResult
from astrid_hookspecs.errors import (
    EngineError,
    GuestCancelledError,
    GuestTimeoutError,
    GuestTrapError,
    UnsupportedActionError,
)
from astrid_hookspecs.values import Principal

MakeCall = Callable[..., Call]


def in_thread(action: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    outcome: list[object] = []

    def main() -> None:
        try:
            outcome.append(action())
        except EngineError as error:
            outcome.append(error)

    thread = threading.Thread(target=main)
    thread.start()
    return thread, outcome


def test_138_principals_do_not_share_memory(bench: Any, host: Any, make_call: MakeCall) -> None:
    capsule = bench.load("acts.wat", host)
    secret = "alice's secret".ljust(64, ".")
    capsule.invoke("put", secret.encode(), make_call("alice"))
    assert capsule.invoke("read", b"", make_call("bob")).data == "\0" * 64
    assert capsule.invoke("read", b"", make_call("alice")).data == secret
    assert [i.principal for i in host.instances] == ["alice", "bob"]
    assert capsule.stats()["instances"] == 2


def test_fresh_state_keeps_nothing_between_calls(
    bench: Any, host: Any, make_call: MakeCall
) -> None:
    capsule = bench.load("acts.wat", host, state="fresh")
    capsule.invoke("put", b"x" * 64, make_call())
    assert host.open_count == 0
    assert capsule.invoke("read", b"", make_call()).data == "\0" * 64
    with pytest.raises(GuestTrapError):
        capsule.invoke("trap", b"", make_call())
    assert host.open_count == 0
    assert [i.events for i in host.instances] == [["enter", "leave", "close"]] * 3


def test_118_capsule_without_hook_answers_an_error_that_ends_the_search(
    bench: Any, make_call: MakeCall
) -> None:
    capsule = bench.load("prompt.wat")
    with pytest.raises(EngineError) as caught:
        capsule.invoke("x", b"", make_call())
    assert caught.value.code == "engine.no-hook"
    assert not isinstance(caught.value, UnsupportedActionError)


def test_117_run_loop_lets_the_next_engine_answer(bench: Any, make_call: MakeCall) -> None:
    capsule = bench.load("run_recv.wat")
    with pytest.raises(UnsupportedActionError):
        capsule.invoke("x", b"", make_call())


@pytest.mark.slow
def test_busy_principal_does_not_delay_others_and_waits_for_itself(
    bench: Any, host: Any, make_call: MakeCall
) -> None:
    capsule = bench.load("acts.wat", host)
    capsule.invoke("echo", b"", make_call("bob"))
    host.entered.clear()
    busy, outcome = in_thread(lambda: capsule.invoke("loop", b"", make_call(timeout_s=1.5)))
    assert host.entered.wait(5.0)
    began = time.monotonic()
    assert capsule.invoke("echo", b"x", make_call("bob")).data == "x"
    assert time.monotonic() - began < 1
    assert capsule.invoke("echo", b"x", make_call("alice")).data == "x"
    assert time.monotonic() - began > 1, "calls of one instance are serialised"
    busy.join()
    assert isinstance(outcome[0], GuestTimeoutError)


def test_call_that_waits_for_its_turn_can_be_cancelled(
    bench: Any, host: Any, make_call: MakeCall
) -> None:
    capsule = bench.load("acts.wat", host)
    stop, token = CancelToken(), CancelToken()
    busy, _ = in_thread(lambda: capsule.invoke("loop", b"", make_call(cancel=stop)))
    assert host.entered.wait(5.0)
    waiting, outcome = in_thread(lambda: capsule.invoke("echo", b"", make_call(cancel=token)))
    token.fire()
    waiting.join(5.0)
    assert isinstance(outcome[0], GuestCancelledError)
    stop.fire()
    busy.join()


@pytest.mark.slow
def test_daemon_calls_have_no_deadline(bench: Any, host: Any, make_call: MakeCall) -> None:
    capsule = bench.load("acts.wat", host, is_daemon=True)
    token = CancelToken()
    busy, outcome = in_thread(
        lambda: capsule.invoke("loop", b"", make_call(timeout_s=0.01, cancel=token))
    )
    busy.join(0.4)
    assert busy.is_alive()
    token.fire()
    busy.join(5.0)
    assert isinstance(outcome[0], GuestCancelledError)


def test_unload_stops_running_calls_after_the_grace_period(
    bench: Any, host: Any, make_call: MakeCall
) -> None:
    capsule = bench.load("acts.wat", host)
    capsule.invoke("echo", b"", make_call("idle"))
    host.entered.clear()
    busy, outcome = in_thread(lambda: capsule.invoke("loop", b"", make_call("busy")))
    assert host.entered.wait(5.0)
    began = time.monotonic()
    capsule.unload(grace_s=0.2)
    assert 0.2 <= time.monotonic() - began < 4
    busy.join()
    assert isinstance(outcome[0], GuestCancelledError)
    assert host.open_count == 0
    assert capsule.stats()["instances"] == 0
    with pytest.raises(UnsupportedActionError):
        capsule.invoke("echo", b"", make_call())
    capsule.unload(grace_s=0.2)


def test_unload_wakes_host_calls_within_the_grace_period(
    bench: Any, host: Any, make_call: MakeCall
) -> None:
    capsule = bench.load("acts.wat", host)
    busy, outcome = in_thread(lambda: capsule.invoke("sleep", b"", make_call()))
    assert host.entered.wait(5.0)
    began = time.monotonic()
    capsule.unload(grace_s=5.0)
    assert time.monotonic() - began < 4
    busy.join()
    assert isinstance(outcome[0], GuestResult)


def stick_in_sleep(host: Any) -> tuple[threading.Event, threading.Event]:
    """Make `sleep-ns` a host call that only the test ends; what says that it is in, what ends it.

    That the host was entered is too early to know: the guest has code to run before the call.
    """
    stuck, released = threading.Event(), threading.Event()

    def sleep(_duration_ns: int) -> None:
        stuck.set()
        released.wait(10.0)

    host.handlers["astrid:sys/host#sleep-ns"] = sleep
    return stuck, released


def test_an_unload_that_a_host_call_holds_up_leaves_nothing_else_open(
    bench: Any, host: Any, make_call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_capsule, "FORCE_TIMEOUT_S", 0.05)
    stuck, released = stick_in_sleep(host)
    capsule = bench.load("acts.wat", host)
    capsule.invoke("echo", b"", make_call("idle"))
    busy, _ = in_thread(lambda: capsule.invoke("sleep", b"", make_call("busy")))
    assert stuck.wait(5.0)
    with pytest.raises(EngineError, match="does not come back"):
        capsule.unload(grace_s=0.0)
    assert host.open_count == 1  # the one that is stuck
    released.set()
    busy.join()
    assert host.open_count == 0


def test_evict_drops_an_idle_instance_now_and_a_busy_one_when_its_call_ends(
    bench: Any, host: Any, make_call: MakeCall
) -> None:
    capsule = bench.load("acts.wat", host)
    capsule.invoke("put", b"x" * 64, make_call())
    capsule.evict(Principal("alice"))
    capsule.evict(Principal("nobody"))
    assert host.open_count == 0
    assert capsule.invoke("read", b"", make_call()).data == "\0" * 64
    stuck, released = stick_in_sleep(host)
    busy, _ = in_thread(lambda: capsule.invoke("sleep", b"", make_call()))
    assert stuck.wait(5.0)
    capsule.evict(Principal("alice"))
    assert host.open_count == 1
    released.set()
    busy.join()
    assert host.open_count == 0
    assert capsule.stats()["evictions"] == 2


def test_slot_that_is_evicted_between_lookup_and_lock_is_not_used(
    bench: Any, make_call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    capsule = bench.load("acts.wat")
    get = capsule._slots.get
    lookups: list[Slot] = []

    def get_and_lose(principal: Principal) -> Slot:
        slot: Slot = get(principal)
        if not lookups:
            capsule.evict(principal)
        lookups.append(slot)
        return slot

    monkeypatch.setattr(capsule._slots, "get", get_and_lose)
    assert capsule.invoke("echo", b"x", make_call()).data == "x"
    assert len(lookups) == 2
    capsule.evict(Principal("alice"))
    assert capsule.stats()["instances"] == 0, "an instance in a dead slot would be out of reach"


def test_least_recently_used_instance_of_a_capsule_goes_first(
    bench: Any, host: Any, make_call: MakeCall
) -> None:
    capsule = bench.load("acts.wat", host)
    capsule._slots = SlotTable(InstancePool(), limit=2)
    for name in ("a", "b", "a", "c"):
        capsule.invoke("echo", b"", make_call(name))
    assert [i.principal for i in host.instances if "close" not in i.events] == ["a", "c"]


def test_engine_wide_limit_evicts_from_other_capsules(
    bench: Any, make_call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.engine, "_pool", InstancePool(limit=3))
    first, second = bench.load("acts.wat"), bench.load("acts.wat")
    for name in ("a", "b"):
        first.invoke("echo", b"", make_call(name))
        second.invoke("echo", b"", make_call(name))
    assert (first.stats()["instances"], second.stats()["instances"]) == (1, 2)
    assert first.stats()["evictions"] == 1
    first.unload(grace_s=0.0)
    second.unload(grace_s=0.0)
    assert len(bench.engine._pool) == 0


def test_lifecycle_runs_in_a_temporary_instance(bench: Any, host: Any, make_call: MakeCall) -> None:
    capsule = bench.load("kit.wat", host)
    assert capsule.lifecycle("astrid-install", make_call("installer"))
    assert [(i.principal, i.purpose) for i in host.instances] == [("installer", "lifecycle")]
    assert host.instances[0].events == ["enter", "leave", "close"]
    with pytest.raises(GuestTrapError):
        capsule.lifecycle("astrid-upgrade", make_call())
    assert host.open_count == 0


def test_absent_or_stub_lifecycle_export_is_not_there(
    bench: Any, host: Any, make_call: MakeCall
) -> None:
    assert not bench.load("acts.wat", host).lifecycle("astrid-install", make_call())
    stub = """(component
      (core module $m (func $none) (export "run" (func $none))
        (export "astrid-install" (func $none)) (export "astrid-upgrade" (func $none)))
      (core instance $i (instantiate $m))
      (func $f (canon lift (core func $i "run")))
      (export "run" (func $f))
      (func $g (canon lift (core func $i "astrid-install")))
      (export "astrid-install" (func $g)))"""
    capsule = bench.load(stub, host)
    assert not capsule.is_run_loop()
    assert not capsule.lifecycle("astrid-install", make_call())
    assert host.instances == []


def test_lifecycle_has_its_own_limits(
    bench: Any, make_call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "TIMEOUT_S", 0.2)
    capsule = bench.load("prompt.wat")
    began = time.monotonic()
    with pytest.raises(GuestTimeoutError):
        capsule.lifecycle("astrid-upgrade", make_call(timeout_s=60.0))
    assert time.monotonic() - began < 4


@pytest.mark.slow
def test_time_in_prompts_does_not_count(
    bench: Any, host: Any, make_call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "TIMEOUT_S", 0.5)
    never = threading.Event()

    def think(_key: str) -> bool:
        return never.wait(0.6)

    host.handlers["astrid:elicit/host#has-secret"] = think
    capsule = bench.load("prompt.wat", host)
    assert capsule.lifecycle("astrid-install", make_call())
