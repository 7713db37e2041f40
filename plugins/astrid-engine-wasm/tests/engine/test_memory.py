"""How much memory guests use is measured, instance by instance, without running their code."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from wasmtime import wat2wasm

from astrid_engine_wasm.footprint import read_footprint
from astrid_engine_wasm.gauge import GAUGE, MAX_GAUGED, with_gauge
from astrid_engine_wasm.peaks import MAX_REMEMBERED, MemoryPeaks
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.engines import MIB, Call, MemoryUse
from astrid_hookspecs.errors import ComponentError, EngineError, GuestLimitError, GuestTrapError
from astrid_hookspecs.values import Principal

MakeCall = Callable[..., Call]
ALICE, BOB = Principal("alice"), Principal("bob")
PAGE = 65_536
START = 2 * PAGE
"""What `acts.wat` has when it was made."""

UNNAMED = """
(component
  (core module $m (memory 3) (func (export "run")))
  (core instance $i (instantiate $m))
  (func (export "run") (canon lift (core func $i "run")))
  (func (export "astrid-install") (canon lift (core func $i "run"))))
"""
MEMORIES = """
(component
  (core module $m {memories} (func (export "f")))
  (core instance $i (instantiate $m))
  {aliases})
"""


def gauged(text: str) -> bytes | None:
    wasm = bytes(wat2wasm(text))
    return with_gauge(wasm, read_footprint(wasm))


def test_memory_is_told_for_each_principal(bench: Any, host: Any, make_call: MakeCall) -> None:
    capsule = bench.load("acts.wat", host)
    assert capsule.memory() == {}
    capsule.invoke("echo", b"", make_call("alice"))
    capsule.invoke("grow", b"", make_call("bob", memory_mib=4))
    assert capsule.memory() == {
        ALICE: MemoryUse(START, START),
        BOB: MemoryUse(4 * MIB, 4 * MIB),
    }
    capsule.evict(BOB)
    assert capsule.memory()[BOB] == MemoryUse(0, 4 * MIB)
    capsule.invoke("echo", b"", make_call("bob"))
    assert capsule.memory()[BOB] == MemoryUse(START, 4 * MIB)
    capsule.unload(grace_s=1)
    assert {use.current_bytes for use in capsule.memory().values()} == {0}


def test_an_instance_of_one_call_is_measured_when_it_ends(
    bench: Any, host: Any, make_call: MakeCall
) -> None:
    capsule = bench.load("acts.wat", host, state="fresh")
    capsule.invoke("grow", b"", make_call(memory_mib=2))
    assert capsule.memory() == {ALICE: MemoryUse(0, 2 * MIB)}


def test_a_running_call_is_not_disturbed(bench: Any, host: Any, make_call: MakeCall) -> None:
    capsule = bench.load("acts.wat", host)
    cancel = CancelToken()
    outcome: list[object] = []

    def loop() -> None:
        try:
            capsule.invoke("loop", b"", make_call(cancel=cancel))
        except EngineError as error:
            outcome.append(error.code)

    thread = threading.Thread(target=loop)
    thread.start()
    assert host.entered.wait(10)
    assert capsule.memory().get(ALICE, MemoryUse(0, 0)).current_bytes in (0, START)
    assert thread.is_alive()
    cancel.fire()
    thread.join(10)
    assert outcome == ["engine.cancelled"]
    assert capsule.memory()[ALICE].current_bytes == 0


def test_eviction_that_waited_for_a_measurement_happens_after_it(
    bench: Any, host: Any, make_call: MakeCall
) -> None:
    capsule = bench.load("acts.wat", host)
    capsule.invoke("echo", b"", make_call())
    (instance,) = capsule._live
    measure = instance.measure

    def evicted_meanwhile() -> int:
        instance.measure = measure
        capsule.evict(ALICE)
        assert host.open_count == 1, "it is being looked at"
        return int(measure())

    instance.measure = evicted_meanwhile
    assert capsule.memory()[ALICE] == MemoryUse(0, START)
    assert host.open_count == 0


def test_a_guest_that_ends_at_its_limit_is_told_apart(
    bench: Any, host: Any, make_call: MakeCall
) -> None:
    capsule = bench.load("acts.wat", host)
    with pytest.raises(GuestLimitError) as caught:
        capsule.invoke("bomb", b"", make_call(memory_mib=2))
    assert caught.value.code == "quota_memory"
    with pytest.raises(GuestTrapError):
        capsule.invoke("trap", b"", make_call())
    assert capsule.memory() == {ALICE: MemoryUse(0, START)}, "what broke cannot be measured"


def test_a_memory_that_nobody_names_counts_with_what_it_starts_with(
    bench: Any, host: Any, make_call: MakeCall
) -> None:
    assert gauged(UNNAMED) is None
    capsule = bench.load(UNNAMED, host, run_class="call")
    capsule.lifecycle("astrid-install", make_call())
    assert capsule.memory() == {ALICE: MemoryUse(0, 3 * PAGE)}


def test_all_memories_of_an_instance_count(bench: Any, host: Any, make_call: MakeCall) -> None:
    capsule = bench.load("two_memories.wat", host)
    capsule.invoke("grow", b"", make_call(memory_mib=8))
    assert 0 < capsule.memory()[ALICE].current_bytes <= 8 * MIB
    assert capsule.memory()[ALICE].current_bytes > START


@pytest.mark.parametrize("count", [1, 2, MAX_GAUGED, MAX_GAUGED + 1])
def test_so_many_memories_are_gauged(count: int) -> None:
    memories = " ".join(f'(memory (export "m{at}") 1)' for at in range(count))
    aliases = " ".join(f'(alias core export $i "m{at}" (core memory))' for at in range(count))
    text = MEMORIES.format(memories=memories, aliases=aliases)
    assert (gauged(text) is not None) is (count <= MAX_GAUGED)


def test_a_memory_with_two_names_is_not_counted_twice() -> None:
    memory = '(memory (export "a") (export "b") 1)'
    twice = '(alias core export $i "a" (core memory)) (alias core export $i "b" (core memory))'
    again = twice.replace('"b"', '"a"')
    assert gauged(MEMORIES.format(memories=memory, aliases=twice)) is None
    assert gauged(MEMORIES.format(memories=memory, aliases=again)) is not None


def test_what_was_there_is_unchanged(bench: Any) -> None:
    wasm = bench.component("acts.wat").read_bytes()
    made = with_gauge(wasm, read_footprint(wasm))
    assert made is not None
    assert made.startswith(wasm)
    assert bench.engine.inspect(bench.component("acts.wat")).exports == ("astrid-hook-trigger",)


def test_a_component_with_the_gauges_name_denied(bench: Any, host: Any) -> None:
    text = UNNAMED.replace('"run") (canon', f'"{GAUGE}") (canon')
    with pytest.raises(ComponentError) as caught:
        bench.load(text, host)
    assert caught.value.code == "engine.component.export"
    named = text.replace("(memory 3)", '(memory (export "m") 3)').replace(
        '(func (export "astrid-install")',
        '(alias core export $i "m" (core memory)) (func (export "astrid-install")',
    )
    with pytest.raises(ComponentError):
        bench.load(named, host)


def test_only_so_many_peaks_are_remembered() -> None:
    peaks = MemoryPeaks()
    for number in range(MAX_REMEMBERED + 1):
        peaks.note(Principal(f"p{number}"), number)
    peaks.note(Principal("p1"), 0)
    found = peaks.with_live([])
    assert len(found) == MAX_REMEMBERED
    assert Principal("p0") not in found
    assert found[Principal("p1")] == MemoryUse(0, 1)
