"""Values into the C API: one closure per WIT type, compiled once, writing raw memory.

Trusted with ownership: what a result carries is freed by the runtime after the host function
returned, so all of it comes from the C API's own allocators. Each closure writes into a slot that
holds a valid value and keeps it valid at every step: a container is attached while its children
are still `bool`, then they are filled. Whatever raises half-way leaves a value that can be freed.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

from astrid_engine_wasm import ffi, layout
from astrid_engine_wasm.ffi import box_new, byte_vec_new, memory
from astrid_engine_wasm.layout import (
    ENTRY_SIZE,
    ENTRY_VALUE,
    NAME_SIZE,
    PAYLOAD,
    SCALAR_KINDS,
    VALUE_SIZE,
)
from astrid_engine_wasm.lift import FORMATS, Frame
from astrid_engine_wasm.resources import HandleQuotaError, release, type_number
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
from astrid_hookspecs.engines import HostResource, WitError

Lower: TypeAlias = Callable[[int, Any, Frame], None]
"""(address of a valid value, Python value, frame) -> writes it."""

_put_word = struct.Struct("<Q").pack_into
_put_scalar = struct.Struct("<B7xQ").pack_into
_put_two = struct.Struct("<B7xQQ").pack_into
_word = struct.Struct("<Q").unpack_from

BLOCK: int = 1 << 16
"""Elements of one conversion buffer; longer byte lists cross in blocks of this size."""
_SMALL = 1 << 10
_KEPT = 4
_ELEMENT = bytes([layout.KIND_U8]) + bytes(VALUE_SIZE - 1)


class ByteBlock:
    """A run of `u8` values whose kinds are set once, so that only payloads are written.

    Attributes:
        values: The buffer; element i's payload byte is at `VALUE_SIZE * i + PAYLOAD`.
        address: Where the buffer lives.
    """

    __slots__ = ("_export", "address", "values")

    def __init__(self, elements: int) -> None:
        self.values = bytearray(_ELEMENT * elements)
        self._export = (ctypes.c_char * len(self.values)).from_buffer(self.values)
        self.address = ctypes.addressof(self._export)


_small_blocks: list[ByteBlock] = []
_large_blocks: list[ByteBlock] = []


def borrow_block(size: int) -> ByteBlock:
    """Take a buffer for up to `BLOCK` elements; the caller alone uses it until it returns it.

    `list.pop` and `append` are atomic, so threads never share a buffer.
    """
    pool, elements = (_small_blocks, _SMALL) if size <= _SMALL else (_large_blocks, BLOCK)
    try:
        return pool.pop()
    except IndexError:
        return ByteBlock(elements)


def return_block(block: ByteBlock) -> None:
    """Give a buffer back; a few are kept."""
    pool = _small_blocks if len(block.values) == _SMALL * VALUE_SIZE else _large_blocks
    if len(pool) < _KEPT:
        pool.append(block)


def write_bytes(data: int, value: bytes | bytearray | memoryview) -> None:
    """Write byte values into an array of component values at `data`, block by block."""
    size = len(value)
    block = borrow_block(size)
    try:
        for start in range(0, size, BLOCK):
            part = value if size <= BLOCK else value[start : start + BLOCK]
            length = len(part) * VALUE_SIZE
            block.values[PAYLOAD:length:VALUE_SIZE] = part
            ctypes.memmove(data + start * VALUE_SIZE, block.address, length)
    finally:
        return_block(block)


@lru_cache(maxsize=1024)
def compile_lower(item: WitType) -> Lower:  # noqa: C901, PLR0911, PLR0912 - one case per type
    """The closure that writes values of this type."""
    match item:
        case Primitive("string"):
            return lower_string
        case Primitive("char"):
            return _lower_char
        case Primitive(name):
            return _scalar(name)
        case List(Primitive("u8")):
            return lower_bytes
        case List(element):
            return _list(compile_lower(element))
        case Option(some):
            return _option(compile_lower(some))
        case Tuple(items):
            return _tuple(tuple(compile_lower(part) for part in items))
        case Record(fields):
            return _record(fields)
        case Variant(cases):
            return _variant(cases)
        case Enum(names):
            return _enum(names)
        case Flags(names):
            return _flags(names)
        case Result(ok, err):
            return _result(_maybe(ok), _maybe(err), err)
        case Handle(resource):
            return _handle(resource)


def _maybe(item: WitType | None) -> Lower | None:
    return None if item is None else compile_lower(item)


def lower_string(address: int, value: str, _frame: Frame) -> None:
    """`string`; lone surrogates, which UTF-8 cannot carry, become question marks."""
    try:
        text = value.encode()
    except UnicodeEncodeError:
        text = value.encode("utf-8", "replace")
    byte_vec_new(address + PAYLOAD, len(text), text)
    memory[address] = layout.KIND_STRING


def lower_bytes(address: int, value: bytes | bytearray | memoryview, _frame: Frame) -> None:
    """`list<u8>` from anything that is bytes."""
    if not isinstance(value, (bytes, bytearray)):
        value = bytes(memoryview(value))
    size = len(value)
    ffi.list_new(address + PAYLOAD, size)
    memory[address] = layout.KIND_LIST
    if size:
        write_bytes(_word(memory, address + PAYLOAD + 8)[0], value)


def _lower_char(address: int, value: str, _frame: Frame) -> None:
    point = ord(value)
    if 0xD800 <= point <= 0xDFFF:  # noqa: PLR2004 - surrogates are not characters
        point = ord("?")
    _put_scalar(memory, address, SCALAR_KINDS["char"], point)


def _scalar(name: str) -> Lower:
    kind = SCALAR_KINDS[name]
    if name == "bool":
        return lambda address, value, _frame: _put_scalar(memory, address, kind, bool(value))
    if name == "f32":
        cell = ctypes.c_float
        put = struct.Struct("<B7xf").pack_into
        # through C, because a double outside the range becomes infinity there, not an error
        return lambda address, value, _frame: put(memory, address, kind, cell(value).value)
    put = struct.Struct("<B7x" + FORMATS[name]).pack_into
    return lambda address, value, _frame: put(memory, address, kind, value)


def _list(lower: Lower) -> Lower:
    def lower_list(address: int, value: Any, frame: Frame) -> None:
        items = list(value)
        ffi.list_new(address + PAYLOAD, len(items))
        memory[address] = layout.KIND_LIST
        slot = _word(memory, address + PAYLOAD + 8)[0]
        for item in items:
            lower(slot, item, frame)
            slot += VALUE_SIZE

    return lower_list


def _option(lower: Lower) -> Lower:
    kind = layout.KIND_OPTION

    def lower_option(address: int, value: Any, frame: Frame) -> None:
        if value is None:
            _put_scalar(memory, address, kind, 0)
            return
        box = box_new()
        _put_scalar(memory, address, kind, box)
        lower(box, value, frame)

    return lower_option


def _tuple(lowers: tuple[Lower, ...]) -> Lower:
    count = len(lowers)

    def lower_tuple(address: int, value: Any, frame: Frame) -> None:
        if len(value) != count:
            raise TypeError(f"a tuple of {count} was expected, not {len(value)}")
        ffi.tuple_new(address + PAYLOAD, count)
        memory[address] = layout.KIND_TUPLE
        slot = _word(memory, address + PAYLOAD + 8)[0]
        for lower, item in zip(lowers, value, strict=True):
            lower(slot, item, frame)
            slot += VALUE_SIZE

    return lower_tuple


def _record(fields: tuple[tuple[str, WitType], ...]) -> Lower:
    parts = tuple((name.encode(), len(name), compile_lower(item)) for name, item in fields)
    count = len(parts)

    def lower_record(address: int, value: Any, frame: Frame) -> None:
        if not isinstance(value, tuple) or len(value) != count:
            raise TypeError(f"a record of {count} fields was expected")
        ffi.record_new(address + PAYLOAD, count)
        memory[address] = layout.KIND_RECORD
        entry = _word(memory, address + PAYLOAD + 8)[0]
        for (name, size, lower), item in zip(parts, value, strict=True):
            byte_vec_new(entry, size, name)
            lower(entry + ENTRY_VALUE, item, frame)
            entry += ENTRY_SIZE

    return lower_record


def _variant(cases: tuple[tuple[str, WitType | None], ...]) -> Lower:
    known = {name: (name.encode(), _maybe(item)) for name, item in cases}

    def lower_variant(address: int, value: tuple[str, Any], frame: Frame) -> None:
        name, payload = value
        text, lower = known[name]
        byte_vec_new(address + PAYLOAD, len(text), text)
        box = box_new() if lower else 0
        _put_word(memory, address + PAYLOAD + 16, box)
        memory[address] = layout.KIND_VARIANT
        if lower:
            lower(box, payload, frame)

    return lower_variant


def _enum(names: tuple[str, ...]) -> Lower:
    known = {name: name.encode() for name in names}

    def lower_enum(address: int, value: str, _frame: Frame) -> None:
        text = known[value]
        byte_vec_new(address + PAYLOAD, len(text), text)
        memory[address] = layout.KIND_ENUM

    return lower_enum


def _flags(names: tuple[str, ...]) -> Lower:
    known = {name: name.encode() for name in names}

    def lower_flags(address: int, value: Any, _frame: Frame) -> None:
        texts = [known[name] for name in value]
        ffi.flags_new(address + PAYLOAD, len(texts))
        memory[address] = layout.KIND_FLAGS
        slot = _word(memory, address + PAYLOAD + 8)[0]
        for text in texts:
            byte_vec_new(slot, len(text), text)
            slot += NAME_SIZE

    return lower_flags


def _result(ok: Lower | None, err: Lower | None, error_type: WitType | None) -> Lower:
    """The ok value, or a `WitError` given as a value."""
    kind = layout.KIND_RESULT

    def lower_result(address: int, value: Any, frame: Frame) -> None:
        failed = isinstance(value, WitError)
        lower = err if failed else ok
        box = box_new() if lower else 0
        _put_two(memory, address, kind, not failed, box)
        if lower:
            lower(box, error_value(value, error_type) if failed else value, frame)

    return lower_result


def error_value(error: WitError, error_type: WitType | None) -> object:
    """What the err side of a result carries for an error of this type."""
    match error_type:
        case Variant():
            return error.case, error.payload
        case Enum():
            return error.case
    return error.case if error.payload is None else error.payload


def _handle(resource: str) -> Lower:
    number = type_number(resource)

    def lower_handle(address: int, value: HostResource, frame: Frame) -> None:
        try:
            representation = frame.table.add(number, value)
        except HandleQuotaError:
            release(value)  # the handler gave it away; nobody else would
            raise
        try:
            handle = ffi.resource_out(frame.context, representation, number)
        except RuntimeError:
            frame.table.drop(representation)
            raise
        frame.made.append(handle)
        _put_scalar(memory, address, layout.KIND_RESOURCE, handle)

    return lower_handle
