"""Finds out which guest entry points a component really has, without running or compiling it.

Trusted with hostile bytes, and with one decision: whether an exported name is an entry point of the
author or the placeholder that tool chains emit. It is pure; unreadable input never raises here but
counts as "has the export", and the loader, which does raise, has the last word.

Spec: host-abi 16.3, capsules-and-bus 5.8.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from astrid_engine_wasm.binary import (
    MAX_NESTING,
    SORT_FUNCTION,
    BinaryError,
    Reader,
    open_binary,
    read_extern_name,
    read_extern_type,
    read_kind,
    read_sort,
    sections,
)
from astrid_hookspecs.errors import ComponentError

HOOK: Final = "astrid-hook-trigger"
RUN: Final = "run"
INSTALL: Final = "astrid-install"
UPGRADE: Final = "astrid-upgrade"
TRIO: Final = frozenset({RUN, INSTALL, UPGRADE})
"""The exports that tool chains emit as placeholders sharing one empty function."""

_CORE_EXPORT_SECTION: Final = 7
_CORE_FUNCTION: Final = 0
_CORE_SORT_MAX: Final = 4
_COMPONENT_MODULE_SECTION: Final = 1
_COMPONENT_NESTED_SECTION: Final = 4
_COMPONENT_EXPORT_SECTION: Final = 11

BUILD_HINT: Final = "build a WebAssembly component, for example with `astrid capsule build`"

_MODULE_HINT: Final = (
    "wrap it with `wasm-tools component new`; the capsule's build tool can do that"
)

FunctionExports = dict[str, int]
"""Function exports of one export section: name to index, the last one wins."""


def has_export(wasm: bytes, name: str) -> bool:
    """Whether the binary exports a real function of that name.

    A member of the trio is real when no other member of the same export section has the same
    index; the first section with the name decides. For other names presence is enough.
    Unreadable input counts as having it.

    Spec: host-abi 16.3.
    """
    try:
        found = list(iter_export_sections(wasm))
    except BinaryError:
        return True
    for exports in found:
        if name not in exports:
            continue
        if name not in TRIO:
            return True
        index = exports[name]
        return all(exports.get(other) != index for other in TRIO - {name})
    return False


def iter_export_sections(wasm: bytes) -> Iterator[FunctionExports]:
    """The function exports of every export section, nested binaries included, in document order.

    Raises:
        BinaryError: The binary is malformed.
    """
    yield from _walk(Reader(wasm), depth=0)


def check_is_component(wasm: bytes) -> None:
    """Refuse a file that is no component, saying what it is instead.

    Raises:
        ComponentError: `engine.component.not-a-component`.
    """
    kind = read_kind(wasm)
    if kind is True:
        return
    if not wasm:
        what = "the file is empty"
    elif kind is False:
        what = "the file is a core WebAssembly module, not a component"
    elif wasm.startswith(b"\0asm"):
        what = "the file is a WebAssembly binary of a version that is not supported"
    elif wasm.startswith(b"\x7fELF"):
        what = "the file is native code, not a WebAssembly component"
    elif wasm.startswith((b"PK\x03\x04", b"\x1f\x8b")):
        what = "the file is an archive, not a WebAssembly component"
    elif wasm.lstrip().startswith(b"(component"):
        what = "the file is a component in text form, not in binary form"
    elif b"\0" not in wasm[:1024]:
        what = "the file is text, not a WebAssembly component"
    else:
        what = "the file is not a WebAssembly component"
    raise ComponentError(
        what,
        code="engine.component.not-a-component",
        hint=_MODULE_HINT if kind is False else BUILD_HINT,
    )


def _walk(reader: Reader, *, depth: int) -> Iterator[FunctionExports]:
    if depth > MAX_NESTING:
        raise BinaryError("components are nested too deeply")
    is_core = open_binary(reader)
    for section in sections(reader):
        if is_core:
            if section.id == _CORE_EXPORT_SECTION:
                yield _core_exports(section.body)
        elif section.id in (_COMPONENT_MODULE_SECTION, _COMPONENT_NESTED_SECTION):
            yield from _walk(section.body, depth=depth + 1)
        elif section.id == _COMPONENT_EXPORT_SECTION:
            yield _component_exports(section.body)


def _core_exports(body: Reader) -> FunctionExports:
    exports: FunctionExports = {}
    for _ in range(body.u32()):
        name = body.name()
        kind = body.byte()
        if kind > _CORE_SORT_MAX:
            raise BinaryError(f"unknown export kind {kind}")
        index = body.u32()
        if kind == _CORE_FUNCTION:
            exports[name] = index
    body.expect_end()
    return exports


def _component_exports(body: Reader) -> FunctionExports:
    exports: FunctionExports = {}
    for _ in range(body.u32()):
        name = read_extern_name(body)
        sort = read_sort(body)
        index = body.u32()
        if sort == SORT_FUNCTION:
            exports[name] = index
        flag = body.byte()
        if flag == 1:
            read_extern_type(body)
        elif flag != 0:
            raise BinaryError(f"unknown flag {flag} behind an export")
    body.expect_end()
    return exports
