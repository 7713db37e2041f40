"""Values out of the C API: one closure per WIT type, compiled once, reading raw memory.

Trusted with reading what the runtime wrote for the duration of one call; it frees nothing, because
the caller of a host function owns the arguments. How values look in Python is fixed by
`astrid_hookspecs.engines.HostInstance`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol, TypeAlias

from astrid_engine_wasm.ffi import bytes_at, memory, resource_in
from astrid_engine_wasm.layout import ENTRY_SIZE, ENTRY_VALUE, NAME_SIZE, PAYLOAD, VALUE_SIZE
from astrid_engine_wasm.resources import HandleTable, type_number
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
)
from astrid_hookspecs.engines import MAX_TEXT_BYTES, HostTrap, WitError
from astrid_hookspecs.errors import ComponentError


class Frame(Protocol):
    """What a conversion needs to know about the instance it works for."""

    context: int
    """Address of the store's context."""
    table: HandleTable
    made: list[int]
    """Addresses of owned handles that the current result carries; dropped if it fails."""


MAX_ITEMS = 65_536
"""Of one list that is not bytes. No function takes as many, and no deadline covers reading them."""

Lift: TypeAlias = Callable[[int, Frame], object]
"""(address of a value, frame) -> Python value."""

_words = struct.Struct("<QQ").unpack_from
_three_words = struct.Struct("<QQQ").unpack_from
_word = struct.Struct("<Q").unpack_from

FORMATS = {
    "s8": "b",
    "u8": "B",
    "s16": "h",
    "u16": "H",
    "s32": "i",
    "u32": "I",
    "s64": "q",
    "u64": "Q",
    "f32": "f",
    "f64": "d",
}


@lru_cache(maxsize=1024)
def compile_lift(item: WitType) -> Lift:  # noqa: C901, PLR0911 - one case per type
    """The closure that reads values of this type.

    Raises:
        ComponentError: The type has no unambiguous Python form.
    """
    match item:
        case Primitive(name):
            return _primitive(name)
        case List(Primitive("u8")):
            return lift_bytes
        case List(element):
            return _list(compile_lift(element))
        case Option(some):
            if isinstance(some, Option):
                raise ComponentError(
                    f"{item}: none inside and outside look the same", code="engine.component.type"
                )
            return _option(compile_lift(some))
        case Tuple(items):
            return _fields(tuple(compile_lift(part) for part in items), VALUE_SIZE, 0)
        case Record(fields):
            lifts = tuple(compile_lift(part) for _, part in fields)
            return _fields(lifts, ENTRY_SIZE, ENTRY_VALUE)
        case Variant(cases):
            return _variant(cases)
        case Enum(names):
            return _enum(names)
        case Flags(names):
            return _flags(names)
        case Result(ok, err):
            return _result(_maybe(ok), _maybe(err))
        case Handle(resource, owned):
            return _handle(resource, owned=owned)


def _maybe(item: WitType | None) -> Lift | None:
    return None if item is None else compile_lift(item)


def lift_bytes(address: int, _frame: Frame) -> bytes:
    """`list<u8>`: one strided copy over the elements' payload bytes."""
    size, data = _words(memory, address + PAYLOAD)
    if not size:
        return b""
    return bytes_at(data)[PAYLOAD : size * VALUE_SIZE : VALUE_SIZE]


def lift_string(address: int, _frame: Frame) -> str:
    """`string`: the runtime checked that it is UTF-8."""
    size, data = _words(memory, address + PAYLOAD)
    return text_at(data, size)


def text_at(data: int, size: int) -> str:
    """A text in memory; its beginning where it is longer than any that a function takes.

    Decoding holds the interpreter, and everybody waits for as long as a guest's text is.
    """
    if size > MAX_TEXT_BYTES:
        return str(memory[data : data + MAX_TEXT_BYTES], "utf-8", "ignore")
    return str(memory[data : data + size], "utf-8")


