from __future__ import annotations

import time

import pytest
import wasmtime

from astrid_engine_wasm.failure import Cause, GuestFailure, parse_failure
from astrid_engine_wasm.messages import MAX_CHARACTERS, clean_message
from astrid_engine_wasm.verdicts import explain
from astrid_engine_wasm.watch import Stop
from astrid_hookspecs.engines import Limits
from astrid_hookspecs.errors import (
    EngineError,
    GuestCancelledError,
    GuestLimitError,
    GuestTimeoutError,
    GuestTrapError,
)

TRAP = """error while executing at wasm backtrace:
    0:     0x65 - m!core::panicking::panic::h0123456789abcdef
    1:   0x1234 - m!<wasm function 7>
                    at /home/author/secret/project/src/lib.rs:17:5
    2:   0x99 - m!run

Caused by:
    wasm trap: wasm `unreachable` instruction executed
"""


def test_backtrace_becomes_the_innermost_functions() -> None:
    message = clean_message(TRAP)
    assert message == (
        "wasm trap: wasm `unreachable` instruction executed "
        "(in m!core::panicking::panic, called by m!<wasm function 7>, called by m!run)"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "unknown error"),
        ("plain", "plain"),
        ("failed\n\nCaused by:\n    0: one\n    1: two (at offset 0x5)", "failed: one: two"),
        ("cannot open /root/.cache/x/y.aot: no", "cannot open <path>: no"),
        ("at '/etc/passwd'", "at '<path>'"),
        ("bell \x07 and \x1b[31mred", "bell   and  [31mred"),
    ],
)
def test_message_is_one_clean_line(text: str, expected: str) -> None:
    assert clean_message(text).startswith(expected)
    assert clean_message(text).isprintable()


def test_message_is_bounded() -> None:
    assert len(clean_message("x" * 10_000)) == MAX_CHARACTERS


def verdict(failure: GuestFailure, stop: Stop | None = None) -> EngineError:
    return explain(failure, stop=stop, limits=Limits(), timeout_s=2.0)


@pytest.mark.parametrize(
    ("stop", "kind"),
    [
        (Stop.TIMEOUT, GuestTimeoutError),
        (Stop.CANCELLED, GuestCancelledError),
        (Stop.UNLOADED, GuestCancelledError),
    ],
)
def test_what_stopped_the_guest_from_outside_wins(stop: Stop, kind: type[EngineError]) -> None:
    assert type(verdict(parse_failure(TRAP), stop)) is kind


@pytest.mark.parametrize(
    "function",
    ["alloc::alloc::handle_alloc_error", "__rg_oom", "cabi_realloc", "PyErr_NoMemory", "my_oom"],
)
def test_trap_in_an_allocator_is_a_limit(function: str) -> None:
    failure = parse_failure(TRAP.replace("core::panicking::panic", function))
    error = verdict(failure)
    expected = GuestTrapError if function == "my_oom" else GuestLimitError
    assert type(error) is expected


@pytest.mark.parametrize(
    "root",
    [
        "memory minimum size of 1 pages exceeds memory limits",
        "resource limit exceeded: memory count too high at 2",
    ],
)
def test_refused_instantiation_is_a_limit(root: str) -> None:
    assert type(verdict(parse_failure(root))) is GuestLimitError


def test_internal_error_of_a_host_call_is_not_told_to_the_caller() -> None:
    failure = GuestFailure("kv#get: token hunter2 expired", Cause.HOST)
    failure.__cause__ = ValueError("token hunter2 expired")
    error = verdict(failure)
    assert "hunter2" not in error.message
    assert type(error) is GuestTrapError


def test_function_names_of_many_lines_cost_no_time() -> None:
    # The names of a guest's functions are in the text of its trap, and no deadline covers reading
    # it. Comparing each line with all before it takes this text most of a minute.
    functions = []
    for function in range(19):
        lines = "\\0a".join(f"{function}-{line}" for line in range(5_000))
        body = f"call {function - 1}" if function else "unreachable"
        functions.append(f'(func (@name "{lines}") {body})')
    store = wasmtime.Store()
    module = wasmtime.Module(
        store.engine, f'(module {" ".join(functions)} (export "go" (func 18)))'
    )
    go = wasmtime.Instance(store, module, []).exports(store)["go"]
    assert isinstance(go, wasmtime.Func)
    with pytest.raises(wasmtime.Trap) as trapped:
        go(store)
    text = str(trapped.value)
    assert text.count("\n") > 80_000
    before_s = time.thread_time()
    message = clean_message(text)
    assert len(message) == MAX_CHARACTERS
    assert time.thread_time() - before_s < 10
