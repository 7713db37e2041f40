"""Finds components whose build tool took one version of an interface for another.

Tools that make components keep one import where two versions of an interface have the same major
number, the newer one, and hand it to code that was compiled for the older one. That is right while
versions only add. Where a record or the cases of an error differ, the code reads what was not
written, and traps some time later in a place that tells nothing. This module compares names, and
the accepted shapes behind them; it looks at no code.

Trusted with hostile bytes, and with nothing else: what it overlooks can hurt the guest alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from astrid_engine_wasm.binary import (
    MAX_NESTING,
    BinaryError,
    Reader,
    open_binary,
    read_extern_name,
    read_extern_type,
    sections,
)
from astrid_hookspecs.errors import ComponentError

_CORE_IMPORTS, _MODULE, _COMPONENT, _IMPORTS = 2, 1, 4, 10
_FUNCTION, _TABLE, _MEMORY, _GLOBAL, _TAG = range(5)
_REFERENCES: Final = frozenset({0x63, 0x64})
"""Value types that are followed by what they refer to."""
_HAS_MAX, _HAS_PAGE_SIZE = 0x01, 0x08
_VERSION: Final = re.compile(r"(?P<name>[^@]+:[^@]+)@(?P<major>\d+)\.\d+\.\d+")


class Merged(NamedTuple):
    """A function that code calls as that of another version.

    Attributes:
        built_for: The interface that the code was compiled for.
        imported: The one that the component imports.
        function: The function.
    """

    built_for: str
    imported: str
    function: str


def check_versions(wasm: bytes, abi: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse a component in which versions were merged that differ.

    Args:
        wasm: The component; one that cannot be read is left to others.
        abi: The ABI lock.

    Raises:
        ComponentError: `engine.component.versions`.
    """
    try:
        found = sorted(set(merged(wasm)))
    except BinaryError:
        return
    for built_for, imported, function in found:
        ours, theirs = (abi.get(f"{name}#{function}") for name in (built_for, imported))
        if ours and theirs and ours != theirs:
            raise ComponentError(
                f"it was compiled for {built_for} and imports {imported} in its place, "
                f"in which {function} is another function",
                code="engine.component.versions",
                hint="the build tool merges versions of a package: use one of them in a component",
            )


def merged(wasm: bytes) -> Iterator[Merged]:
    """Functions of core modules whose interface the component around them has in another version.

    Raises:
        BinaryError: The binary is malformed, or newer than this module.
    """
    yield from _walk(Reader(wasm), depth=0)


def _walk(reader: Reader, *, depth: int) -> Iterator[Merged]:
    if depth > MAX_NESTING:
        raise BinaryError("components are nested too deeply")
    if open_binary(reader):
        return
    imported: set[str] = set()
    called: set[tuple[str, str]] = set()
    for section in sections(reader):
        if section.id == _MODULE:
            called.update(_core_imports(section.body))
        elif section.id == _COMPONENT:
            yield from _walk(section.body, depth=depth + 1)
        elif section.id == _IMPORTS:
            imported.update(_imports(section.body))
    tracks = {_track(name): name for name in imported}
    for interface, function in called:
        track = _track(interface)
        if track is not None and track in tracks and interface not in imported:
            yield Merged(interface, tracks[track], function)


def _imports(body: Reader) -> Iterator[str]:
    for _ in range(body.u32()):
        yield read_extern_name(body)
        read_extern_type(body)


def _track(interface: str) -> tuple[str, str] | None:
    """What versions have in common that a tool merges."""
    match = _VERSION.fullmatch(interface)
    return None if match is None else (match["name"], match["major"])


def _core_imports(reader: Reader) -> Iterator[tuple[str, str]]:
    if not open_binary(reader):
        raise BinaryError("a component stands where a core module belongs")
    for section in sections(reader):
        if section.id != _CORE_IMPORTS:
            continue
        body = section.body
        for _ in range(body.u32()):
            module, name = body.name(), body.name()
            if _skip_type(body) == _FUNCTION:
                yield module, name
        body.expect_end()


def _skip_type(body: Reader) -> int:
    kind = body.byte()
    if kind == _FUNCTION:
        body.u32()
    elif kind == _TABLE:
        _skip_value_type(body)
        _skip_limits(body)
    elif kind == _MEMORY:
        _skip_limits(body)
    elif kind == _GLOBAL:
        _skip_value_type(body)
        body.byte()
    elif kind == _TAG:
        body.byte()
        body.u32()
    else:
        raise BinaryError(f"unknown kind {kind} of import")
    return kind


def _skip_value_type(body: Reader) -> None:
    if body.byte() in _REFERENCES:
        body.skip_leb()


def _skip_limits(body: Reader) -> None:
    flags = body.byte()
    body.u64()
    for flag in (_HAS_MAX, _HAS_PAGE_SIZE):
        if flags & flag:
            body.u64()
