"""Adds to a component a function that tells how large its linear memories are.

The runtime library limits memories and does not say how large they have become. So the compiled
form of a component gets one more export, `GAUGE`: a module of our own that imports the memories
which the component itself names, and adds up their sizes. It reads nothing else, it runs none of
the guest's code, and the guest cannot reach it.

Trusted with leaving everything that was there as it was: sections are appended, never changed. A
component that is put together in an unusual way is left alone.

Spec: host-abi 16.4.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from astrid_engine_wasm.binary import (
    CORE_MODULE,
    MODULE_PREAMBLE,
    SORT_COMPONENT,
    SORT_FUNCTION,
    BinaryError,
    Reader,
    open_binary,
    read_extern_name,
    read_extern_type,
    sections,
)
from astrid_engine_wasm.footprint import Footprint

GAUGE: Final = "astrid-memory-pages"
"""The export; a component that has one of this name is refused."""
MAX_GAUGED: Final = 16
"""Memories; those that tool chains make have one."""

_MODULES, _CORE_INSTANCES, _TYPES, _CANONS = 1, 2, 7, 8
_ALIASES, _STARTS, _IMPORTS, _EXPORTS, _VALUES = 6, 9, 10, 11, 12
_SORT_CORE, _SORT_TYPE, _SORT_INSTANCE, _SORT_MAX = 0, 3, 5, 5
_CORE_FUNCTION, _CORE_MEMORY = 0, 2
_MEMORY_SORT: Final = 0x100 + _CORE_MEMORY
_CORE_FUNCTION_SORT: Final = 0x100 + _CORE_FUNCTION
_LIFT, _LOWER = 0, 1
_RESOURCE_BUILTINS: Final = frozenset({2, 3, 4})
_PLAIN_OPTIONS: Final = frozenset({0, 1, 2})
_INDEXED_OPTIONS: Final = frozenset({3, 4, 5})
_ALIAS_CORE_EXPORT, _ALIAS_OUTER = 1, 2


def with_gauge(wasm: bytes, footprint: Footprint) -> bytes | None:
    """The component with the export `GAUGE`, a `func() -> u32`.

    Args:
        wasm: A valid component.
        footprint: What one instance of it creates.

    Returns:
        None where it names no memory, or its memories cannot be told apart.
    """
    spaces = _Spaces()
    try:
        spaces.read(wasm)
    except BinaryError:
        return None
    count = len(spaces.memories)
    if not 0 < count <= min(MAX_GAUGED, footprint.memories.total()):
        return None
    return wasm + b"".join(_appendix(spaces))


class _Spaces:
    """How far the index spaces of a component are filled.

    Attributes:
        memories: Index of each memory that the component names, by instance and export.
    """

    def __init__(self) -> None:
        self.modules = self.core_instances = self.core_functions = 0
        self.types = self.functions = 0
        self.memories: dict[tuple[int, str], int] = {}
        self._memory_count = 0

    def read(self, wasm: bytes) -> None:
        """Count.

        Raises:
            BinaryError: It has something that is not counted here.
        """
        reader = Reader(wasm)
        if open_binary(reader):
            raise BinaryError("a core module is no component")
        entries = {
            _ALIASES: self._alias,
            _CANONS: self._canon,
            _IMPORTS: self._import,
            _EXPORTS: self._export,
        }
        for section in sections(reader):
            body = section.body
            if section.id == _MODULES:
                self.modules += 1
            elif section.id == _CORE_INSTANCES:
                self.core_instances += body.u32()
            elif section.id == _TYPES:
                self.types += body.u32()
            elif section.id in (_STARTS, _VALUES):
                raise BinaryError("it has values")
            elif section.id in entries:
                for _ in range(body.u32()):
                    entries[section.id](body)
                body.expect_end()

    def _alias(self, body: Reader) -> None:
        sort, target, instance = _read_sort(body), body.byte(), body.u32()
        if target == _ALIAS_OUTER:
            body.u32()
        else:
            name = body.name()
            if sort == _MEMORY_SORT and target == _ALIAS_CORE_EXPORT:
                self.memories.setdefault((instance, name), self._memory_count)
        self._count(sort)

    def _canon(self, body: Reader) -> None:
        kind = body.byte()
        if kind in (_LIFT, _LOWER):
            if body.byte() != 0:
                raise BinaryError("unknown form of a canonical function")
            body.u32()
            for _ in range(body.u32()):
                option = body.byte()
                if option in _INDEXED_OPTIONS:
                    body.u32()
                elif option not in _PLAIN_OPTIONS:
                    raise BinaryError(f"unknown option {option}")
        elif kind not in _RESOURCE_BUILTINS:
            raise BinaryError(f"unknown canonical function {kind}")
        if kind != _LOWER:
            body.u32()
        self._count(SORT_FUNCTION if kind == _LIFT else _CORE_FUNCTION_SORT)

    def _import(self, body: Reader) -> None:
        read_extern_name(body)
        self._count(read_extern_type(body))

    def _export(self, body: Reader) -> None:
        read_extern_name(body)
        sort = _read_sort(body)
        body.u32()
        if body.byte():
            read_extern_type(body)
        self._count(sort)

    def _count(self, sort: int) -> None:
        if sort == CORE_MODULE:
            self.modules += 1
        elif sort == _CORE_FUNCTION_SORT:
            self.core_functions += 1
        elif sort == _MEMORY_SORT:
            self._memory_count += 1
        elif sort == _SORT_TYPE:
            self.types += 1
        elif sort == SORT_FUNCTION:
            self.functions += 1


def _read_sort(body: Reader) -> int:
    """A sort; those of core items, modules apart, with 0x100 added."""
    sort = body.byte()
    if sort == _SORT_CORE:
        core = body.byte()
        return core if core == CORE_MODULE else 0x100 + core
    if sort not in (SORT_FUNCTION, _SORT_TYPE, SORT_COMPONENT, _SORT_INSTANCE):
        raise BinaryError(f"unknown sort {sort}")
    return sort


def _appendix(spaces: _Spaces) -> Iterator[bytes]:
    memories = list(spaces.memories.values())
    named = b"".join(
        _name(str(at)) + bytes([_CORE_MEMORY]) + _u32(index) for at, index in enumerate(memories)
    )
    bundle, gauge = spaces.core_instances, spaces.core_instances + 1
    yield _section(_MODULES, _module(len(memories)))
    yield _section(
        _CORE_INSTANCES,
        _u32(2)
        + (b"\x01" + _u32(len(memories)) + named)
        + (b"\x00" + _u32(spaces.modules) + _u32(1) + _name("m") + b"\x12" + _u32(bundle)),
    )
    yield _section(_ALIASES, _u32(1) + b"\x00\x00\x01" + _u32(gauge) + _name("pages"))
    yield _section(_TYPES, _u32(1) + b"\x40\x00\x00\x79")
    lift = b"\x00\x00" + _u32(spaces.core_functions) + _u32(0) + _u32(spaces.types)
    yield _section(_CANONS, _u32(1) + lift)
    export = b"\x00" + _name(GAUGE) + b"\x01" + _u32(spaces.functions) + b"\x00"
    yield _section(_EXPORTS, _u32(1) + export)


def _module(memories: int) -> bytes:
    """A core module that imports memories and exports the sum of their sizes in pages."""
    imports = b"".join(_name("m") + _name(str(at)) + b"\x02\x00\x00" for at in range(memories))
    sizes = b"".join(b"\x3f" + _u32(at) for at in range(memories))
    code = b"\x00" + sizes + b"\x6a" * (memories - 1) + b"\x0b"
    return (
        MODULE_PREAMBLE
        + _section(1, _u32(1) + b"\x60\x00\x01\x7f")
        + _section(2, _u32(memories) + imports)
        + _section(3, _u32(1) + _u32(0))
        + _section(7, _u32(1) + _name("pages") + b"\x00" + _u32(0))
        + _section(10, _u32(1) + _u32(len(code)) + code)
    )


def _section(number: int, body: bytes) -> bytes:
    return bytes([number]) + _u32(len(body)) + body


def _name(text: str) -> bytes:
    return _u32(len(text)) + text.encode()


def _u32(value: int) -> bytes:
    """Unsigned LEB128."""
    out = bytearray()
    while value >= 0x80:  # noqa: PLR2004 - the continuation bit
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
