"""Counts the memories and tables a component creates, so that limits on their sums can be held.

The runtime library limits each memory and table by itself, and their number. With the number and
the declared maxima known, the largest common bound that keeps a sum under its limit follows. Pure;
trusted with hostile bytes: multiplicities are counted, never expanded, and a component whose
memories cannot be counted is refused.

Spec: host-abi 16.4.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, NamedTuple

from astrid_engine_wasm.binary import (
    CORE_MODULE,
    MAX_NESTING,
    SORT_COMPONENT,
    BinaryError,
    Reader,
    open_binary,
    read_extern_name,
    read_extern_type,
    read_sort,
    sections,
)

PAGE_BYTES: Final = 65_536
MAX_MEMORIES: Final = 100
"""Memories of one instance; the core specification's own bound for one module."""
MAX_TABLES: Final = 1000
"""Tables of one instance; composed components have a small one for each of their parts."""

_CORE_TABLE_SECTION: Final = 4
_CORE_MEMORY_SECTION: Final = 5
_REFERENCE_TYPES: Final = frozenset({0x6F, 0x70})
_MODULE, _CORE_INSTANCE, _COMPONENT, _INSTANCE, _ALIAS, _IMPORT, _EXPORT = 1, 2, 4, 5, 6, 10, 11
_INSTANTIATE, _INLINE = 0, 1
_ALIAS_EXPORT, _ALIAS_CORE_EXPORT, _ALIAS_OUTER = 0, 1, 2
_HAS_MAX: Final = 0x01


class Shape(NamedTuple):
    """The declared size of one linear memory, in bytes, or of one table, in elements.

    Attributes:
        minimum: Size when it is created.
        maximum: Largest size it may grow to, None when it declares none.
    """

    minimum: int
    maximum: int | None


Shapes = Counter[Shape]


class Footprint(NamedTuple):
    """What instantiating something once creates."""

    memories: Shapes
    tables: Shapes

    @property
    def least_bytes(self) -> int:
        """What the memories of an instance take at least."""
        return sum(shape.minimum * count for shape, count in self.memories.items())

    def add(self, other: Footprint) -> None:
        """Count what another one creates to this one."""
        self.memories.update(other.memories)
        self.tables.update(other.tables)


def read_footprint(wasm: bytes) -> Footprint:
    """Count what one instance of a component creates.

    Raises:
        BinaryError: The binary is malformed, creates more than `MAX_MEMORIES` memories or
            `MAX_TABLES` tables, or passes core modules around in a way that hides how often they
            are instantiated.
    """
    reader = Reader(wasm)
    if open_binary(reader):
        raise BinaryError("a core module is no component")
    footprint = _Component(parents=()).read(reader)
    if footprint.memories.total() > MAX_MEMORIES:
        raise BinaryError(f"it creates more than {MAX_MEMORIES} linear memories")
    if footprint.tables.total() > MAX_TABLES:
        raise BinaryError(f"it creates more than {MAX_TABLES} tables")
    return footprint


def bound_each(shapes: Shapes, *, limit: int) -> int:
    """The largest bound on each one under which all of them together stay within a limit.

    One that declares a smaller maximum counts with that maximum; the others share the rest.
    """
    rest = limit
    open_count = shapes.total()
    for shape, count in sorted(shapes.items(), key=_by_maximum):
        share = rest // open_count
        if shape.maximum is None or shape.maximum > share:
            return share
        rest -= shape.maximum * count
        open_count -= count
    return limit


def _by_maximum(item: tuple[Shape, int]) -> float:
    return float("inf") if item[0].maximum is None else item[0].maximum


def _nothing() -> Footprint:
    return Footprint(Counter(), Counter())


