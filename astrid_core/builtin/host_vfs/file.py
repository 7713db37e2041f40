"""An open file of the host's disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from astrid_core.builtin.host_vfs.nodes import node_stat, translated
from astrid_core.builtin.host_vfs.syscalls import birth_ns
from astrid_hookspecs.errors import VfsError
from astrid_hookspecs.vfs import NodeStat, OpenMode

_CLOSED: Final = -1
_datasync: Final = getattr(os, "fdatasync", os.fsync)


class HostFile:
    """Implements `VfsFile` on a descriptor.

    Args:
        descriptor: Owned.
        mode: What it was opened for.
        closed: Called once, when it is closed.
    """

    def __init__(self, descriptor: int, mode: OpenMode, *, closed: Callable[[], object]) -> None:
        self._descriptor = descriptor
        self._mode = mode
        self._on_close = closed

    def read_at(self, offset: int, size: int) -> bytes:
        """As `VfsFile.read_at`."""
        descriptor = self._usable("read", "read-write")
        with translated():
            data = os.pread(descriptor, size, offset)
            if not data or len(data) == size:
                return data
            pieces, got = [data], len(data)
            while got < size:
                piece = os.pread(descriptor, size - got, offset + got)
                if not piece:
                    break
                pieces.append(piece)
                got += len(piece)
            return b"".join(pieces)

    def write_at(self, offset: int, data: bytes) -> int:
        """As `VfsFile.write_at`."""
        descriptor = self._usable("write", "append", "read-write")
        rest = memoryview(data)
        with translated():
            while rest:
                if self._mode == "append":
                    written = os.write(descriptor, rest)
                else:
                    written = os.pwrite(descriptor, rest, offset)
                offset += written
                rest = rest[written:]
        return len(data)

    def truncate(self, size: int) -> None:
        """As `VfsFile.truncate`."""
        descriptor = self._usable("write", "append", "read-write")
        with translated():
            os.ftruncate(descriptor, size)

    def sync(self, *, metadata: bool) -> None:
        """As `VfsFile.sync`."""
        descriptor = self._usable()
        with translated():
            (os.fsync if metadata else _datasync)(descriptor)

    def stat(self) -> NodeStat:
        """As `VfsFile.stat`."""
        descriptor = self._usable()
        with translated():
            return node_stat(os.fstat(descriptor), created_ns=birth_ns(descriptor, ""))

    def close(self) -> None:
        """As `VfsFile.close`."""
        descriptor, self._descriptor = self._descriptor, _CLOSED
        if descriptor != _CLOSED:
            os.close(descriptor)
            self._on_close()

    def _usable(self, *modes: OpenMode) -> int:
        if self._descriptor == _CLOSED:
            raise VfsError("the file is closed", code="vfs.closed")
        if modes and self._mode not in modes:
            raise VfsError(f"the file was opened to {self._mode}", code="vfs.access")
        return self._descriptor
