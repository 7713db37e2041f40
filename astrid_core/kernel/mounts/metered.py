"""The files of a home, which charge what they come to hold.

Trusted with the order of things: growth is charged before it happens, and bytes are given back
once, when they are gone from the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack

from astrid_core.kernel.mounts.metering import StorageMeter
from astrid_core.kernel.mounts.open_nodes import OpenNode
from astrid_core.kernel.mounts.tree_size import ENTRY_BYTES
from astrid_hookspecs.errors import VfsError, VfsNotFoundError
from astrid_hookspecs.vfs import ContentCheck, NodeStat, OpenMode, VfsDirectory, VfsFile


class MeteredFile:
    """Implements `VfsFile`; growth is charged before it happens.

    Args:
        inner: Closed with this one.
        meter: Charged.
        node: One handle of it is this one.
        appends: Whether it is written at its end.
    """

    def __init__(
        self, inner: VfsFile, meter: StorageMeter, node: OpenNode, *, appends: bool
    ) -> None:
        self._inner = inner
        self._meter = meter
        self._node: OpenNode | None = node
        self._appends = appends
        self.read_at = inner.read_at
        self.sync = inner.sync
        self.stat = inner.stat

    def write_at(self, offset: int, data: bytes) -> int:
        """As `VfsFile.write_at`."""
        with self._meter.alone():
            size = self._inner.stat().size
            end = (size if self._appends else offset) + len(data)
            self._change(size, max(size, end), lambda: self._inner.write_at(offset, data))
        return len(data)

    def truncate(self, size: int) -> None:
        """As `VfsFile.truncate`."""
        with self._meter.alone():
            old = self._inner.stat().size
            self._change(old, size, lambda: self._inner.truncate(size))

    def close(self) -> None:
        """As `VfsFile.close`."""
        with self._meter.alone():
            self._inner.close()
            node, self._node = self._node, None
            if node is not None:
                self._meter.charge(-self._meter.opened.leave(node))

    def _change(self, old: int, new: int, change: Callable[[], object]) -> None:
        """Do what lets the file have another size. `StorageMeter.alone` is entered."""
        self._charge(max(0, new - old))
        try:
            change()
        except BaseException:
            # A part of it may have been written, and stays charged.
            self._charge(max(0, self._size(old) - old) - max(0, new - old))
            raise
        self._charge(min(0, new - old))

    def _size(self, otherwise: int) -> int:
        try:
            return self._inner.stat().size
        except VfsError:
            return otherwise

    def _charge(self, growth_bytes: int) -> None:
        self._meter.charge(growth_bytes)
        if self._node is not None:
            self._meter.opened.grew(self._node, growth_bytes)


class MeteredDirectory:
    """Implements `VfsDirectory` on another one and charges what it comes to hold.

    Args:
        inner: Closed with this one.
        meter: Charged.
        at: The path of the directory within the home.
    """

    def __init__(self, inner: VfsDirectory, meter: StorageMeter, *, at: str = "") -> None:
        self._inner = inner
        self._meter = meter
        self._above = f"{at}/" if at else ""
        self.stat = inner.stat
        self.names = inner.names
        self.readlink = inner.readlink
        self.close = inner.close

    def open(self, path: str, mode: OpenMode) -> VfsFile:
        """As `VfsDirectory.open`."""
        with self._meter.alone():
            old = 0 if mode == "read" else self._cost(path)
            new_name = 0 if old or mode == "read" else ENTRY_BYTES
            with _charged(self._meter, new_name):
                file = self._inner.open(path, mode)
            if mode == "write" and old:
                self._meter.charge(ENTRY_BYTES - old)
            node = self._meter.opened.enter(self._above + path)
            return MeteredFile(file, self._meter, node, appends=mode == "append")

    def open_directory(self, path: str) -> VfsDirectory:
        """As `VfsDirectory.open_directory`."""
        at = (self._above + path).rstrip("/")
        return MeteredDirectory(self._inner.open_directory(path), self._meter, at=at)

    def mkdir(self, path: str) -> None:
        """As `VfsDirectory.mkdir`."""
        with self._meter.changing(), _charged(self._meter, ENTRY_BYTES):
            self._inner.mkdir(path)

    def unlink(
        self, path: str, *, only_if: ContentCheck | None = None, token: str | None = None
    ) -> None:
        """As `VfsDirectory.unlink`."""
        with self._meter.alone():
            old = self._cost(path)
            self._inner.unlink(path, only_if=only_if, token=token)
            self._give_back(path, old)

    def rmdir(self, path: str) -> None:
        """As `VfsDirectory.rmdir`."""
        with self._meter.changing():
            self._inner.rmdir(path)
            self._meter.charge(-ENTRY_BYTES)

    def rename(self, source: str, target: str) -> None:
        """As `VfsDirectory.rename`."""
        with self._meter.alone():
            replaced = 0 if source == target else self._cost(target)
            self._inner.rename(source, target)
            if source != target:
                self._give_back(target, replaced)
                self._meter.opened.moved(self._above + source, self._above + target)

    def replace(
        self,
        path: str,
        content: Iterable[bytes],
        *,
        mode: int | None = None,
        only_if: ContentCheck | None = None,
        token: str | None = None,
    ) -> NodeStat:
        """As `VfsDirectory.replace`."""
        old = 0
        with self._meter.changing(), ExitStack() as held:

            def complete() -> None:
                """The content is there and about to take the place of the old one."""
                nonlocal old
                held.enter_context(self._meter.alone())
                old = self._cost(path)

            charged = _ChargedContent(content, self._meter, complete)
            try:
                charged.charge(ENTRY_BYTES)
                done = self._inner.replace(path, charged, mode=mode, only_if=only_if, token=token)
            except BaseException:
                self._meter.charge(-charged.total)
                raise
            self._give_back(path, old)
            return done

    def link(self, source: str, target: str) -> None:
        """As `VfsDirectory.link`."""
        with self._meter.changing(), _charged(self._meter, ENTRY_BYTES):
            self._inner.link(source, target)

    def symlink(self, target: str, path: str) -> None:
        """As `VfsDirectory.symlink`."""
        with self._meter.changing(), _charged(self._meter, ENTRY_BYTES):
            self._inner.symlink(target, path)

    def _cost(self, path: str) -> int:
        """What a path is charged with now; 0 when there is nothing."""
        try:
            found = self._inner.stat(path)
        except VfsNotFoundError:
            return 0
        return ENTRY_BYTES + (found.size if found.kind == "regular" else 0)

    def _give_back(self, path: str, cost: int) -> None:
        """A name is gone, or leads to something else; so is its content, unless it is open."""
        content = max(0, cost - ENTRY_BYTES)
        stays = self._meter.opened.lost_name(self._above + path, content)
        self._meter.charge((content if stays else 0) - cost)


class _charged:  # noqa: N801 - reads as a statement
    """Charges a growth, and gives it back when the block fails."""

    def __init__(self, meter: StorageMeter, growth_bytes: int) -> None:
        self._meter = meter
        self._growth = growth_bytes

    def __enter__(self) -> None:
        self._meter.charge(self._growth)

    def __exit__(self, kind: object, _error: object, _trace: object) -> None:
        if kind is not None:
            self._meter.charge(-self._growth)


class _ChargedContent:
    """Pieces that are charged as they are taken.

    Args:
        content: The pieces.
        meter: Charged.
        complete: Called after the last one.
    """

    def __init__(
        self, content: Iterable[bytes], meter: StorageMeter, complete: Callable[[], None]
    ) -> None:
        self._content = content
        self._meter = meter
        self._complete = complete
        self.total = 0

    def charge(self, growth_bytes: int) -> None:
        """Charge that, as a part of the total."""
        self._meter.charge(growth_bytes)
        self.total += growth_bytes

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._content:
            self.charge(len(piece))
            yield piece
        self._complete()
