"""Values of every shape cross in both directions through a real guest."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astrid_engine_wasm import lift
from astrid_engine_wasm.binding import Cause, GuestFailure, GuestInstance
from astrid_engine_wasm.lower import BLOCK
from astrid_engine_wasm.wit_types import (
    Enum,
    Flags,
    Handle,
    List,
    Option,
    Primitive,
    Record,
    Result,
    Tuple,
    Variant,
    WitType,
    parse_type,
)
from astrid_hookspecs.engines import MIB, WitError

Bind = Callable[..., GuestInstance]
IPC_ERROR = "variant{capability-denied, closed, unknown(string)}"
ENVELOPE = (
    "record{messages: list<record{topic: string, payload: string, principal: "
    "variant{verified(string), claimed(string), system}}>, dropped: u64}"
)

SHAPES: dict[str, list[object]] = {
    "bool": [True, False],
    "u8": [0, 255],
    "s8": [-128, 127],
    "u16": [0, 65535],
    "s16": [-32768, 32767],
    "u32": [0, 2**32 - 1],
    "s32": [-(2**31), 2**31 - 1],
    "u64": [0, 2**64 - 1],
    "s64": [-(2**63), 2**63 - 1],
    "f32": [0.0, -1.5, math.inf],
    "f64": [0.1, -math.inf, 5e-324],
    "char": ["a", "\U0001f600", "\0"],
    "string": ["", "plain", "käse\0\U0001f600", "x" * 70_000],
    "list<u8>": [b"", b"\0", bytes(range(256)) * 5, b"ab" * BLOCK],
    "list<u16>": [[], [1, 65535]],
    "list<string>": [[], ["", "a", "bc"]],
    "list<list<u8>>": [[b"", b"x" * 2000], []],
    "option<string>": [None, "", "some"],
    "option<list<u8>>": [None, b"", b"some"],
    "tuple<u8, string>": [(7, "seven")],
    "record{a: u8, next-cursor: option<string>}": [(1, None), (2, "c")],
    "variant{none-here, text(string), pair(tuple<u8, u8>)}": [
        ("none-here", None),
        ("text", ""),
        ("pair", (1, 2)),
    ],
    "enum{term, hup, usr1}": ["term", "usr1"],
    "flags{read, write, exec}": [frozenset(), frozenset({"read", "exec"})],
    ENVELOPE: [
        ([], 0),
        ([("a.b", "{}", ("verified", "alice")), ("c", "1", ("system", None))], 3),
    ],
}


class _Wat:
    """Component text for types; named types are exported, as the binary format demands."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def type(self, item: WitType) -> str:  # noqa: PLR0911 - one case per type
        match item:
            case Primitive(name):
                return name
            case List(element):
                return f"(list {self.type(element)})"
            case Option(some):
                return f"(option {self.type(some)})"
            case Tuple(items):
                return f"(tuple {' '.join(map(self.type, items))})"
            case Result(ok, err):
                left = "" if ok is None else self.type(ok)
                return f"(result {left}" + (")" if err is None else f" (error {self.type(err)}))")
            case Record(fields):
                parts = " ".join(f'(field "{name}" {self.type(part)})' for name, part in fields)
                return self.named(f"(record {parts})")
            case Variant(cases):
                parts = " ".join(
                    f'(case "{name}" {"" if part is None else self.type(part)})'
                    for name, part in cases
                )
                return self.named(f"(variant {parts})")
            case Enum(names) | Flags(names):
                kind = "enum" if isinstance(item, Enum) else "flags"
                quoted = " ".join(f'"{name}"' for name in names)
                return self.named(f"({kind} {quoted})")
            case Handle():
                raise NotImplementedError

    def named(self, text: str) -> str:
        number = len(self.lines)
        self.lines.append(
            f'(type $r{number} {text}) (export "t{number}" (type $t{number} (eq $r{number})))'
        )
        return f"$t{number}"


def mirror(text: str) -> str:
    """A guest whose `run` hands the list that `give` returned to `take`."""
    wat = _Wat()
    item = wat.type(parse_type(text))
    return f"""
    (component
      (import "test:values/host@1.0.0" (instance $host {" ".join(wat.lines)}
        (export "give" (func (result (list {item}))))
        (export "take" (func (param "values" (list {item}))))))
      (core module $libc
        (memory (export "memory") 64)
        (global $next (mut i32) (i32.const 256))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
          (local $at i32)
          (local.set $at (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
          (global.set $next (i32.add (local.get $at) (local.get 3)))
          (local.get $at)))
      (core instance $libc (instantiate $libc))
      (core func $give (canon lower (func $host "give") (memory (core memory $libc "memory"))
        (realloc (core func $libc "realloc"))))
      (core func $take (canon lower (func $host "take") (memory (core memory $libc "memory"))
        (realloc (core func $libc "realloc"))))
      (core module $m
        (import "l" "memory" (memory 1))
        (import "h" "give" (func $give (param i32)))
        (import "h" "take" (func $take (param i32 i32)))
        (func (export "run")
          (call $give (i32.const 128))
          (call $take (i32.load (i32.const 128)) (i32.load (i32.const 132)))))
      (core instance $i (instantiate $m (with "l" (instance $libc))
        (with "h" (instance (export "give" (func $give)) (export "take" (func $take))))))
      (func (export "run") (canon lift (core func $i "run"))))
    """


def through_a_guest(bind: Bind, text: str, values: object) -> Any:
    seen: list[Any] = []
    guest = bind(mirror(text), {"give": lambda: values, "take": seen.append})
    guest.call_void("run")
    assert guest.failure is None
    return seen[0]


