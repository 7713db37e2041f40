"""Nodes of the file system in memory, and open files."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field
from typing import Final

from astrid_hookspecs.errors import VfsError
from astrid_hookspecs.vfs import NodeKind, NodeStat, OpenMode

_STAMPS: Final = itertools.count(1)
_READS: Final = frozenset({"read", "read-write"})


def _next_stamp() -> str:
    return str(next(_STAMPS))


@dataclass(eq=False)
class Node:
    """A file, directory, link or something special; hard links are one node under two names.

    Attributes:
        kind: What it is.
        mode: Permission bits.
        data: Content of a file.
        entries: What a directory holds.
        target: Where a link leads.
        stamp: Changes with the content; no two nodes have the same.
    """

    kind: NodeKind
    mode: int
    data: bytearray = field(default_factory=bytearray)
    entries: dict[str, Node] = field(default_factory=dict)
    target: str = ""
    stamp: str = field(default_factory=_next_stamp)

    def stat(self) -> NodeStat:
        """As `VfsFile.stat`."""
        size = len(self.target.encode()) if self.kind == "symlink" else len(self.data)
        return NodeStat(self.kind, size, self.mode, None, None, None, self.stamp)

    def value(self) -> bytes | str | None:
        """Content of a file, target of a link, otherwise None."""
        if self.kind == "symlink":
            return self.target
        return bytes(self.data) if self.kind == "regular" else None

    def touch(self) -> None:
        """The content has changed."""
        self.stamp = _next_stamp()


class DictFile:
    """Implements `VfsFile` on a node.

    Args:
        node: A file.
        mode: What it is opened for.
        lock: Of the file system.
    """

    def __init__(self, node: Node, mode: OpenMode, lock: threading.RLock) -> None:
        self.node = node
        self.mode = mode
        self.lock = lock
        self._closed = False

    def read_at(self, offset: int, size: int) -> bytes:
        """As `VfsFile.read_at`."""
        self._check(offset, size, is_allowed=self.mode in _READS)
        with self.lock:
            return bytes(self.node.data[offset : offset + size])

    def write_at(self, offset: int, data: bytes) -> int:
        """As `VfsFile.write_at`."""
        self._check(offset, is_allowed=self.mode != "read")
        with self.lock:
            content = self.node.data
            start = len(content) if self.mode == "append" else offset
            self._resize(max(len(content), start + len(data)))
            content[start : start + len(data)] = data
        return len(data)

    def truncate(self, size: int) -> None:
        """As `VfsFile.truncate`."""
        self._check(size, is_allowed=self.mode != "read")
        with self.lock:
            self._resize(size)

    def sync(self, *, metadata: bool) -> None:
        """As `VfsFile.sync`; there is nothing to do."""
        del metadata
        self._check()

    def stat(self) -> NodeStat:
        """As `VfsFile.stat`."""
        self._check()
        with self.lock:
            return self.node.stat()

    def close(self) -> None:
        """As `VfsFile.close`."""
        self._closed = True

    def _resize(self, size: int) -> None:
        content = self.node.data
        del content[size:]
        content.extend(bytes(size - len(content)))
        self.node.touch()

    def _check(self, *numbers: int, is_allowed: bool = True) -> None:
        if self._closed:
            raise VfsError("the file is closed", code="vfs.closed")
        if not is_allowed:
            raise VfsError(f"the file was opened for {self.mode} only", code="vfs.access")
        if any(number < 0 for number in numbers):
            raise VfsError("there are no such places in a file", code="vfs.invalid-path")
