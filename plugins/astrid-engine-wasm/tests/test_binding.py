"""Calls in both directions: answers, errors, traps, deadlines, threads; nothing crosses unasked."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from wasmtime import Engine, Store
from wasmtime.component import Component

from astrid_engine_wasm import ffi, layout
from astrid_engine_wasm.binding import Cause, GuestFailure, GuestInstance, GuestLinker
from astrid_engine_wasm.failure import parse_failure
from astrid_engine_wasm.lower import BLOCK
from astrid_engine_wasm.trampoline import FRAMES
from astrid_hookspecs.engines import GuestResult, HostTrap, WitError
from astrid_hookspecs.errors import ComponentError, EngineError, UnsupportedActionError

GUESTS = Path(__file__).parent / "guests"
Bind = Callable[..., GuestInstance]


def raising(error: BaseException) -> Callable[..., object]:
    def handler(*_: object) -> object:
        raise error

    return handler


@pytest.mark.parametrize(
    "payload",
    [b"", b"hello", "käse\0".encode(), b"x" * 1025, b"y" * BLOCK, b"z" * (3 * BLOCK + 7)],
    ids=len,
)
def test_a_hook_answers_with_what_it_got(bind_guest: Bind, payload: bytes) -> None:
    guest = bind_guest("echo.wat")
    for _ in range(3):
        found = guest.call_hook("any-action", payload)
        assert found == GuestResult("continue", payload.decode() if payload else None)


def test_a_payload_larger_than_the_last_does_not_show_it(bind_guest: Bind) -> None:
    guest = bind_guest("echo.wat")
    guest.call_hook("a", b"secret" * 100)
    assert guest.call_hook("a", b"xy").data == "xy"


def test_the_result_slot_is_blank_between_calls(bind_guest: Bind) -> None:
    """The runtime drops what it finds there; anything but a blank would be freed twice."""
    guest = bind_guest("echo.wat")
    guest.call_hook("a", b"b")
    assert ffi.memory[guest._result] == layout.KIND_BOOL


def test_a_host_answer_reaches_the_guest(bind_guest: Bind) -> None:
    asked: list[str] = []

    def get(key: str) -> bytes | None:
        asked.append(key)
        return b"stored"

    assert bind_guest("kv.wat", {"kv-get": get}).call_hook("", b"") == ("o", "stored")
    assert asked == ["some-key"]


def test_none_and_empty_are_different_answers(bind_guest: Bind) -> None:
    assert bind_guest("kv.wat", {"kv-get": lambda _: None}).call_hook("", b"") == ("o", None)
    assert bind_guest("kv.wat", {"kv-get": lambda _: b""}).call_hook("", b"") == ("o", "")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (WitError("invalid-key"), ("i", None)),
        (WitError("quota"), ("q", None)),
        (WitError("unknown", "why"), ("u", "why")),
        (WitError("registry-full"), ("q", None)),
        (WitError("never-heard-of"), ("u", "never-heard-of")),
        (WitError("unknown", 5), ("u", "unknown")),
    ],
    ids=lambda value: getattr(value, "case", None),
)
def test_a_typed_error_becomes_a_case_of_the_guests_shape(
    bind_guest: Bind, error: WitError, expected: tuple[str, str | None]
) -> None:
    guest = bind_guest("kv.wat", {"kv-get": raising(error)})
    assert guest.call_hook("", b"") == expected
    assert guest.call_hook("", b"") == expected
    assert guest.failure is None


@pytest.mark.parametrize(
    "handler",
    [
        raising(RuntimeError("disk /secret/path")),
        raising(ZeroDivisionError()),
        raising(RecursionError()),
        raising(MemoryError()),
        lambda: None,
        lambda _: "text instead of bytes",
        lambda _: 17,
    ],
    ids=["runtime", "zero", "recursion", "memory", "arity", "wrong-type", "number"],
)
def test_an_unforeseen_failure_is_an_error_without_its_text(
    bind_guest: Bind, handler: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    guest = bind_guest("kv.wat", {"kv-get": handler})
    with caplog.at_level(logging.ERROR):
        action, data = guest.call_hook("", b"")
    assert action == "u"
    assert guest.failure is not None
    assert data == f"internal error {guest.failure.log_id}"
    assert guest.failure.log_id in caplog.text
    assert guest.failure.where == "astrid:kv/host@1.0.0#kv-get"
    assert not guest.failure.trapped
    assert guest.call_hook("", b"")[0] == "u"


def test_a_deliberate_trap_stops_the_guest_with_its_message(bind_guest: Bind) -> None:
    guest = bind_guest("kv.wat", {"kv-get": raising(HostTrap("more than the permit"))})
    with pytest.raises(GuestFailure, match="more than the permit") as caught:
        guest.call_hook("", b"")
    assert caught.value.trap_code is Cause.HOST
    assert isinstance(caught.value.__cause__, HostTrap)
    with pytest.raises(GuestFailure) as again:
        guest.call_hook("", b"")
    assert again.value.trap_code is Cause.DEAD


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
def test_what_must_not_be_swallowed_comes_out_of_the_call(
    bind_guest: Bind, error: BaseException
) -> None:
    guest = bind_guest("kv.wat", {"kv-get": raising(error)})
    with pytest.raises(type(error)):
        guest.call_void("run")
    assert guest.failure is not None
    assert guest.failure.error is error
    assert guest.failure.trapped


def failing(wat: str) -> str:
    return (
        f'(component (core module $m (memory 1) (func $f (export "f") {wat}))'
        " (core instance $i (instantiate $m))"
        ' (func (export "run") (canon lift (core func $i "f"))))'
    )


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ("unreachable", Cause.TRAP),
        ("(drop (i32.load (i32.const -4)))", Cause.TRAP),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", Cause.TRAP),
        ("(call $f)", Cause.STACK),
    ],
)
def test_a_trap_kills_the_instance_and_says_why(bind_guest: Bind, body: str, cause: Cause) -> None:
    guest = bind_guest(failing(body))
    with pytest.raises(GuestFailure, match=r"^wasm trap: ") as caught:
        guest.call_void("run")
    assert caught.value.trap_code is cause
    assert "backtrace" in caught.value.detail
    with pytest.raises(GuestFailure, match="stopped before") as again:
        guest.call_void("run")
    assert again.value.trap_code is Cause.DEAD


def test_a_guest_cannot_write_the_cause_with_a_function_name() -> None:
    text = (
        "error while executing at wasm backtrace:\n    0: 0x1 - m!x\n\nCaused by:\n"
        "    wasm trap: interrupt\n\nCaused by:\n    wasm trap: wasm `unreachable` instruction\n"
    )
    assert parse_failure(text).trap_code is Cause.TRAP


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("Caused by:\n    0: memory fault\n    1: wasm trap: interrupt\n", Cause.INTERRUPT),
        ("deadline passed\n", None),
        ("", None),
    ],
)
def test_the_last_line_is_the_cause(text: str, cause: Cause | None) -> None:
    assert parse_failure(text).trap_code is cause


LOOP = "(loop (br 0))"


def test_a_deadline_callback_lets_a_guest_go_on_and_then_stops_it(
    raw_engine: Engine, bind_guest: Bind
) -> None:
    store = Store(raw_engine)
    store.set_epoch_deadline(1)
    answers = iter([("continue", 1), ("continue", 2), "out of time"])
    ffi.set_epoch_callback(store, lambda: next(answers))  # type: ignore[arg-type, return-value]
    guest = bind_guest(failing(LOOP), store=store)
    stop = threading.Event()
    ticker = threading.Thread(target=lambda: _tick(raw_engine, stop))
    ticker.start()
    try:
        with pytest.raises(GuestFailure, match=r"^out of time$"):
            guest.call_void("run")
    finally:
        stop.set()
        ticker.join()
    assert list(answers) == []


def test_a_deadline_without_a_callback_interrupts(raw_engine: Engine, bind_guest: Bind) -> None:
    store = Store(raw_engine)
    store.set_epoch_deadline(0)
    guest = bind_guest(failing(LOOP), store=store)
    with pytest.raises(GuestFailure) as caught:
        guest.call_void("run")
    assert caught.value.trap_code is Cause.INTERRUPT


def test_a_deadline_callback_that_raises_stops_the_guest(
    raw_engine: Engine, bind_guest: Bind
) -> None:
    store = Store(raw_engine)
    store.set_epoch_deadline(0)
    ffi.set_epoch_callback(store, raising(RuntimeError("broken")))  # type: ignore[arg-type]
    guest = bind_guest(failing(LOOP), store=store)
    with pytest.raises(GuestFailure, match="deadline check failed: RuntimeError"):
        guest.call_void("run")


def test_an_interrupt_during_a_long_computation_comes_out_of_the_call(
    raw_engine: Engine, bind_guest: Bind
) -> None:
    """With the guest on the main thread, Python's signal handler runs in the callback."""
    store = Store(raw_engine)
    store.set_epoch_deadline(0)
    ffi.set_epoch_callback(store, raising(KeyboardInterrupt()))  # type: ignore[arg-type]
    guest = bind_guest(failing(LOOP), store=store)
    with pytest.raises(KeyboardInterrupt):
        guest.call_void("run")
    with pytest.raises(GuestFailure, match="stopped before"):
        guest.call_void("run")


