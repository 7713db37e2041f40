"""System calls that the standard library lacks: `openat2`, `renameat2`, and birth times.

Linux only; elsewhere the functions raise `ENOSYS` and their callers do without.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import struct
import sys
from typing import Any, Final

RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
RENAME_NOREPLACE: Final = 1
RENAME_EXCHANGE: Final = 2

_IS_LINUX: Final = sys.platform == "linux"
_OPENAT2: Final = 437  # the same number on every architecture
_AT_SYMLINK_NOFOLLOW: Final = 0x100
_AT_EMPTY_PATH: Final = 0x1000
_STATX_BTIME: Final = 0x800
_STATX_BYTES: Final = 256
_BTIME: Final = struct.Struct("=qI")
_BTIME_AT: Final = 80
_NS: Final = 1_000_000_000


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_HOW_BYTES: Final = ctypes.sizeof(_OpenHow)


@functools.cache
def _function(name: str, *arguments: Any) -> Any:
    """A function of the C library, None where it is not there."""
    found = getattr(ctypes.CDLL(None, use_errno=True), name, None) if _IS_LINUX else None
    if found is not None:
        found.argtypes, found.restype = list(arguments), ctypes.c_long
    return found


@functools.cache
def _open_how(flags: int, mode: int, resolve: int) -> Any:
    # The kernel only reads it, so threads can share one per combination.
    return ctypes.byref(_OpenHow(flags, mode, resolve))


_syscall: Final = _function(
    "syscall", ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t
)


def openat2(directory: int, path: bytes, *, flags: int, mode: int, resolve: int) -> int:
    """Open a path below a directory under `RESOLVE_*` rules.

    Returns:
        The descriptor; pass `O_CLOEXEC`.

    Raises:
        OSError: As the system answers; `ENOSYS` where there is no such call.
    """
    if _syscall is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    found: int = _syscall(_OPENAT2, directory, path, _open_how(flags, mode, resolve), _HOW_BYTES)
    if found < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return found


def renameat2(directory: int, source: str, target: str, *, flags: int) -> None:
    """Rename within a directory without replacing, or exchange two names.

    Raises:
        OSError: As the system answers; `EINVAL` or `ENOSYS` where the flags are not supported.
    """
    call = _function(
        "renameat2", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint
    )
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(directory, os.fsencode(source), directory, os.fsencode(target), flags) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def birth_ns(directory: int, name: str) -> int | None:
    """When a node was created, in nanoseconds since 1970; None where nobody knows.

    Args:
        directory: Descriptor of a directory, or of the node itself with an empty name.
        name: Of the node; a link is not followed.
    """
    call = _function(
        "statx", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_char_p
    )
    if call is None:
        return None
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
    flags = _AT_SYMLINK_NOFOLLOW | (0 if name else _AT_EMPTY_PATH)
    if call(directory, os.fsencode(name), flags, _STATX_BTIME, buffer) != 0:
        return None
    if not int.from_bytes(buffer.raw[:4], sys.byteorder) & _STATX_BTIME:
        return None
    seconds, rest = _BTIME.unpack_from(buffer, _BTIME_AT)
    return int(seconds) * _NS + int(rest)
