"""Attack: a component that was installed honestly turns on its host or on other principals."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blake3 import blake3
from wasmtime import wat2wasm

from astrid_core.host.abi import load_abi
from astrid_engine_wasm.engine import WasmEngine
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.engines import (
    MIB,
    Call,
    CapsuleSpec,
    EngineEnvironment,
    Limits,
    LoadedCapsule,
)
from astrid_hookspecs.errors import EngineError, GuestTimeoutError, GuestTrapError
from astrid_hookspecs.values import CapsuleId, Principal

HOOK = """
  (core instance $i (instantiate $m))
  (type $r' (record (field "action" string) (field "data" (option string))))
  (export $r "capsule-result" (type $r'))
  (func (export "astrid-hook-trigger") (param "action" string) (param "payload" (list u8))
    (result $r) (canon lift (core func $i "hook") (memory (core memory $i "memory"))
    (realloc (core func $i "realloc"))))"""


def guest(body: str, extra: str = "") -> str:
    """A component whose hook runs `body`, which leaves the address of its result."""
    return f"""(component (core module $m
      (memory (export "memory") 1) {extra}
      (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
      (func (export "hook") (param i32 i32 i32 i32) (result i32) {body})) {HOOK})"""


class SilentHost:
    """A kernel that offers nothing."""

    def __init__(self) -> None:
        self.closed = 0
        self.cancel = CancelToken()
        self.ready = threading.Event()

    def open_instance(self, _principal: Principal, *, purpose: str) -> SilentHost:
        assert purpose == "call"
        return self

    def handler(self, _interface: str, _function: str) -> Callable[..., object] | None:
        return None

    def enter(self, call: Call, *, deadline: float | None) -> None:
        """Nothing is attributed here."""

    def leave(self) -> None:
        """Nothing is attributed here."""

    def close(self) -> None:
        self.closed += 1


Load = Callable[[str], LoadedCapsule]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    engine = WasmEngine(
        EngineEnvironment(cache_dir=tmp_path / "c", seal_key=b"k" * 32, abi=load_abi())
    )
    loaded: list[LoadedCapsule] = []

    def make(text: str) -> LoadedCapsule:
        path = tmp_path / f"{len(loaded)}.wasm"
        path.write_bytes(wat2wasm(text))
        spec = CapsuleSpec(
            id=CapsuleId("hostile"),
            version="1.0.0",
            source_id="4d5d4c4e-0000-4000-8000-000000000002",
            directory=tmp_path,
            component=path,
            component_hash=blake3(path.read_bytes()).hexdigest(),
        )
        loaded.append(engine.load(spec, SilentHost()))
        return loaded[-1]

    yield make
    for capsule in loaded:
        capsule.unload(grace_s=0.0)
    engine.close()


def call(principal: str = "alice", *, timeout_s: float = 5.0) -> Call:
    return Call(Principal(principal), Limits(16 * MIB, timeout_s))


def outcome(capsule: LoadedCapsule, who: Call) -> str:
    try:
        return repr(capsule.invoke("x", b"payload", who))
    except EngineError as error:
        return type(error).__name__


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("(i32.const -1)", id="result-outside-memory"),
        pytest.param("(i32.const 65533)", id="result-crosses-the-end"),
        pytest.param("(i32.const 3)", id="result-not-aligned"),
        pytest.param(
            "(i32.store (i32.const 0) (i32.const 8)) (i32.store (i32.const 4) (i32.const -1))"
            "(i32.const 0)",
            id="string-length-outside-memory",
        ),
        pytest.param(
            "(i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 2))"
            "(i32.store16 (i32.const 64) (i32.const 0xffff)) (i32.const 0)",
            id="string-not-utf8",
        ),
        pytest.param("(i32.store8 (i32.const 8) (i32.const 9)) (i32.const 0)", id="option-tag"),
        pytest.param("(i32.load (i32.const -4))", id="load-outside-memory"),
    ],
)
def test_result_that_lies_about_memory_is_a_trap(load: Load, body: str) -> None:
    capsule = load(guest(body))
    with pytest.raises(GuestTrapError):
        capsule.invoke("x", b"payload", call())
    assert capsule.stats()["instances"] == 0


def test_allocator_that_lies_about_memory_is_a_trap(load: Load) -> None:
    text = guest("(i32.const 0)").replace("(i32.const 1024))", "(i32.const -16))")
    assert outcome(load(text), call()) in {"GuestTrapError", "GuestLimitError"}


def test_allocator_that_never_returns_is_stopped(load: Load) -> None:
    text = guest("(i32.const 0)").replace("(i32.const 1024))", "(loop $l (br $l)) (i32.const 0))")
    began = time.monotonic()
    with pytest.raises(GuestTimeoutError):
        load(text).invoke("x", b"payload", call(timeout_s=0.3))
    assert time.monotonic() - began < 4


def test_secret_of_one_principal_is_not_in_the_memory_of_another(load: Load) -> None:
    """The guest answers with what an earlier call left at 4096, then leaves the payload there."""
    capsule = load(
        guest(
            """(i32.store (i32.const 8) (i32.const 1))
            (i32.store (i32.const 12) (i32.const 2048)) (i32.store (i32.const 16) (i32.const 6))
            (memory.copy (i32.const 2048) (i32.const 4096) (i32.const 6))
            (memory.copy (i32.const 4096) (local.get 2) (i32.const 6))
            (i32.const 0)"""
        )
    )
    assert capsule.invoke("x", b"SECRET", call("alice")).data == "\0" * 6
    assert capsule.invoke("x", b"public", call("bob")).data == "\0" * 6
    assert capsule.invoke("x", b"public", call("alice")).data == "SECRET"
    capsule.evict(Principal("alice"))
    assert capsule.invoke("x", b"public", call("alice")).data == "\0" * 6


@pytest.mark.slow
def test_runaway_of_one_principal_leaves_the_others_alone(load: Load) -> None:
    """The guest loops when the first payload byte is `!`."""
    capsule = load(
        guest(
            """(if (i32.eq (i32.load8_u (local.get 2)) (i32.const 33)) (then (loop $l (br $l))))
            (i32.const 0)"""
        )
    )
    stopped: list[str] = []

    def run_away() -> None:
        try:
            capsule.invoke("x", b"!", call("mallory", timeout_s=0.6))
        except EngineError as error:
            stopped.append(type(error).__name__)

    thread = threading.Thread(target=run_away)
    thread.start()
    slowest = 0.0
    while thread.is_alive():
        began = time.monotonic()
        assert outcome(capsule, call("bob")).startswith("GuestResult")
        slowest = max(slowest, time.monotonic() - began)
    thread.join()
    assert stopped == ["GuestTimeoutError"]
    assert slowest < 0.3
    assert outcome(capsule, call("mallory")).startswith("GuestResult")


def test_guest_cannot_stay_in_by_trapping_on_the_way_out(load: Load) -> None:
    """A post-return function runs after the result was read; it is guest code like any other."""
    text = guest("(i32.const 0)", '(func (export "post") (param i32) (loop $l (br $l)))').replace(
        '(realloc (core func $i "realloc"))',
        '(realloc (core func $i "realloc")) (post-return (core func $i "post"))',
    )
    capsule = load(text)
    began = time.monotonic()
    with pytest.raises(GuestTimeoutError):
        capsule.invoke("x", b"", call(timeout_s=0.3))
    assert time.monotonic() - began < 4
    assert capsule.stats()["instances"] == 0
