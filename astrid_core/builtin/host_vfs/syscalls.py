"""System calls that the standard library lacks: `openat2`, `renameat2`, `statx`.

Trusted with the layouts of the structures it passes. Calls are made through ctypes, which gives up
the interpreter lock meanwhile and keeps `errno` per thread. What a system lacks is reported as
absent, never imitated here.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import sys
from collections.abc import Callable
from typing import Final, NamedTuple

O_PATH: Final[int] = getattr(os, "O_PATH", os.O_RDONLY)
"""Opens a directory to name things in it; where the flag is unknown, reading must be allowed."""

RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08

RENAME_NOREPLACE: Final = 1
RENAME_EXCHANGE: Final = 2

_IS_LINUX: Final = sys.platform == "linux"
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
OPENAT2: Final = ctypes.c_long(437)
"""The number of `openat2`, one on every architecture that Python runs on."""
HOW_SIZE: Final = ctypes.c_size_t(24)
_AT_SYMLINK_NOFOLLOW: Final = 0x100
_AT_NO_AUTOMOUNT: Final = 0x800
_AT_EMPTY_PATH: Final = 0x1000
_STATX_BASIC_AND_BIRTH: Final = 0xFFF
_STATX_BTIME: Final = 0x800
_STATX_SIZE: Final = 256
_STATX: Final = struct.Struct("=IIQIIIHxxQQQQqIxxxxqIxxxxqIxxxxqIxxxxIIII")
"""`struct statx` of linux/stat.h up to the device of the file."""
_ABSENT: Final = frozenset({errno.ENOSYS, errno.EPERM})
"""How a kernel without the call answers, and a seccomp filter that does not know it."""


def _no_syscall(*_: object) -> int:
    ctypes.set_errno(errno.ENOSYS)
    return -1


def _find_syscall() -> Callable[..., int]:
    if not _IS_LINUX:
        return _no_syscall  # the numbers mean something else there
    found = _LIBC.syscall
    found.restype = ctypes.c_long
    return found


syscall: Final = _find_syscall()
"""Makes a system call by its number; -1 means that `last_error` says why it failed."""
_renameat2: Final = getattr(_LIBC, "renameat2", None)
_statx: Final = getattr(_LIBC, "statx", None)


class OpenHow(ctypes.Structure):
    """`struct open_how` of linux/openat2.h. The kernel only reads it, so threads may share one."""

    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


class RawStat(NamedTuple):
    """What the system knows about a node; times in nanoseconds.

    Attributes:
        mode: Kind and permission bits.
        links: How many names the node has.
        device: Of the file system.
        inode: Within the device.
        size: Apparent size in bytes.
        modified: Last change of the content.
        changed: Last change of content or metadata; cannot be set by programs.
        accessed: Last access.
        created: Creation, None where the file system does not say.
    """

    mode: int
    links: int
    device: int
    inode: int
    size: int
    modified: int
    changed: int
    accessed: int
    created: int | None

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode: the same for all names of one node."""
        return self.device, self.inode

    @property
    def is_regular(self) -> bool:
        """Whether it is a file with content."""
        return stat.S_ISREG(self.mode)


def renameat2(directory: int, source: bytes, target: bytes, flags: int) -> None:
    """Rename inside one directory, without replacing (`RENAME_NOREPLACE`) or by exchanging.

    Raises:
        OSError: `ENOSYS` where there is no such call or the file system cannot do it.
    """
    if not _IS_LINUX or _renameat2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if _renameat2(directory, source, directory, target, flags) != 0:
        error = last_error()
        if error.errno in {errno.EINVAL, errno.ENOTSUP}:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from error
        raise error


def stat_at(directory: int, name: bytes) -> RawStat:
    """Metadata of a name in a directory, of the link itself where it is one."""
    found = _extended(directory, name, _AT_SYMLINK_NOFOLLOW | _AT_NO_AUTOMOUNT)
    return found or _plain(os.stat(name, dir_fd=directory, follow_symlinks=False))


def stat_descriptor(descriptor: int) -> RawStat:
    """Metadata of an open node."""
    return _extended(descriptor, b"", _AT_EMPTY_PATH) or _plain(os.fstat(descriptor))


def _extended(directory: int, name: bytes, flags: int) -> RawStat | None:
    if not _IS_LINUX or _statx is None:
        return None
    buffer = ctypes.create_string_buffer(_STATX_SIZE)
    if _statx(directory, name, flags, _STATX_BASIC_AND_BIRTH, buffer) != 0:
        error = last_error()
        if error.errno in _ABSENT:
            return None
        raise error
    found = _STATX.unpack_from(buffer)
    mask, _, _, links, _, _, mode, inode, size, _, _ = found[:11]
    times = [found[at] * 1_000_000_000 + found[at + 1] for at in range(11, 19, 2)]
    accessed, created, changed, modified = times
    return RawStat(
        mode=mode,
        links=links,
        device=os.makedev(found[21], found[22]),
        inode=inode,
        size=size,
        modified=modified,
        changed=changed,
        accessed=accessed,
        created=created if mask & _STATX_BTIME else None,
    )


def _plain(found: os.stat_result) -> RawStat:
    birth: float | None = getattr(found, "st_birthtime", None)
    return RawStat(
        mode=found.st_mode,
        links=found.st_nlink,
        device=found.st_dev,
        inode=found.st_ino,
        size=found.st_size,
        modified=found.st_mtime_ns,
        changed=found.st_ctime_ns,
        accessed=found.st_atime_ns,
        created=None if birth is None else int(birth * 1_000_000_000),
    )


def last_error() -> OSError:
    """What the last failed call of this thread was answered."""
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