class _Component:
    """Follows the module and component index spaces of one component definition."""

    def __init__(self, *, parents: tuple[_Component, ...]) -> None:
        if len(parents) > MAX_NESTING:
            raise BinaryError("components are nested too deeply")
        self._scopes = (self, *parents)
        self._modules: list[Footprint | None] = []
        self._components: list[Footprint | None] = []
        self._created = _nothing()

    def read(self, reader: Reader) -> Footprint:
        for section in sections(reader):
            body = section.body
            if section.id == _MODULE:
                self._modules.append(_read_module(body))
            elif section.id == _COMPONENT:
                if open_binary(body):
                    raise BinaryError("a core module stands where a component belongs")
                self._components.append(_Component(parents=self._scopes).read(body))
            elif section.id in _ENTRIES:
                entry = _ENTRIES[section.id]
                for _ in range(body.u32()):
                    entry(self, body)
                body.expect_end()
        return self._created

    def core_instance(self, body: Reader) -> None:
        form = body.byte()
        if form == _INSTANTIATE:
            self._create(self._modules, body.u32(), "core module")
            for _ in range(body.u32()):
                body.name()
                body.byte()
                body.u32()
        elif form == _INLINE:
            for _ in range(body.u32()):
                body.name()
                body.byte()
                body.u32()
        else:
            raise BinaryError(f"unknown form {form} of a core instance")

    def instance(self, body: Reader) -> None:
        form = body.byte()
        if form == _INSTANTIATE:
            self._create(self._components, body.u32(), "component")
            for _ in range(body.u32()):
                body.name()
                read_sort(body)
                body.u32()
        elif form == _INLINE:
            for _ in range(body.u32()):
                read_extern_name(body)
                read_sort(body)
                body.u32()
        else:
            raise BinaryError(f"unknown form {form} of an instance")

    def alias(self, body: Reader) -> None:
        sort = read_sort(body)
        target = body.byte()
        if target in (_ALIAS_EXPORT, _ALIAS_CORE_EXPORT):
            body.u32()
            body.name()
            self._add(sort, None)
        elif target == _ALIAS_OUTER:
            level, index = body.u32(), body.u32()
            if level >= len(self._scopes):
                raise BinaryError("an alias points outside the component")
            self._add(sort, self._scopes[level].lookup(sort, index))
        else:
            raise BinaryError(f"unknown alias target {target}")

    def import_(self, body: Reader) -> None:
        read_extern_name(body)
        self._add(read_extern_type(body), None)

    def export(self, body: Reader) -> None:
        read_extern_name(body)
        sort = read_sort(body)
        self._add(sort, self.lookup(sort, body.u32()))
        flag = body.byte()
        if flag == 1:
            read_extern_type(body)
        elif flag != 0:
            raise BinaryError(f"unknown flag {flag} behind an export")

    def lookup(self, sort: int, index: int) -> Footprint | None:
        space = self._space(sort)
        if space is None:
            return None
        if index >= len(space):
            raise BinaryError(f"index {index} is not defined")
        return space[index]

    def _space(self, sort: int) -> list[Footprint | None] | None:
        if sort == CORE_MODULE:
            return self._modules
        return self._components if sort == SORT_COMPONENT else None

    def _add(self, sort: int, item: Footprint | None) -> None:
        space = self._space(sort)
        if space is not None:
            space.append(item)

    def _create(self, space: list[Footprint | None], index: int, what: str) -> None:
        if index >= len(space):
            raise BinaryError(f"{what} {index} is not defined")
        item = space[index]
        if item is None:
            raise BinaryError(f"it instantiates a {what} that it received as a value")
        self._created.add(item)


_ENTRIES: Final = {
    _CORE_INSTANCE: _Component.core_instance,
    _INSTANCE: _Component.instance,
    _ALIAS: _Component.alias,
    _IMPORT: _Component.import_,
    _EXPORT: _Component.export,
}


def _read_module(reader: Reader) -> Footprint:
    if not open_binary(reader):
        raise BinaryError("a component stands where a core module belongs")
    footprint = _nothing()
    for section in sections(reader):
        body = section.body
        if section.id == _CORE_MEMORY_SECTION:
            for _ in range(body.u32()):
                footprint.memories[_read_limits(body, unit=PAGE_BYTES)] += 1
            body.expect_end()
        elif section.id == _CORE_TABLE_SECTION:
            for _ in range(body.u32()):
                if body.byte() not in _REFERENCE_TYPES:
                    raise BinaryError("unknown form of a table")
                footprint.tables[_read_limits(body, unit=1)] += 1
            body.expect_end()
    return footprint


def _read_limits(body: Reader, *, unit: int) -> Shape:
    flags = body.byte()
    if flags & ~_HAS_MAX:
        raise BinaryError(f"unsupported kind {flags:#x} of memory or table")
    minimum = body.u32()
    maximum = body.u32() if flags & _HAS_MAX else None
    return Shape(minimum * unit, None if maximum is None else maximum * unit)
