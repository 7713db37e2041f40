from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from astrid_engine_wasm import run_loop
from astrid_hookspecs.engines import Call, GuestResult, InterceptorBinding, Readiness
from astrid_hookspecs.errors import ComponentError, EngineError, UnsupportedActionError

MakeCall = Callable[..., Call]


def join_run_threads() -> None:
    """What a run loop does last it does after it was found ready or ended."""
    for thread in threading.enumerate():
        if thread.name.startswith("astrid-run-"):
            thread.join(5.0)


def run_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("astrid-run-")]


def test_run_loop_signals_readiness_and_answers_no_calls(
    bench: Any, host: Any, make_call: MakeCall
) -> None:
    capsule = bench.load("run_recv.wat", host)
    assert capsule.is_run_loop()
    assert capsule.wait_ready(timeout_s=0.0) is Readiness.TIMEOUT
    capsule.start(make_call("owner"))
    capsule.start(make_call("owner"))
    assert capsule.wait_ready(timeout_s=5.0) is Readiness.READY
    assert [(i.principal, i.purpose) for i in host.instances] == [("owner", "run")]
    with pytest.raises(UnsupportedActionError):
        capsule.invoke("echo", b"", make_call())
    assert capsule.health().ok
    assert capsule.stats()["instances"] == 1
    capsule.unload(grace_s=5.0)
    assert run_threads() == []
    assert host.open_count == 0
    assert not capsule.health().ok


def test_unload_stops_a_guest_that_waits_in_recv_without_force(
    bench: Any, host: Any, make_call: MakeCall
) -> None:
    capsule = bench.load("run_recv.wat", host)
    capsule.start(make_call())
    assert capsule.wait_ready(timeout_s=5.0) is Readiness.READY
    began = time.monotonic()
    capsule.unload(grace_s=5.0)
    assert time.monotonic() - began < 4
    assert capsule.stats()["cancelled"] == 0, "it came back by itself"


@pytest.mark.parametrize("guest", ["run_spin.wat", "run_silent.wat"])
@pytest.mark.slow
def test_unload_stops_a_guest_that_computes_forever(
    bench: Any, host: Any, make_call: MakeCall, guest: str
) -> None:
    capsule = bench.load(guest, host)
    capsule.start(make_call(timeout_s=0.01))
    expected = Readiness.READY if guest == "run_spin.wat" else Readiness.TIMEOUT
    assert capsule.wait_ready(timeout_s=0.3) is expected
    assert capsule.health().ok, "the time limit of calls is not that of run loops"
    began = time.monotonic()
    capsule.unload(grace_s=0.2)
    assert 0.2 <= time.monotonic() - began < 4
    assert run_threads() == []
    assert host.instances[0].events == ["enter", "leave", "close"]


def test_unload_after_a_trap_finds_nothing_to_stop(
    bench: Any, host: Any, make_call: MakeCall
) -> None:
    capsule = bench.load("run_trap.wat", host)
    capsule.start(make_call())
    assert capsule.wait_ready(timeout_s=5.0) is Readiness.CRASHED
    health = capsule.health()
    assert not health.ok
    assert health.reason.startswith("run loop exited")
    assert capsule.is_run_loop(), "the supervisor decides about a restart"
    assert capsule.stats()["traps"] == 1
    capsule.unload(grace_s=0.0)
    assert host.open_count == 0
    assert run_threads() == []


def test_142_run_that_returns_at_once_makes_the_capsule_call_driven(
    bench: Any, host: Any, make_call: MakeCall
) -> None:
    capsule = bench.load("kit.wat", host)
    assert capsule.is_run_loop()
    capsule.start(make_call("owner"))
    assert capsule.wait_ready(timeout_s=5.0) is Readiness.READY
    assert not capsule.is_run_loop()
    assert capsule.health().ok
    assert capsule.invoke("anything", b"", make_call()) == GuestResult("continue", None)
    assert [i.purpose for i in host.instances] == ["run", "call"]
    join_run_threads()
    assert host.instances[0].events[-1] == "close"
    assert capsule.wait_ready(timeout_s=0.0) is Readiness.READY


def test_run_that_returns_later_is_a_run_loop_that_exited(
    bench: Any, make_call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_loop, "EARLY_RETURN_S", 0.0)
    capsule = bench.load("kit.wat")
    capsule.start(make_call())
    assert capsule.wait_ready(timeout_s=5.0) is Readiness.CRASHED
    assert capsule.health() == (False, "run loop exited")
    with pytest.raises(UnsupportedActionError):
        capsule.invoke("anything", b"", make_call())


def test_130_run_loop_that_returns_after_its_signal_is_unhealthy(
    bench: Any, host: Any, make_call: MakeCall
) -> None:
    capsule = bench.load("run_recv.wat", host)
    capsule.start(make_call())
    assert capsule.wait_ready(timeout_s=5.0) is Readiness.READY
    host.instances[0].cancel.fire()
    capsule._run_loop.join(timeout_s=5.0)
    assert capsule.wait_ready(timeout_s=0.0) is Readiness.READY, "it was ready once"
    assert not capsule.health().ok
    assert capsule.is_run_loop()


def test_manifest_forces_the_class(bench: Any, host: Any, make_call: MakeCall) -> None:
    capsule = bench.load("kit.wat", host, run_class="call")
    assert not capsule.is_run_loop()
    capsule.start(make_call())
    assert host.instances == []
    assert capsule.wait_ready(timeout_s=0.0) is Readiness.READY
    assert capsule.invoke("anything", b"", make_call()).action == "continue"
    forced = bench.load("kit.wat", host, run_class="run")
    assert forced.is_run_loop()


def test_forced_run_loop_needs_the_export(bench: Any) -> None:
    with pytest.raises(ComponentError, match="does not export run"):
        bench.load("acts.wat", run_class="run")


@pytest.mark.parametrize(
    ("guest", "run_class", "is_refused"),
    [("kit.wat", "auto", True), ("acts.wat", "auto", False), ("kit.wat", "call", False)],
    ids=["121-run-loop", "121-plain", "121-forced"],
)
def test_65_handlers(bench: Any, guest: str, run_class: str, *, is_refused: bool) -> None:
    bindings = tuple(InterceptorBinding(f"a.b{n}", "act") for n in range(65))
    if not is_refused:
        bench.load(guest, bindings=bindings, run_class=run_class)
        return
    with pytest.raises(ComponentError, match="at most 64"):
        bench.load(guest, bindings=bindings, run_class=run_class)
    bench.load(guest, bindings=bindings[:64])


def test_start_during_or_after_unload_is_refused(bench: Any, make_call: MakeCall) -> None:
    capsule = bench.load("run_spin.wat")
    capsule.unload(grace_s=0.0)
    with pytest.raises(EngineError):
        capsule.start(make_call())
    assert run_threads() == []


def test_failure_of_the_kernel_does_not_leave_a_half_started_loop(
    bench: Any, host: Any, make_call: MakeCall
) -> None:
    def broken(_principal: str, *, purpose: str) -> None:
        raise RuntimeError(purpose)

    capsule = bench.load("run_spin.wat", host)
    host.open_instance = broken
    with pytest.raises(RuntimeError):
        capsule.start(make_call())
    capsule.unload(grace_s=0.0)
    assert run_threads() == []