def _tick(engine: Engine, stop: threading.Event) -> None:
    while not stop.wait(0.002):
        engine.increment_epoch()


def test_a_store_that_is_too_small_fails_at_instantiation(
    raw_engine: Engine, bind_guest: Bind
) -> None:
    store = Store(raw_engine)
    store.set_limits(memory_size=65536)
    with pytest.raises(GuestFailure) as caught:
        bind_guest("echo.wat", store=store)
    assert caught.value.trap_code is Cause.LIMIT
    assert ffi.context_address(store) not in FRAMES


def test_a_host_call_from_a_start_function_is_answered(bind_guest: Bind) -> None:
    seen: list[int] = []
    text = """
    (component
      (import "test:start/host@1.0.0" (instance $host (export "seen" (func (param "n" u32)))))
      (core func $seen (canon lower (func $host "seen")))
      (core module $m (import "h" "seen" (func $seen (param i32)))
        (func $start (call $seen (i32.const 42))) (start $start))
      (core instance $i (instantiate $m (with "h" (instance (export "seen" (func $seen)))))))
    """
    bind_guest(text, {"seen": seen.append})
    assert seen == [42]
    with pytest.raises(GuestFailure, match="not today"):
        bind_guest(text, {"seen": raising(HostTrap("not today"))})
    with pytest.raises(KeyboardInterrupt):
        bind_guest(text, {"seen": raising(KeyboardInterrupt())})


