"""How wasmtime's C API lays out component values: sizes, offsets, kind bytes, and their checks.

Trusted with memory safety: the binding layer reads and writes by these numbers. Only this module
and `ffi` touch the private `wasmtime._ffi`; this one reads declarations and calls nothing.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

from wasmtime import _ffi

from astrid_hookspecs.errors import EngineError

SUPPORTED: Final = ((50, 0, 1), (51, 0, 0))
"""First wrapper release that this module was checked with, and the first that it was not."""

VALUE_SIZE: Final = 32
"""Bytes of one `wasmtime_component_val_t`: kind byte at 0, payload from `PAYLOAD` on."""
PAYLOAD: Final = 8
ENTRY_SIZE: Final = 48
"""Bytes of one record entry: the field's name (size, pointer), then its value."""
ENTRY_VALUE: Final = 16
NAME_SIZE: Final = 16

KIND_BOOL: Final[int] = _ffi.WASMTIME_COMPONENT_BOOL.value
KIND_U8: Final[int] = _ffi.WASMTIME_COMPONENT_U8.value
KIND_STRING: Final[int] = _ffi.WASMTIME_COMPONENT_STRING.value
KIND_LIST: Final[int] = _ffi.WASMTIME_COMPONENT_LIST.value
KIND_RECORD: Final[int] = _ffi.WASMTIME_COMPONENT_RECORD.value
KIND_TUPLE: Final[int] = _ffi.WASMTIME_COMPONENT_TUPLE.value
KIND_VARIANT: Final[int] = _ffi.WASMTIME_COMPONENT_VARIANT.value
KIND_ENUM: Final[int] = _ffi.WASMTIME_COMPONENT_ENUM.value
KIND_OPTION: Final[int] = _ffi.WASMTIME_COMPONENT_OPTION.value
KIND_RESULT: Final[int] = _ffi.WASMTIME_COMPONENT_RESULT.value
KIND_FLAGS: Final[int] = _ffi.WASMTIME_COMPONENT_FLAGS.value
KIND_RESOURCE: Final[int] = _ffi.WASMTIME_COMPONENT_RESOURCE.value
SCALAR_KINDS: Final[dict[str, int]] = {
    "bool": KIND_BOOL,
    "s8": _ffi.WASMTIME_COMPONENT_S8.value,
    "u8": KIND_U8,
    "s16": _ffi.WASMTIME_COMPONENT_S16.value,
    "u16": _ffi.WASMTIME_COMPONENT_U16.value,
    "s32": _ffi.WASMTIME_COMPONENT_S32.value,
    "u32": _ffi.WASMTIME_COMPONENT_U32.value,
    "s64": _ffi.WASMTIME_COMPONENT_S64.value,
    "u64": _ffi.WASMTIME_COMPONENT_U64.value,
    "f32": _ffi.WASMTIME_COMPONENT_F32.value,
    "f64": _ffi.WASMTIME_COMPONENT_F64.value,
    "char": _ffi.WASMTIME_COMPONENT_CHAR.value,
}


def check_version(text: str) -> None:
    """Refuse a wrapper release whose private interface nobody compared with this module.

    Raises:
        EngineError: The release is too old or too new.
    """
    parts = tuple(int("".join(c for c in part if c.isdigit()) or 0) for part in text.split("."))
    if not SUPPORTED[0] <= parts < SUPPORTED[1]:
        low, high = (".".join(map(str, bound)) for bound in SUPPORTED)
        raise EngineError(
            f"wasmtime {text} is not supported by this engine",
            code="engine.wasmtime-version",
            hint=f"install wasmtime >= {low}, < {high}",
        )


def check_layout() -> None:
    """Compare the layouts that the binding layer writes with the wrapper's declarations.

    Raises:
        EngineError: A structure has another size or offset.
    """
    value, entry = _ffi.wasmtime_component_val_t, _ffi.wasmtime_component_valrecord_entry_t
    found = {
        "value size": (ctypes.sizeof(value), VALUE_SIZE),
        "payload offset": (_offset(value, "of"), PAYLOAD),
        "record entry size": (ctypes.sizeof(entry), ENTRY_SIZE),
        "record entry value offset": (_offset(entry, "val"), ENTRY_VALUE),
        "name size": (ctypes.sizeof(_ffi.wasm_byte_vec_t), NAME_SIZE),
        "list size": (ctypes.sizeof(_ffi.wasmtime_component_vallist_t), 16),
        "variant size": (ctypes.sizeof(_ffi.wasmtime_component_valvariant_t), 24),
        "variant payload offset": (_offset(_ffi.wasmtime_component_valvariant_t, "val"), 16),
        "result payload offset": (_offset(_ffi.wasmtime_component_valresult_t, "val"), 8),
        "pointer size": (ctypes.sizeof(ctypes.c_void_p), 8),
    }
    for what, (actual, expected) in found.items():
        if actual != expected:
            raise EngineError(
                f"wasmtime's {what} is {actual}, this engine was built for {expected}",
                code="engine.wasmtime-layout",
                hint="install the wasmtime release that this engine's package asks for",
            )


def _offset(structure: Any, field: str) -> int:
    return int(getattr(structure, field).offset)