def _primitive(name: str) -> Lift:
    if name == "string":
        return lift_string
    if name == "bool":
        return lambda address, _frame: memory[address + PAYLOAD] != 0
    if name == "u8":
        return lambda address, _frame: memory[address + PAYLOAD]
    if name == "char":
        point = struct.Struct("<I").unpack_from
        return lambda address, _frame: chr(point(memory, address + PAYLOAD)[0])
    read = struct.Struct("<" + FORMATS[name]).unpack_from
    return lambda address, _frame: read(memory, address + PAYLOAD)[0]


def _list(lift: Lift) -> Lift:
    def lift_list(address: int, frame: Frame) -> list[object]:
        size, data = _words(memory, address + PAYLOAD)
        if size > MAX_ITEMS:
            raise HostTrap(f"a list of {size} items; at most {MAX_ITEMS} can cross")
        stop = data + size * VALUE_SIZE
        return [lift(element, frame) for element in range(data, stop, VALUE_SIZE)]

    return lift_list


def _option(lift: Lift) -> Lift:
    def lift_option(address: int, frame: Frame) -> object:
        some = _word(memory, address + PAYLOAD)[0]
        return lift(some, frame) if some else None

    return lift_option


def _fields(lifts: tuple[Lift, ...], stride: int, first: int) -> Lift:
    """Records and tuples: same order, other distance between the values."""
    places = tuple((lift, first + stride * index) for index, lift in enumerate(lifts))

    def lift_fields(address: int, frame: Frame) -> tuple[object, ...]:
        data = _words(memory, address + PAYLOAD)[1]
        return tuple([lift(data + offset, frame) for lift, offset in places])

    return lift_fields


def _variant(cases: tuple[tuple[str, WitType | None], ...]) -> Lift:
    known = {name.encode(): (name, _maybe(part)) for name, part in cases}

    def lift_variant(address: int, frame: Frame) -> tuple[str, object]:
        size, data, payload = _three_words(memory, address + PAYLOAD)
        name, lift = known[memory[data : data + size].tobytes()]
        return name, lift(payload, frame) if lift else None

    return lift_variant


def _enum(names: tuple[str, ...]) -> Lift:
    known = {name.encode(): name for name in names}

    def lift_enum(address: int, _frame: Frame) -> str:
        size, data = _words(memory, address + PAYLOAD)
        return known[memory[data : data + size].tobytes()]

    return lift_enum


def _flags(names: tuple[str, ...]) -> Lift:
    known = {name.encode(): name for name in names}

    def lift_flags(address: int, _frame: Frame) -> frozenset[str]:
        count, first = _words(memory, address + PAYLOAD)
        found = []
        for entry in range(first, first + count * NAME_SIZE, NAME_SIZE):
            size, data = _words(memory, entry)
            found.append(known[memory[data : data + size].tobytes()])
        return frozenset(found)

    return lift_flags


def _result(ok: Lift | None, err: Lift | None) -> Lift:
    """A result inside another value: the ok value, or a `WitError` as a value."""

    def lift_result(address: int, frame: Frame) -> object:
        is_ok, payload = _words(memory, address + PAYLOAD)
        lift = ok if is_ok & 0xFF else err
        value = lift(payload, frame) if lift else None
        if is_ok & 0xFF:
            return value
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):  # noqa: PLR2004
            return WitError(value[0], value[1])
        return WitError(value) if isinstance(value, str) else WitError("error", value)

    return lift_result


def _handle(resource: str, *, owned: bool) -> Lift:
    """Handles: given up before anything else can fail, then looked up."""
    expected = type_number(resource)

    def lift_handle(address: int, frame: Frame) -> object:
        handle = _word(memory, address + PAYLOAD)[0]
        representation, number = resource_in(frame.context, handle)
        if number != expected:
            raise TypeError(f"a handle of {resource} was expected")
        if owned:
            return frame.table.take(number, representation)
        return frame.table.get(number, representation)

    return lift_handle