@pytest.mark.parametrize("text", SHAPES, ids=lambda text: text[:30])
def test_values_come_back_from_a_guest_as_they_went(bind_guest: Bind, text: str) -> None:
    values = SHAPES[text]
    expected: Any = values if text != "u8" else b"\x00\xff"
    assert through_a_guest(bind_guest, text, expected) == expected


def test_not_a_number_stays_not_a_number(bind_guest: Bind) -> None:
    (found,) = through_a_guest(bind_guest, "f64", [math.nan])
    assert math.isnan(found)
    (found,) = through_a_guest(bind_guest, "f32", [-math.nan])
    assert math.isnan(found)


def test_a_double_too_large_for_f32_becomes_infinite(bind_guest: Bind) -> None:
    assert through_a_guest(bind_guest, "f32", [1e300, -1e300]) == [math.inf, -math.inf]


def test_lone_surrogates_become_question_marks(bind_guest: Bind) -> None:
    assert through_a_guest(bind_guest, "string", ["a\ud800b"]) == ["a?b"]
    assert through_a_guest(bind_guest, "char", ["\udfff"]) == ["?"]


def test_the_beginning_of_a_text_crosses_that_is_longer_than_any_function_takes(
    bind_guest: Bind, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lift.MAX_TEXT_BYTES == 8 * MIB
    monkeypatch.setattr(lift, "MAX_TEXT_BYTES", 5)
    texts = ["12345", "123456", "1234\xe4", "1234\U0001f600"]
    assert through_a_guest(bind_guest, "string", texts) == ["12345", "12345", "1234", "1234"]


def test_a_list_longer_than_any_function_takes_is_a_trap(
    bind_guest: Bind, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lift.MAX_ITEMS == 65_536
    monkeypatch.setattr(lift, "MAX_ITEMS", 2)
    assert through_a_guest(bind_guest, "u16", [1, 2]) == [1, 2]
    guest = bind_guest(mirror("u16"), {"give": lambda: [1, 2, 3], "take": print})
    with pytest.raises(GuestFailure) as caught:
        guest.call_void("run")
    assert caught.value.trap_code is Cause.HOST
    assert "a list of 3 items; at most 2 can cross" in str(caught.value)


def test_anything_that_is_bytes_crosses_as_bytes(bind_guest: Bind) -> None:
    values = [bytearray(b"ab"), memoryview(b"abcd")[::2], b"c"]
    assert through_a_guest(bind_guest, "list<u8>", values) == [b"ab", b"ac", b"c"]


def test_results_inside_values_are_the_value_or_an_error(bind_guest: Bind) -> None:
    values = ["ok", WitError("unknown", "why"), WitError("closed")]
    first, second, third = through_a_guest(bind_guest, f"result<string, {IPC_ERROR}>", values)
    assert first == "ok"
    assert (second.case, second.payload) == ("unknown", "why")
    assert (third.case, third.payload) == ("closed", None)


def test_results_without_payloads_cross(bind_guest: Bind) -> None:
    ok, failed = through_a_guest(bind_guest, "result", [None, WitError("error")])
    assert ok is None
    assert isinstance(failed, WitError)


_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "u8": st.integers(0, 255),
    "s64": st.integers(-(2**63), 2**63 - 1),
    "f64": st.floats(allow_nan=False),
    "string": st.text(max_size=20),
    "list<u8>": st.binary(max_size=40),
    "enum{a, b}": st.sampled_from(["a", "b"]),
}


@st.composite
def typed_values(draw: st.DrawFn, *, depth: int = 3) -> tuple[str, st.SearchStrategy[Any]]:
    """A type text and a strategy for its values."""
    kind = draw(st.sampled_from([*_VALUES, *(["list", "option", "pair", "case"] if depth else [])]))
    if kind in _VALUES:
        return kind, _VALUES[kind]
    text, values = draw(typed_values(depth=depth - 1))
    if kind == "list":
        return (text, values) if text == "u8" else (f"list<{text}>", st.lists(values, max_size=4))
    if kind == "option":
        if text.startswith("option"):
            return text, values
        return f"option<{text}>", st.none() | values
    if kind == "case":
        cases = st.just(("none", None)) | values.map(lambda value: ("some", value))
        return f"variant{{none, some({text})}}", cases
    other, others = draw(typed_values(depth=depth - 1))
    kind = draw(st.sampled_from(["tuple<{}, {}>", "record{{a: {}, b-c: {}}}"]))
    return kind.format(text, other), st.tuples(values, others)


@settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(data=st.data())
def test_any_value_of_any_type_survives_a_guest(bind_guest: Bind, data: st.DataObject) -> None:
    text, values = data.draw(typed_values())
    items = data.draw(st.lists(values, max_size=3))
    expected = bytes(items) if text == "u8" else items
    assert through_a_guest(bind_guest, text, expected) == expected


@pytest.mark.slow
def test_a_list_over_the_runtimes_budget_stops_the_guest(bind_guest: Bind) -> None:
    """The runtime refuses more than 2,796,202 bytes from guest to host. Spec: host-abi 22.2."""
    assert len(through_a_guest(bind_guest, "u8", bytes(2_796_202))) == 2_796_202
    with pytest.raises(GuestFailure) as caught:
        through_a_guest(bind_guest, "u8", bytes(2_796_203))
    assert caught.value.trap_code is Cause.TOO_LARGE
