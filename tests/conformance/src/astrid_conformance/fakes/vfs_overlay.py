"""An overlay that is as simple as can be: it copies the lower layer for every call.

What differs is kept by path, with what the lower layer had there when the overlay first differed.
Good for tests of what uses an overlay, and for small trees only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from astrid_conformance.fakes.vfs import DictDirectory, flat
from astrid_conformance.fakes.vfs_file import DictFile, Node
from astrid_conformance.fakes.vfs_overlay_state import (
    OverlayState,
    apply,
    copy_lower,
    is_below,
    signature,
    usage,
)
from astrid_hookspecs.errors import VfsError
from astrid_hookspecs.vfs import (
    Announce,
    CommitReport,
    ContentCheck,
    NodeStat,
    OpenMode,
    OverlayChange,
    OverlaySpec,
)
from astrid_hookspecs.vfs_paths import path_parts

ResultT = TypeVar("ResultT")


class DictOverlay:
    """Implements `VfsOverlay`.

    Args:
        state: Of the overlay.
        base: Path of the directory that is its root.
    """

    def __init__(self, state: OverlayState, base: str = "") -> None:
        self.state = state
        self._base = base

    def open(self, path: str, mode: OpenMode) -> DictFile:
        """As `VfsDirectory.open`."""

        def work(view: DictDirectory) -> DictFile:
            found = view.open(path, mode)
            return OverlayFile(found.node, mode, self.state)  # type: ignore[attr-defined]

        return self._run(work, touched="" if mode == "read" else path)

    def open_directory(self, path: str) -> DictOverlay:
        """As `VfsDirectory.open_directory`."""
        self._run(lambda view: view.open_directory(path))
        return DictOverlay(self.state, "/".join(filter(None, (self._base, path))))

    def stat(self, path: str) -> NodeStat:
        """As `VfsDirectory.stat`."""
        return self._run(lambda view: view.stat(path))

    def names(self, path: str, *, after: str | None, limit: int) -> list[str]:
        """As `VfsDirectory.names`."""
        return self._run(lambda view: view.names(path, after=after, limit=limit))

    def readlink(self, path: str) -> str:
        """As `VfsDirectory.readlink`."""
        return self._run(lambda view: view.readlink(path))

    def mkdir(self, path: str) -> None:
        """As `VfsDirectory.mkdir`."""
        self._run(lambda view: view.mkdir(path))

    def rmdir(self, path: str) -> None:
        """As `VfsDirectory.rmdir`."""
        self._run(lambda view: view.rmdir(path))

    def rename(self, source: str, target: str) -> None:
        """As `VfsDirectory.rename`."""
        self._run(lambda view: view.rename(source, target))

    def link(self, source: str, target: str) -> None:
        """As `VfsDirectory.link`."""
        self._run(lambda view: view.link(source, target), touched=source)

    def symlink(self, target: str, path: str) -> None:
        """As `VfsDirectory.symlink`."""
        self._run(lambda view: view.symlink(target, path))

    def unlink(
        self, path: str, *, only_if: ContentCheck | None = None, token: str | None = None
    ) -> None:
        """As `VfsDirectory.unlink`."""
        self._run(lambda view: view.unlink(path, only_if=only_if, token=token))

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
        data = [b"".join(content)]
        return self._run(
            lambda view: view.replace(path, data, mode=mode, only_if=only_if, token=token)
        )

    def changes(self, paths: Sequence[str] = ("",)) -> list[OverlayChange]:
        """As `VfsOverlay.changes`."""
        for path in paths:
            path_parts(path)
        with self.state.lock:
            view = dict(flat(self.state.view()))
            lower = dict(flat(copy_lower(self.state.lower, "")))
        found = []
        for path in sorted({*view, *lower}, key=str.encode):
            new, old = view.get(path), lower.get(path)
            if signature(new) != signature(old) and is_below(path, paths):
                is_conflict = self.state.bases.get(path) != signature(old)
                found.append(_change(path, new, old, conflict=is_conflict))
        return found

    def commit(
        self,
        paths: Sequence[str] = ("",),
        *,
        overwrite: bool = False,
        announce: Announce | None = None,
    ) -> CommitReport:
        """As `VfsOverlay.commit`; new directories above a path are committed along."""
        with self.state.lock:
            chosen = self.changes(paths)
            conflicts = [change.path for change in chosen if change.conflict]
            if conflicts and not overwrite:
                return CommitReport((), conflicts, ())
            nodes = dict(flat(self.state.view()))
            every = {change.path: change for change in self.changes()}
            above = {path for change in chosen for path in _parents(change.path) if path in every}
            wanted = {change.path for change in chosen} | above
            if announce is not None and wanted:
                announce([every[path] for path in sorted(wanted)])
            committed, failed = [], []
            for path in _in_order(wanted, nodes):
                try:
                    apply(self.state.lower, path, nodes.get(path))
                except VfsError as error:
                    failed.append((path, error.message))
                else:
                    committed.append(path)
            self._forget(committed)
        return CommitReport(sorted(committed), (), sorted(failed))

    def rollback(
        self, paths: Sequence[str] = ("",), *, announce: Announce | None = None
    ) -> list[str]:
        """As `VfsOverlay.rollback`."""
        with self.state.lock:
            changes = self.changes(paths)
            if announce is not None:
                announce(changes)
            self._forget([path for path in self.state.upper if is_below(path, paths)])
            return [change.path for change in changes]

    def usage_bytes(self) -> int:
        """As `VfsOverlay.usage_bytes`."""
        return usage(self.state.upper)

    def close(self) -> None:
        """As `VfsDirectory.close`."""
        if not self._base:
            self.state.lower.close()

    def _forget(self, paths: Iterable[str]) -> None:
        gone = set(paths)
        upper = {path: node for path, node in self.state.upper.items() if path not in gone}
        bases = {path: base for path, base in self.state.bases.items() if path not in gone}
        self.state.settle(upper, bases)
        if not self.changes():  # directories that only hid what is gone
            self.state.settle({}, {})

    def _run(self, work: Callable[[DictDirectory], ResultT], *, touched: str = "") -> ResultT:
        """Do something to the view, and keep what changed.

        Args:
            work: Gets a directory in memory.
            touched: A file that belongs to the overlay from now on, empty for none.
        """
        state = self.state
        with state.lock:
            lower = copy_lower(state.lower, "")
            root = state.view()
            before = dict(flat(root))
            result = work(DictDirectory(root, state.lock).open_directory(self._base))
            path = "/".join(filter(None, (self._base, touched)))
            if touched and path not in state.upper:
                before.pop(path, None)
            after = dict(flat(root))
            if any(before.get(each) is not after.get(each) for each in {*before, *after}):
                state.record(lower, before, after)
            elif touched:
                state.settle(state.upper, state.bases)
            return result


class OverlayFile(DictFile):
    """A file that charges what it grows.

    Args:
        node: A file, of the upper layer unless it is open for reading.
        mode: What it is opened for.
        state: Of the overlay.
    """

    def __init__(self, node: Node, mode: OpenMode, state: OverlayState) -> None:
        super().__init__(node, mode, state.lock)
        self._state = state

    def _resize(self, size: int) -> None:
        is_kept = any(node is self.node for node in self._state.upper.values())
        if is_kept:
            self._state.grow(size - len(self.node.data))
        super()._resize(size)

    def write_at(self, offset: int, data: bytes) -> int:
        """As `VfsFile.write_at`."""
        with self.lock:
            written = super().write_at(offset, data)
            self._state.save()
            return written

    def truncate(self, size: int) -> None:
        """As `VfsFile.truncate`."""
        with self.lock:
            super().truncate(size)
            self._state.save()


def make_dict_overlay(spec: OverlaySpec) -> DictOverlay:
    """A factory for a `VfsOverlayRecord`."""
    return DictOverlay(OverlayState(spec))


def _change(path: str, new: Node | None, old: Node | None, *, conflict: bool) -> OverlayChange:
    known: Any = new or old
    word: Any = "deleted" if new is None else "added" if old is None else "modified"
    return OverlayChange(path, word, known.kind, len(new.data) if new else 0, conflict)


def _in_order(paths: set[str], nodes: Mapping[str, Node]) -> list[str]:
    """What goes, from the bottom up; then what comes, from the top down."""
    gone = sorted((path for path in paths if path not in nodes), reverse=True)
    return gone + sorted(path for path in paths if path in nodes)


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]
