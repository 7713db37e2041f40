"""Open files and descriptors of the host's disk.

Trusted with one descriptor each, which was checked before it came here. A file never learns a path.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from astrid_core.builtin.host_vfs.admission import OpenFiles
from astrid_core.builtin.host_vfs.syscalls import RawStat, stat_descriptor
from astrid_hookspecs.errors import VfsError
from astrid_hookspecs.vfs import NodeKind, NodeStat, OpenMode
from astrid_hookspecs.vfs_paths import vfs_error

MAX_OFFSET: Final = 2**63 - 1
_CHUNK: Final = 1024 * 1024
"""A read allocates its buffer first, so a huge request is served piece by piece."""
_LAST_READ: Final = MAX_OFFSET - _CHUNK
"""No file system has files that reach further, and the system refuses sums that overflow."""
_KINDS: Final[dict[int, NodeKind]] = {
    stat.S_IFREG: "regular",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFBLK: "block-device",
    stat.S_IFCHR: "character-device",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}
_HAS_CONTENT: Final = frozenset({"regular", "symlink"})


class Descriptor:
    """Owns a descriptor until nobody refers to it any more.

    Who uses the number keeps a reference meanwhile. So closing a directory in one thread never
    hands the number of its descriptor to another file while a second thread still works with it.
    """

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)


def node_stat(raw: RawStat) -> NodeStat:
    """Metadata as the contract words it."""
    kind = _KINDS.get(stat.S_IFMT(raw.mode), "type-unknown")
    device, inode = raw.identity
    size = raw.size if kind in _HAS_CONTENT else 0
    return NodeStat(
        kind=kind,
        size=size,
        mode=raw.mode & 0o777,
        modified_ns=raw.modified,
        created_ns=raw.created,
        accessed_ns=raw.accessed,
        stamp=f"{device:x}.{inode:x}.{size:x}.{raw.modified:x}.{raw.changed:x}",
    )


def write_all(descriptor: int, data: bytes) -> None:
    """Write at the descriptor's position, or at the end where it appends."""
    written = os.write(descriptor, data)
    if written < len(data):
        view = memoryview(data)[written:]
        while view:
            view = view[os.write(descriptor, view) :]


def sync_directory(descriptor: int) -> None:
    """Make the names in a directory durable, where its file system can."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise


class HostFile:
    """Implements `VfsFile`.

    Args:
        descriptor: Taken over.
        mode: What it was opened for.
        counted: Where it counts as open.
    """

    __slots__ = ("_counted", "_descriptor", "_mode")

    def __init__(self, descriptor: int, mode: OpenMode, counted: OpenFiles) -> None:
        self._descriptor = descriptor
        self._mode = mode
        self._counted = counted

    def read_at(self, offset: int, size: int) -> bytes:
        """As `VfsFile.read_at`."""
        descriptor = self._number()
        if self._mode not in {"read", "read-write"}:
            raise self._refusal()
        if offset < 0 or size < 0:
            raise VfsError("offset and size are not negative", code="vfs.invalid-path")
        try:
            return _read(descriptor, offset, size)
        except OSError as error:
            raise vfs_error(error) from error

    def write_at(self, offset: int, data: bytes) -> int:
        """As `VfsFile.write_at`."""
        descriptor = self._writable()
        try:
            if self._mode == "append":
                write_all(descriptor, data)
                return len(data)
            if not 0 <= offset <= MAX_OFFSET - len(data):
                raise VfsError("no file reaches that far", code="vfs.too-large")
            view = memoryview(data)
            while view:
                written = os.pwrite(descriptor, view, offset)
                offset, view = offset + written, view[written:]
        except OSError as error:
            raise vfs_error(error) from error
        return len(data)

    def truncate(self, size: int) -> None:
        """As `VfsFile.truncate`."""
        descriptor = self._writable()
        if not 0 <= size <= MAX_OFFSET:
            raise VfsError("no file is that large", code="vfs.too-large")
        try:
            os.ftruncate(descriptor, size)
        except OSError as error:
            raise vfs_error(error) from error

    def sync(self, *, metadata: bool) -> None:
        """As `VfsFile.sync`."""
        descriptor = self._number()
        try:
            if metadata:
                os.fsync(descriptor)
            else:
                getattr(os, "fdatasync", os.fsync)(descriptor)
        except OSError as error:
            raise vfs_error(error) from error

    def stat(self) -> NodeStat:
        """As `VfsFile.stat`."""
        try:
            return node_stat(stat_descriptor(self._number()))
        except OSError as error:
            raise vfs_error(error) from error

    def close(self) -> None:
        """As `VfsFile.close`."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._counted.give_back()
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()

    def _number(self) -> int:
        if self._descriptor < 0:
            raise VfsError("the file is closed", code="vfs.closed")
        return self._descriptor

    def _writable(self) -> int:
        descriptor = self._number()
        if self._mode == "read":
            raise self._refusal()
        return descriptor

    def _refusal(self) -> VfsError:
        return VfsError(f"the file was opened for {self._mode} only", code="vfs.access")


def _read(descriptor: int, offset: int, size: int) -> bytes:
    if offset > _LAST_READ:
        return b""
    first = os.pread(descriptor, min(size, _CHUNK), offset)
    if len(first) == size or not first:
        return first
    pieces, read = [first], len(first)
    while read < size and offset + read <= _LAST_READ:
        piece = os.pread(descriptor, min(size - read, _CHUNK), offset + read)
        if not piece:
            break
        pieces.append(piece)
        read += len(piece)
    return b"".join(pieces)
