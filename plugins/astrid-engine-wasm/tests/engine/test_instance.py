from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from astrid_engine_wasm import instance as instance_module
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.engines import Call, GuestResult, HostTrap
from astrid_hookspecs.errors import (
    DeniedError,
    GuestCancelledError,
    GuestLimitError,
    GuestTimeoutError,
    GuestTrapError,
)

MakeCall = Callable[..., Call]


def later(delay_s: float, action: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(delay_s, action)
    timer.start()
    return timer


def test_echo(bench: Any, host: Any, make_call: MakeCall) -> None:
    capsule = bench.load("acts.wat", host)
    assert capsule.invoke("echo", b'{"a":1}', make_call()) == GuestResult("continue", '{"a":1}')
    assert capsule.invoke("echo", b"", make_call()) == GuestResult("continue", None)
    assert host.instances[0].events == ["enter", "leave"] * 2


@pytest.mark.parametrize("timeout_s", [0.05, 0.31, 1.0], ids=["50ms", "310ms", "135"])
def test_endless_loop_is_stopped_at_its_deadline(
    bench: Any, host: Any, make_call: MakeCall, timeout_s: float
) -> None:
    capsule = bench.load("acts.wat", host)
    capsule.invoke("echo", b"", make_call())
    began = time.monotonic()
    with pytest.raises(GuestTimeoutError):
        capsule.invoke("loop", b"", make_call(timeout_s=timeout_s))
    elapsed = time.monotonic() - began
    assert timeout_s <= elapsed < timeout_s + 0.3
    assert host.instances[0].events[-2:] == ["leave", "close"]
    assert capsule.invoke("echo", b"x", make_call()) == GuestResult("continue", "x")
    assert len(host.instances) == 2


def test_call_without_any_time_does_not_enter_the_guest(
    bench: Any, host: Any, make_call: MakeCall
) -> None:
    capsule = bench.load("acts.wat", host)
    with pytest.raises(GuestTimeoutError):
        capsule.invoke("trap", b"", make_call(timeout_s=0.0))
    assert capsule.invoke("echo", b"x", make_call()).data == "x"
    assert host.open_count == 1


def test_trap_gives_a_clean_message_and_a_fresh_instance(
    bench: Any, host: Any, make_call: MakeCall
) -> None:
    capsule = bench.load("acts.wat", host)
    with pytest.raises(GuestTrapError) as caught:
        capsule.invoke("trap", b"", make_call())
    assert "unreachable" in caught.value.message
    assert "\n" not in caught.value.message
    assert "0x" not in caught.value.message
    assert caught.value.hint is not None
    assert host.instances[0].events == ["enter", "leave", "close"]
    assert capsule.invoke("echo", b"x", make_call()).data == "x"
    assert capsule.stats()["traps"] == 1


def test_deep_recursion_traps_without_hurting_the_host(bench: Any, make_call: MakeCall) -> None:
    capsule = bench.load("acts.wat")
    with pytest.raises(GuestTrapError, match="call stack exhausted"):
        capsule.invoke("deep", b"", make_call())
    assert capsule.invoke("echo", b"x", make_call()).data == "x"


def test_memory_bomb_hits_the_limit(bench: Any, make_call: MakeCall) -> None:
    capsule = bench.load("acts.wat")
    with pytest.raises(GuestLimitError) as caught:
        capsule.invoke("bomb", b"", make_call(memory_mib=8))
    assert "8 MiB" in str(caught.value.hint)
    assert capsule.invoke("echo", b"x", make_call()).data == "x"
    assert capsule.stats()["limits"] == 1


@pytest.mark.parametrize(("mib", "pages"), [(4, 64), (64, 1024)], ids=["4MiB", "136"])
def test_growth_beyond_the_limit_fails_in_the_guest_only(
    bench: Any, make_call: MakeCall, mib: int, pages: int
) -> None:
    capsule = bench.load("acts.wat")
    assert capsule.invoke("grow", b"", make_call(memory_mib=mib)).data == "p" * pages


def test_memory_limit_is_that_of_each_call(bench: Any, make_call: MakeCall) -> None:
    capsule = bench.load("acts.wat")
    assert len(capsule.invoke("grow", b"", make_call(memory_mib=4)).data) == 64
    assert len(capsule.invoke("grow", b"", make_call(memory_mib=8)).data) == 128
    assert len(capsule.invoke("grow", b"", make_call(memory_mib=4)).data) == 128


def test_memory_limit_holds_for_the_sum_of_all_memories(bench: Any, make_call: MakeCall) -> None:
    capsule = bench.load("two_memories.wat")
    assert len(capsule.invoke("x", b"", make_call(memory_mib=4)).data) == 64


def test_tables_together_hold_a_limited_number_of_elements(bench: Any, make_call: MakeCall) -> None:
    capsule = bench.load(
        """(component (core module $m (table $a 1 funcref) (table $b 1 funcref)
          (func (export "x")
            (loop $l (br_if $l (i32.ne (i32.const -1)
              (table.grow $a (ref.null func) (i32.const 1000)))))
            (loop $l (br_if $l (i32.ne (i32.const -1)
              (table.grow $b (ref.null func) (i32.const 1000)))))
            (if (i32.gt_u (i32.add (table.size $a) (table.size $b)) (i32.const 200000))
              (then unreachable))
            (if (i32.lt_u (table.size $a) (i32.const 90000)) (then unreachable))))
        (core instance $i (instantiate $m))
        (func (export "astrid-install") (canon lift (core func $i "x"))))"""
    )
    assert capsule.lifecycle("astrid-install", make_call())


def test_core_instances_are_limited(bench: Any, make_call: MakeCall) -> None:
    text = """(component (core module $m (func (export "x")))
        (core instance $i (instantiate $m))
        (func (export "astrid-install") (canon lift (core func $i "x"))) %s)"""
    capsule = bench.load(text % ("(core instance (instantiate $m))" * 999))
    assert capsule.lifecycle("astrid-install", make_call())
    too_many = bench.load(text % ("(core instance (instantiate $m))" * 1000))
    with pytest.raises(GuestLimitError, match="instance"):
        too_many.lifecycle("astrid-install", make_call())


def test_component_that_needs_more_memory_than_allowed_is_not_entered(
    bench: Any, make_call: MakeCall
) -> None:
    small = bench.component("acts.wat").read_bytes()
    declares_two_pages = b"\x05\x03\x01\x00\x02"
    assert small.count(declares_two_pages) == 1
    large = bench.load(small.replace(declares_two_pages, b"\x05\x03\x01\x00\x7f"))
    with pytest.raises(GuestLimitError, match="memory"):
        large.invoke("echo", b"", make_call(memory_mib=4))
    assert large.invoke("echo", b"x", make_call(memory_mib=8)).data == "x"


def test_call_can_be_cancelled_while_it_computes(bench: Any, make_call: MakeCall) -> None:
    capsule = bench.load("acts.wat")
    token = CancelToken()
    timer = later(0.1, token.fire)
    began = time.monotonic()
    with pytest.raises(GuestCancelledError):
        capsule.invoke("loop", b"", make_call(cancel=token))
    assert time.monotonic() - began < 4
    timer.join()
    assert capsule.stats()["cancelled"] == 1


def test_call_can_be_cancelled_in_a_host_call(bench: Any, make_call: MakeCall) -> None:
    capsule = bench.load("acts.wat")
    token = CancelToken()
    timer = later(0.05, token.fire)
    result = capsule.invoke("sleep", b"", make_call(cancel=token))
    timer.join()
    assert result.data is not None
    assert len(result.data) == 1, "the host answered with an error, which the guest saw"


def test_cancelled_call_does_not_enter_the_guest(
    bench: Any, host: Any, make_call: MakeCall
) -> None:
    capsule = bench.load("acts.wat", host)
    token = CancelToken()
    token.fire()
    with pytest.raises(GuestCancelledError):
        capsule.invoke("trap", b"", make_call(cancel=token))
    assert capsule.stats()["traps"] == 0


def test_token_of_the_host_instance_stops_the_guest(
    bench: Any, host: Any, make_call: MakeCall
) -> None:
    capsule = bench.load("acts.wat", host)
    capsule.invoke("echo", b"", make_call())
    timer = later(0.1, host.instances[0].cancel.fire)
    with pytest.raises(GuestCancelledError):
        capsule.invoke("loop", b"", make_call(timeout_s=5.0))
    timer.join()


def test_host_call_gives_up_at_the_deadline(bench: Any, make_call: MakeCall) -> None:
    capsule = bench.load("acts.wat")
    began = time.monotonic()
    with suppress(GuestTimeoutError):  # a tick between the host call and the result stops it
        capsule.invoke("sleep", b"", make_call(timeout_s=0.1))
    assert time.monotonic() - began < 4


def test_denial_of_the_kernel_leaves_the_guest_alone(
    bench: Any, host: Any, make_call: MakeCall
) -> None:
    capsule = bench.load("acts.wat", host)
    host.refuse = DeniedError("principal is disabled", rule="profile.enabled")
    with pytest.raises(DeniedError):
        capsule.invoke("put", b"", make_call())
    host.refuse = None
    assert capsule.invoke("echo", b"x", make_call()).data == "x"
    assert host.instances[0].events == ["enter", "leave"], "nothing broke, nothing was left"


def test_host_trap_names_what_trapped_and_other_errors_stay_inside(
    bench: Any, host: Any, make_call: MakeCall
) -> None:
    def refuse(_duration: int) -> None:
        raise HostTrap("children first")

    host.handlers["astrid:sys/host#sleep-ns"] = refuse
    capsule = bench.load("acts.wat", host)
    with pytest.raises(GuestTrapError, match="children first"):
        capsule.invoke("sleep", b"", make_call())


def test_interrupt_in_a_host_call_reaches_the_caller_and_drops_the_instance(
    bench: Any, host: Any, make_call: MakeCall
) -> None:
    def interrupt(_duration: int) -> None:
        raise KeyboardInterrupt

    host.handlers["astrid:sys/host#sleep-ns"] = interrupt
    capsule = bench.load("acts.wat", host)
    with pytest.raises(KeyboardInterrupt):
        capsule.invoke("sleep", b"", make_call())
    assert host.instances[0].events == ["enter", "leave", "close"]
    assert capsule.invoke("echo", b"x", make_call()).data == "x"


def test_start_function_runs_under_the_deadline(
    bench: Any, make_call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance_module, "START_TIMEOUT_S", 0.1)
    capsule = bench.load("start_loop.wat")
    began = time.monotonic()
    with pytest.raises(GuestTimeoutError):
        capsule.lifecycle("astrid-install", make_call())
    assert time.monotonic() - began < 4


def test_closing_an_instance_gives_its_resources_back(
    bench: Any, host: Any, make_call: MakeCall
) -> None:
    capsule = bench.load("run_recv.wat", host)
    capsule.start(make_call())
    assert host.instances == [] or capsule.wait_ready(timeout_s=5.0)
    capsule.unload(grace_s=5.0)
    assert [s.drops for s in host.instances[0].subscriptions] == [1]
    assert host.instances[0].events == ["enter", "leave", "close"]