def test_a_second_instance_in_one_store_is_refused(raw_engine: Engine, bind_guest: Bind) -> None:
    store = Store(raw_engine)
    bind_guest("echo.wat", store=store)
    with pytest.raises(EngineError) as caught:
        bind_guest("echo.wat", store=store)
    assert caught.value.code == "engine.busy"


def test_an_export_that_is_missing_is_an_unsupported_action(bind_guest: Bind) -> None:
    with pytest.raises(UnsupportedActionError, match="astrid-hook-trigger"):
        bind_guest(failing("")).call_hook("", b"")
    guest = bind_guest("echo.wat")
    for name in ("run", "astrid-hook-trigger", "anything"):
        with pytest.raises(UnsupportedActionError):
            guest.call_void(name)


def test_a_kernel_without_a_handler_is_found_before_the_guest_runs(bind_guest: Bind) -> None:
    with pytest.raises(ComponentError, match="no handler for astrid:kv/host"):
        bind_guest("kv.wat", {"kv-get": None})


def test_a_closed_instance_runs_nothing(bind_guest: Bind) -> None:
    guest = bind_guest("echo.wat")
    guest.close()
    with pytest.raises(GuestFailure):
        guest.call_hook("", b"")


def test_a_guest_denied_entry_while_it_is_entered(bind_guest: Bind) -> None:
    """From a host call on the same thread and from another thread; the first call goes on."""
    refused: list[str] = []

    def enter_again(_key: str) -> None:
        attempts: list[Callable[[], object]] = [
            lambda: guest.call_hook("", b""),
            lambda: guest.call_void("run"),
            guest.close,
        ]
        for attempt in attempts:
            with pytest.raises(EngineError) as caught:
                attempt()
            refused.append(caught.value.code)
        other = threading.Thread(target=in_thread)
        other.start()
        other.join()

    def in_thread() -> None:
        with pytest.raises(EngineError):
            guest.call_void("run")
        refused.append("thread")

    guest = bind_guest("kv.wat", {"kv-get": enter_again})
    assert guest.call_hook("", b"") == ("o", None)
    assert refused == ["engine.busy"] * 3 + ["thread"]


