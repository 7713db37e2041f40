"""Conversion plans: no shape loses memory, and errors become what the guest's shape has."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from wasmtime import Engine, Store

from astrid_engine_wasm import ffi, layout
from astrid_engine_wasm.binding import GuestInstance
from astrid_engine_wasm.lift import compile_lift
from astrid_engine_wasm.lower import compile_lower
from astrid_engine_wasm.marshal import NoAnswerError, compile_plan, default
from astrid_engine_wasm.resources import INERT
from astrid_engine_wasm.trampoline import HostFrame
from astrid_engine_wasm.wit_types import (
    parse_type,
)
from astrid_hookspecs.engines import WitError
from astrid_hookspecs.errors import ComponentError

Bind = Callable[..., GuestInstance]
IPC_ERROR = "variant{capability-denied, closed, unknown(string)}"
ENVELOPE = (
    "record{messages: list<record{topic: string, payload: string, principal: "
    "variant{verified(string), claimed(string), system}}>, dropped: u64}"
)

LEAK_VALUES: dict[str, object] = {
    "bool": True,
    "u64": 2**40,
    "f64": 0.5,
    "char": "x",
    "string": "some text",
    "list<u8>": b"v" * 64,
    "list<u16>": [1, 2, 3],
    "list<string>": ["", "a", "bc"],
    "option<list<u8>>": b"some",
    "tuple<u8, string>": (7, "seven"),
    "record{a: u8, next-cursor: option<string>}": (2, "c"),
    "variant{none, text(string)}": ("text", "why"),
    "enum{term, hup}": "hup",
    "flags{read, write}": frozenset({"read", "write"}),
    "result<option<list<u8>>, variant{closed, unknown(string)}>": b"x" * 64,
    "result<_, variant{closed, unknown(string)}>": WitError("unknown", "why"),
    ENVELOPE: ([("a.b", "{}", ("verified", "alice")), ("c", "1", ("system", None))], 3),
}


@pytest.fixture
def frame(raw_engine: Engine) -> HostFrame:
    return HostFrame(ffi.context_address(Store(raw_engine)), object())  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("text", LEAK_VALUES, ids=lambda text: text[:30])
def test_no_memory_is_lost_to_a_shape(
    frame: HostFrame, used_bytes: Callable[[], int], text: str
) -> None:
    """6,000 conversions of each; a lost allocation of 32 bytes would show as 188 KiB."""
    item = parse_type(text)
    lower, lift = compile_lower(item), compile_lift(item)
    value = LEAK_VALUES[text]
    slots = ffi.new_values(1)
    slot = ffi.address_of(slots)

    def convert(times: int) -> None:
        for _ in range(times):
            lower(slot, value, frame)
            lift(slot, frame)
            ffi.value_delete(slot)
            ffi.memory[slot] = layout.KIND_BOOL

    convert(1_000)
    before = used_bytes()
    convert(6_000)
    assert used_bytes() - before < 128 * 1024


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("record{a: string, b: list<string>, c: u8}", ("x", ["y", "z"], 256)),
        ("list<option<string>>", ["a", None, 3]),
        ("variant{a(tuple<string, enum{x}>)}", ("a", ("text", "y"))),
        ("result<list<u8>, enum{x}>", WitError("y")),
        ("flags{a, b}", ["a", "c"]),
        ("tuple<string, u8>", ("a",)),
        ("record{a: u8}", [1]),
        ("option<char>", "ab"),
        ("list<u8>", "text"),
        ("u8", -1),
        ("string", b"bytes"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_wrong_value_raises_and_leaves_nothing_behind(
    frame: HostFrame, used_bytes: Callable[[], int], text: str, value: object
) -> None:
    lower = compile_lower(parse_type(text))
    slots = ffi.new_values(1)
    slot = ffi.address_of(slots)

    def refuse(times: int) -> None:
        for _ in range(times):
            with pytest.raises((ValueError, TypeError, KeyError, AttributeError, struct.error)):
                lower(slot, value, frame)
            ffi.value_delete(slot)
            ffi.memory[slot] = layout.KIND_BOOL

    refuse(500)
    before = used_bytes()
    refuse(5_000)
    assert used_bytes() - before < 400 * 1024


def test_nested_options_are_refused_because_none_would_mean_two_things() -> None:
    with pytest.raises(ComponentError, match="look the same"):
        compile_plan("func(a: option<option<u8>>)")


def test_plans_are_made_once_per_text() -> None:
    text = "func(a: list<u8>) -> result<_, enum{closed}>"
    assert compile_plan(text) is compile_plan(text)


PROCESS_A = "variant{capability-denied, quota, closed, unknown(string)}"


@pytest.mark.parametrize(
    ("err", "raised", "expected"),
    [
        (PROCESS_A, WitError("quota"), ("quota", None)),
        (PROCESS_A, WitError("unknown", "why"), ("unknown", "why")),
        (PROCESS_A, WitError("no-such-process"), ("closed", None)),
        (PROCESS_A, WitError("registry-full"), ("quota", None)),
        (PROCESS_A, WitError("persist-unsupported"), ("unknown", "persist-unsupported")),
        (PROCESS_A, WitError("brand-new"), ("unknown", "brand-new")),
        (PROCESS_A, WitError("brand-new", "with text"), ("unknown", "with text")),
        (PROCESS_A, WitError("unknown"), ("unknown", "unknown")),
        (PROCESS_A, WitError("closed", "surplus"), ("closed", None)),
        ("variant{last-operation-failed(u8), closed}", WitError("unknown", "x"), ("closed", None)),
        (
            "variant{last-operation-failed(u8), closed}",
            WitError("last-operation-failed", 4),
            ("last-operation-failed", 4),
        ),
        ("enum{quota, unknown}", WitError("quota"), ("quota", None)),
        ("enum{quota, unknown}", WitError("brand-new"), ("unknown", None)),
        ("string", WitError("text"), ("text", None)),
    ],
    ids=lambda value: getattr(value, "case", None) or str(value)[:20],
)
def test_errors_take_a_case_that_the_guests_shape_has(
    err: str, raised: WitError, expected: tuple[str, object]
) -> None:
    """Spec: host-abi 1.3."""
    answer = compile_plan(f"func() -> result<_, {err}>").error_answer(raised)
    assert (answer.case, answer.payload) == expected


@pytest.mark.parametrize("err", ["variant{only(u8)}", "enum{only}"])
def test_an_error_that_nothing_fits_has_no_answer(err: str) -> None:
    with pytest.raises(NoAnswerError):
        compile_plan(f"func() -> result<_, {err}>").error_answer(WitError("other"))


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("func() -> result<_, variant{invalid-handle, closed, unknown(string)}>", "invalid-handle"),
        ("func() -> result<_, variant{closed, unknown(string)}>", "closed"),
        ("func() -> result<_, variant{quota, unknown(string)}>", "unknown"),
    ],
)
def test_a_stale_handle_is_answered_as_the_interface_says(signature: str, expected: str) -> None:
    """Spec: host-abi 2.5."""
    answer = compile_plan(signature).stale_answer()
    assert isinstance(answer, WitError)
    assert answer.case == expected


def test_a_stale_handle_of_a_function_that_cannot_fail_gives_a_harmless_value() -> None:
    assert compile_plan("func(self: borrow<a:b/c@1.0.0/d>) -> bool").stale_answer() is False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("u64", 0),
        ("f32", 0.0),
        ("string", ""),
        ("list<u8>", b""),
        ("list<string>", []),
        ("option<u8>", None),
        ("record{a: bool, b: char}", (False, "?")),
        ("tuple<u8>", (0,)),
        ("variant{a(u8), b}", ("b", None)),
        ("variant{a(u8)}", ("a", 0)),
        ("enum{x, y}", "x"),
        ("flags{x}", frozenset()),
        ("result<u8, string>", 0),
        ("own<a:b/c@1.0.0/d>", INERT),
    ],
)
def test_every_type_has_a_harmless_value(text: str, expected: object) -> None:
    assert default(parse_type(text)) == expected
