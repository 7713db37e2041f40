"""Leaves out of compiled code what only somebody who debugs it reads.

Every byte of an artefact is hashed at every load. A tenth of them are the symbols of functions and
a map from machine code to places in the component. The runtime finds both by the name of their
section, does without them, and reports traps the same; their backtraces lack offsets, which are of
no use once a component has no debug names.

Runs in the compiling child, and pure: bytes in, bytes out. An object file that has anything unusual
is left as it is.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION: Final = struct.Struct("<IIQQQQIIQQ")
_ELF_64_LITTLE: Final = b"\x7fELF\x02\x01\x01"
_OCCUPIES_NOTHING: Final = 8
_MOST_ALIGNMENT: Final = 1 << 16
_UNREAD: Final = frozenset({b".wasmtime.addrmap", b".symtab", b".strtab"})


class _Odd(Exception):  # noqa: N818 - says why the file is left alone, never leaves the module
    """The file is not as expected."""


class _Header(NamedTuple):
    name: int
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int


def prune(artefact: bytes | bytearray) -> bytes | bytearray:
    """An object file without its unread sections; the same bytes when it is in any way unusual."""
    try:
        return _pruned(memoryview(artefact))
    except (_Odd, struct.error, ValueError):
        return artefact


def _pruned(whole: memoryview) -> bytearray:
    head = list(_HEADER.unpack_from(whole))
    start, count, names_at = head[6], head[12], head[13]
    _require(head[0].startswith(_ELF_64_LITTLE))
    _require(head[5] == 0 and head[10] == 0)  # no program headers, which would name offsets
    _require(head[11] == _SECTION.size and names_at < count)
    sections = [
        _Header(*_SECTION.unpack_from(whole, start + number * _SECTION.size))
        for number in range(count)
    ]
    names = [_name(whole, sections[names_at], section.name) for section in sections]
    kept = [number for number, name in enumerate(names) if name not in _UNREAD]
    _require(names_at in kept and kept[0] == 0)

    out = bytearray(_HEADER.size)
    table = []
    for number in kept:
        section = sections[number]
        _require(section.link == 0 and section.info == 0)
        table.append(section._replace(offset=_copy(whole, section, out)))
    out += bytes(-len(out) % 8)
    head[6], head[12], head[13] = len(out), len(table), kept.index(names_at)
    _HEADER.pack_into(out, 0, *head)
    for section in table:
        out += _SECTION.pack(*section)
    _require(len(out) <= len(whole))
    return out


def _name(whole: memoryview, table: _Header, at: int) -> bytes:
    text = bytes(whole[table.offset : table.offset + table.size])
    return text[at : text.index(b"\0", at)]


def _copy(whole: memoryview, section: _Header, out: bytearray) -> int:
    """Append the content of a section where it is aligned; the offset."""
    if section.size == 0 or section.kind == _OCCUPIES_NOTHING:
        return section.offset
    _require(section.offset + section.size <= len(whole))
    _require(section.alignment <= _MOST_ALIGNMENT)
    out += bytes(-len(out) % max(1, section.alignment))
    offset = len(out)
    _require(offset + section.size <= len(whole))  # sections that overlap would add up
    out += whole[section.offset : section.offset + section.size]
    return offset


def _require(expected: bool) -> None:  # noqa: FBT001 - a condition is all there is
    if not expected:
        raise _Odd
