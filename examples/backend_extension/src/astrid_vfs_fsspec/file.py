"""An open file: positional reads, and writes of whole files below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from astrid_hookspecs.errors import VfsError
from astrid_hookspecs.vfs import NodeStat, OpenMode

from astrid_vfs_fsspec.translate import translated

if TYPE_CHECKING:
    from astrid_vfs_fsspec.directory import FsspecDirectory

_MAX_SIZE: Final = 1 << 30
"""A file is held in memory while it is changed."""


class FsspecFile:
    """Implements `VfsFile`.

    Args:
        root: The directory it was opened in.
        path: Canonical.
        mode: What it was opened for.
    """

    def __init__(self, root: FsspecDirectory, path: str, mode: OpenMode) -> None:
        self._root = root
        self._path = path
        self._mode = mode
        self._closed = False

    def read_at(self, offset: int, size: int) -> bytes:
        """As `VfsFile.read_at`."""
        self._check("read", "read-write")
        if offset < 0 or size < 0:
            raise VfsError("there are no such places in a file", code="vfs.invalid-path")
        with translated(), self._root.lock:
            length = self._root.size(self._path)
            if offset >= length or size == 0:
                return b""
            end = min(length, offset + size)
            data: bytes = self._root.files.cat_file(self._full, start=offset, end=end)
            return data

    def write_at(self, offset: int, data: bytes) -> int:
        """As `VfsFile.write_at`."""
        self._check("write", "append", "read-write")
        with translated(), self._root.lock:
            content = self._content()
            start = len(content) if self._mode == "append" else offset
            self._change(content, start + len(data))
            content[start : start + len(data)] = data
            self._root.files.pipe_file(self._full, bytes(content))
        return len(data)

    def truncate(self, size: int) -> None:
        """As `VfsFile.truncate`."""
        self._check("write", "append", "read-write")
        with translated(), self._root.lock:
            content = self._content()
            self._change(content, size)
            del content[size:]
            self._root.files.pipe_file(self._full, bytes(content))

    def sync(self, *, metadata: bool) -> None:
        """As `VfsFile.sync`; every write is complete when it returns."""
        del metadata
        self._check()

    def stat(self) -> NodeStat:
        """As `VfsFile.stat`."""
        self._check()
        return self._root.stat(self._path)

    def close(self) -> None:
        """As `VfsFile.close`."""
        self._closed = True

    @property
    def _full(self) -> str:
        return self._root.full(self._path)

    def _content(self) -> bytearray:
        self._root.size(self._path)
        return bytearray(self._root.files.cat_file(self._full))

    def _change(self, content: bytearray, end: int) -> None:
        """Extend to `end` with zeros."""
        if end < 0:
            raise VfsError("there are no such places in a file", code="vfs.invalid-path")
        if end > _MAX_SIZE:
            raise VfsError("the file would be too large for this backend", code="vfs.too-large")
        content.extend(bytes(max(0, end - len(content))))

    def _check(self, *modes: OpenMode) -> None:
        if self._closed:
            raise VfsError("the file is closed", code="vfs.closed")
        if modes and self._mode not in modes:
            raise VfsError(f"the file was opened to {self._mode}", code="vfs.access")
