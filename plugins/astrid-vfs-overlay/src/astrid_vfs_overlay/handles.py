"""Open files of both layers."""

from __future__ import annotations

import os
from collections.abc import Collection

from astrid_hookspecs.errors import VfsError
from astrid_hookspecs.vfs import NodeStat, OpenMode, VfsFile
from astrid_hookspecs.vfs_paths import vfs_error
from astrid_vfs_overlay.blobs import read_all, resize, write_all
from astrid_vfs_overlay.edit import drop_content
from astrid_vfs_overlay.layers import Layers, closed
from astrid_vfs_overlay.nodes import Node
from astrid_vfs_overlay.settle import settle


class UpperFile:
    """Implements `VfsFile` on a content of the upper layer.

    Args:
        layers: Their lock is held.
        node: A file with content.
        mode: How it is opened; `write` does not empty it, that is done by `truncate`.

    Raises:
        VfsError: As the operating system answered.
    """

    def __init__(self, layers: Layers, node: Node, mode: OpenMode) -> None:
        self._layers = layers
        self._node = node
        self._mode = mode
        self._file = layers.blobs.open(node.id)
        self._revoked = False
        node.handles.add(self)

    def read_at(self, offset: int, size: int) -> bytes:
        """As `VfsFile.read_at`; only for the modes that read."""
        self._check(writes=False)
        if offset < 0 or size < 0:
            raise _no_place()
        return read_all(self._file, offset, size)

    def write_at(self, offset: int, data: bytes) -> int:
        """As `VfsFile.write_at`.

        Raises:
            QuotaExceededError: The growth does not fit; nothing was written.
        """
        if offset < 0:
            raise _no_place()
        with self._layers.lock:
            self._check(writes=True)
            if not data:
                return 0
            node = self._node
            start = node.size if self._mode == "append" else offset
            old = node.size
            self._grow(max(0, start + len(data) - old))
            try:
                write_all(self._file, start, data)
            except VfsError:
                self._shrink(old)
                raise
            finally:
                self._touch()
            return len(data)

    def truncate(self, size: int) -> None:
        """As `VfsFile.truncate`.

        Raises:
            QuotaExceededError: The growth does not fit; nothing was changed.
        """
        if size < 0:
            raise _no_place()
        with self._layers.lock:
            self._check(writes=True)
            old = self._node.size
            self._grow(max(0, size - old))
            try:
                resize(self._file, size)
            except VfsError:
                self._shrink(old)
                raise
            if size < old:
                self._shrink(size)
            self._touch()

    def sync(self, *, metadata: bool) -> None:
        """As `VfsFile.sync`; the names are made durable, too, or the content would be lost."""
        del metadata
        self._check_open()
        try:
            os.fsync(self._file)
        except OSError as error:
            raise vfs_error(error) from error
        with self._layers.lock:
            self._check_open()
            self._layers.blobs.sync()
            self._layers.db.flush()

    def stat(self) -> NodeStat:
        """As `VfsFile.stat`."""
        with self._layers.lock:
            self._check_open()
            return self._layers.node_stat(self._node)

    def close(self) -> None:
        """As `VfsFile.close`."""
        with self._layers.lock:
            self._release()
            node = self._node
            if self in node.handles:
                node.handles.discard(self)
                if not node.handles and not self._layers.closed:
                    if node.links == 0:
                        drop_content(self._layers, node)
                    elif node.copy_of is not None:
                        settle(self._layers, node)

    def revoke(self) -> None:
        """Close it from outside: its path was committed or rolled back. The lock is held."""
        self._revoked = True
        self._node.handles.discard(self)

    def _grow(self, growth: int) -> None:
        self._layers.blobs.budget.grow(growth)
        self._node.size += growth

    def _shrink(self, size: int) -> None:
        """Back to a smaller size, after a failure or on purpose."""
        if size < self._node.size:
            resize(self._file, size)
            self._layers.blobs.budget.grow(size - self._node.size)
            self._node.size = size

    def _touch(self) -> None:
        node = self._node
        node.version += 1
        node.modified_ns = node.digest = node.copy_of = None

    def _check(self, *, writes: bool) -> None:
        self._check_open()
        refused = ("read",) if writes else ("write", "append")
        if self._mode in refused:
            raise VfsError("the file is not open for that", code="vfs.access")

    def _check_open(self) -> None:
        if self._file < 0 or self._revoked or self._layers.closed:
            raise closed()

    def _release(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class FollowingFile:
    """Implements `VfsFile` for reading a lower file, and the upper one as soon as there is one.

    Args:
        layers: Where it is known.
        path: Lower path.
        file: Open for reading.
    """

    def __init__(self, layers: Layers, path: str, file: VfsFile) -> None:
        self._layers = layers
        self._path = path
        self._first = file
        self._file = file
        self._closed = False

    def read_at(self, offset: int, size: int) -> bytes:
        """As `VfsFile.read_at`."""
        return self._file.read_at(offset, size)

    def write_at(self, offset: int, data: bytes) -> int:
        """As `VfsFile.write_at`; it is open for reading."""
        del offset, data
        self._file.stat()
        raise VfsError("the file is open for reading only", code="vfs.access")

    def truncate(self, size: int) -> None:
        """As `VfsFile.truncate`; it is open for reading."""
        del size
        self._file.stat()
        raise VfsError("the file is open for reading only", code="vfs.access")

    def sync(self, *, metadata: bool) -> None:
        """As `VfsFile.sync`."""
        self._file.sync(metadata=metadata)

    def stat(self) -> NodeStat:
        """As `VfsFile.stat`."""
        return self._file.stat()

    def close(self) -> None:
        """As `VfsFile.close`."""
        with self._layers.readers_lock:
            self._closed = True
            known = self._layers.followers.get(self._path)
            if known is not None:
                known.discard(self)
                if not known:
                    del self._layers.followers[self._path]
        self._first.close()
        self._file.close()

    def follow(self, file: UpperFile) -> None:
        """Show another file from now on; the first one stays open for a read under way."""
        with self._layers.readers_lock:
            if not self._closed:
                self._file = file
                return
        file.close()  # its reader was closed meanwhile


def follow(layers: Layers, path: str, node: Node) -> None:
    """Let the open readers of a lower file show the upper file that took its place."""
    for reader in let_go(layers, path):
        try:
            reader.follow(UpperFile(layers, node, "read"))
        except VfsError:  # too many open files: better closed than showing the old content
            reader.close()


def let_go(layers: Layers, path: str) -> Collection[FollowingFile]:
    """The open readers of a lower file, which follow its path no longer."""
    with layers.readers_lock:
        return layers.followers.pop(path, ())


def open_lower(layers: Layers, path: str) -> FollowingFile:
    """Open a lower file for reading. The lock need not be held.

    Raises:
        VfsError: As the lower layer answers.
    """
    file = FollowingFile(layers, path, layers.lower.open(path, "read"))
    with layers.readers_lock:
        layers.followers.setdefault(path, set()).add(file)
    return file


def _no_place() -> VfsError:
    return VfsError("there are no such places in a file", code="vfs.invalid-path")
