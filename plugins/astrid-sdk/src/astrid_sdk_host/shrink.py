"""Leave out of a component what nothing in it uses: debug names, and exports nobody imports.

The linker of the tool chain exports every function of every library. An export costs more than its
name: the engine compiles an entry for it, and reads its name at every load. Code, data and indexes
stay as they are, so the component does what it did before.

An export is kept when any import or alias in the whole component has its name. That is a few more
than needed and takes no bookkeeping of instances: nobody can reach a core export in another way,
because core modules are not visible outside their component.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from astrid_sdk_host.leb import Cursor, UnknownFormError, number

_log = logging.getLogger(__name__)

_PREAMBLE_BYTES: Final = 8
_MODULE: Final = b"\0asm\x01\0\0\0"
_COMPONENT: Final = b"\0asm\x0d\0\x01\0"
_CUSTOM: Final = 0
_MODULE_IMPORT, _MODULE_EXPORT = 2, 7
_CORE_MODULE, _NESTED, _ALIAS = 1, 4, 6
_NAMES: Final = frozenset({"name", "component-name"})
"""Custom sections that only debuggers and backtraces read."""

_FUNCTION, _TABLE, _MEMORY, _GLOBAL, _TAG = range(5)
_CORE_SORT: Final = 0
_CORE_EXPORT_ALIAS, _OUTER_ALIAS = 1, 2
_HAS_MAXIMUM: Final = 1


class _Section(NamedTuple):
    id: int
    start: int
    end: int


def shrink(component: bytes) -> bytes:
    """The same component without debug names and without exports that nothing in it uses.

    Raises:
        UnknownFormError: It is no component, is cut off, or uses a newer binary format.
    """
    if component[:_PREAMBLE_BYTES] != _COMPONENT:
        raise UnknownFormError("not a component")
    end = len(component)
    return _rewritten(component, 0, end, used=_used(component, 0, end), core=False)


def shrink_file(path: Path) -> None:
    """Shrink a component in place; one of an unknown form stays as it is."""
    try:
        small = shrink(path.read_bytes())
    except UnknownFormError as error:
        _log.warning("%s keeps what it does not use: %s", path.name, error)
    else:
        path.write_bytes(small)


def _sections(data: bytes, start: int, end: int) -> Iterator[_Section]:
    cursor = Cursor(data, start + _PREAMBLE_BYTES, end)
    while not cursor.at_end:
        kind = cursor.byte()
        size = cursor.number()
        body = cursor.position
        cursor.skip(size)
        yield _Section(kind, body, body + size)


def _used(data: bytes, start: int, end: int) -> frozenset[str]:
    """Every name that an import of a core module or an alias asks for."""
    found: set[str] = set()
    for kind, first, last in _sections(data, start, end):
        if kind == _CORE_MODULE:
            found.update(_imported(data, first, last))
        elif kind == _NESTED:
            found |= _used(data, first, last)
        elif kind == _ALIAS:
            found.update(_aliased(Cursor(data, first, last)))
    return frozenset(found)


def _imported(data: bytes, start: int, end: int) -> Iterator[str]:
    if data[start : start + _PREAMBLE_BYTES] != _MODULE:
        raise UnknownFormError("a core module of another version")
    for kind, first, last in _sections(data, start, end):
        if kind == _MODULE_IMPORT:
            cursor = Cursor(data, first, last)
            for _ in range(cursor.number()):
                cursor.name()
                yield cursor.name()
                _skip_import_type(cursor)


def _skip_import_type(cursor: Cursor) -> None:
    kind = cursor.byte()
    if kind == _FUNCTION:
        cursor.number()
    elif kind in (_TABLE, _MEMORY):
        if kind == _TABLE:
            cursor.skip(1)
        flags = cursor.byte()
        if flags > _HAS_MAXIMUM:
            raise UnknownFormError("limits of an unknown form")
        cursor.number()
        if flags:
            cursor.number()
    elif kind == _GLOBAL:
        cursor.skip(2)
    elif kind == _TAG:
        cursor.skip(1)
        cursor.number()
    else:
        raise UnknownFormError("an import of an unknown kind")


def _aliased(cursor: Cursor) -> Iterator[str]:
    for _ in range(cursor.number()):
        if cursor.byte() == _CORE_SORT:
            cursor.skip(1)
        target = cursor.byte()
        cursor.number()
        if target == _OUTER_ALIAS:
            cursor.number()
        elif target <= _CORE_EXPORT_ALIAS:
            yield cursor.name()
        else:
            raise UnknownFormError("an alias of an unknown kind")


def _rewritten(data: bytes, start: int, end: int, *, used: frozenset[str], core: bool) -> bytes:
    """A component, or a core module, with every part that it contains."""
    parts = [data[start : start + _PREAMBLE_BYTES]]
    for kind, first, last in _sections(data, start, end):
        if kind == _CUSTOM and Cursor(data, first, last).name() in _NAMES:
            continue
        if core and kind == _MODULE_EXPORT:
            body = _exports(Cursor(data, first, last), used=used)
        elif not core and kind in (_CORE_MODULE, _NESTED):
            body = _rewritten(data, first, last, used=used, core=kind == _CORE_MODULE)
        else:
            body = data[first:last]
        parts += [bytes([kind]), number(len(body)), body]
    return b"".join(parts)


def _exports(cursor: Cursor, *, used: frozenset[str]) -> bytes:
    kept = []
    for _ in range(cursor.number()):
        start = cursor.position
        name = cursor.name()
        cursor.skip(1)
        cursor.number()
        if name in used:
            kept.append(cursor.since(start))
    return number(len(kept)) + b"".join(kept)