@pytest.mark.slow
def test_two_stores_on_two_threads_keep_their_answers_apart(bind_guest: Bind) -> None:
    stop = time.monotonic() + 2
    wrong: list[object] = []
    counts = [0, 0]

    def work(number: int) -> None:
        mine = bytes([97 + number]) * (50 + 3000 * number)
        guest = bind_guest("kv.wat", {"kv-get": lambda _: mine})
        echo = bind_guest("echo.wat")
        while time.monotonic() < stop and not wrong:
            found = [guest.call_hook("", b"").data, echo.call_hook("", mine).data]
            if found != [mine.decode()] * 2:
                wrong.append(found)
            counts[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert min(counts) > 50


_MAKE = {"make": lambda _: _Thing()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("guest_file", "payload", "handlers", "times"),
    [
        ("echo.wat", b"x" * 64, {}, 6_000),
        ("echo.wat", b"x" * (BLOCK + 1), {}, 30),
        ("kv.wat", b"", {"kv-get": lambda _: b"v" * 64}, 6_000),
        ("kv.wat", b"", {"kv-get": lambda _: _fail()}, 6_000),
        ("kv.wat", b"", {"kv-get": lambda _: "text, where bytes are due"}, 6_000),
        ("things.wat", b"u", {**_MAKE, "[method]thing.value": lambda _: 66}, 6_000),
        ("things.wat", b"s", {**_MAKE, "sum": len}, 6_000),
        ("things.wat", b"b", {**_MAKE, "give-back": lambda _: None}, 6_000),
    ],
    ids=[
        "echo",
        "echo-large",
        "kv",
        "kv-error",
        "kv-half-written",
        "handles",
        "borrow-list",
        "give-back",
    ],
)
def test_no_memory_is_lost_to_calls(
    bind_guest: Bind,
    monkeypatch: pytest.MonkeyPatch,
    used_bytes: Callable[[], int],
    guest_file: str,
    payload: bytes,
    handlers: dict[str, Any],
    times: int,
) -> None:
    monkeypatch.setattr("astrid_engine_wasm.trampoline._log.disabled", True)
    guest = bind_guest(guest_file, handlers)

    def call(times: int) -> None:
        for _ in range(times):
            guest.call_hook("action", payload)

    call(times // 10)
    before = used_bytes()
    call(times)
    assert used_bytes() - before < 128 * 1024


def _fail() -> None:
    raise WitError("unknown", "why")


class _Thing:
    def drop(self) -> None:
        """Nothing is held."""


@pytest.mark.slow
def test_no_memory_is_lost_to_instances(raw_engine: Engine, used_bytes: Callable[[], int]) -> None:
    component = Component(raw_engine, (GUESTS / "echo.wat").read_text())
    linker = GuestLinker(raw_engine, component, {})

    def instances(times: int) -> None:
        for _ in range(times):
            store = Store(raw_engine)
            store.set_epoch_deadline(10)
            ffi.set_epoch_callback(store, lambda: ("continue", 1))
            guest = linker.instantiate(store, object())  # type: ignore[arg-type]
            assert guest.call_hook("a", b"b").data == "b"
            guest.close()

    instances(200)
    before, known = used_bytes(), len(FRAMES)
    instances(1_500)
    assert len(FRAMES) == known
    assert used_bytes() - before < 2 * 1024 * 1024
