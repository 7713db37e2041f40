"""Overlays, each of which breaks one promise. Their factories can be found by another process."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from pathlib import Path

from astrid_conformance.fakes import DictDirectory, DictFile, DictOverlay
from astrid_conformance.fakes.vfs import flat
from astrid_conformance.fakes.vfs_file import Node
from astrid_conformance.fakes.vfs_overlay_state import (
    OverlayState,
    Signature,
    copy_lower,
    signature,
)
from astrid_hookspecs.errors import VfsNotFoundError
from astrid_hookspecs.vfs import (
    Announce,
    CommitReport,
    ContentCheck,
    NodeStat,
    OpenMode,
    OverlayChange,
    OverlaySpec,
    VfsOverlay,
)

_SHARED: dict[Path, OverlayState] = {}


class WritesThrough(DictOverlay):
    def replace(
        self,
        path: str,
        content: Iterable[bytes],
        *,
        mode: int | None = None,
        only_if: ContentCheck | None = None,
        token: str | None = None,
    ) -> NodeStat:
        data = list(content)
        self.state.lower.replace(path, data, mode=mode)
        return super().replace(path, data, mode=mode, only_if=only_if, token=token)


class LowerWins(DictOverlay):
    def open(self, path: str, mode: OpenMode) -> DictFile:
        if mode == "read":
            try:
                return self.state.lower.open(path, mode)  # type: ignore[return-value]
            except VfsNotFoundError:
                pass
        return super().open(path, mode)


class ListsLowerToo(DictOverlay):
    def names(self, path: str, *, after: str | None, limit: int) -> list[str]:
        found = super().names(path, after=after, limit=limit)
        return sorted(found + self.state.lower.names(path, after=after, limit=limit))[:limit]


class _ForgetsRemovals(OverlayState):
    def __init__(self, spec: OverlaySpec) -> None:
        super().__init__(spec)
        self.upper = {path: node for path, node in self.upper.items() if node is not None}


class MkdirBringsBack(DictOverlay):
    def mkdir(self, path: str) -> None:
        super().mkdir(path)
        for each in [each for each in self.state.upper if each.startswith(path)]:
            del self.state.upper[each]


class RenamesShallow(DictOverlay):
    def rename(self, source: str, target: str) -> None:
        super().rename(source, target)
        for each in [each for each in self.state.upper if each.startswith(f"{target}/")]:
            del self.state.upper[each]


class _KeepsKinds(OverlayState):
    def __init__(self, spec: OverlaySpec) -> None:
        super().__init__(spec)
        for path, node in flat(copy_lower(spec.lower, "")):
            mine = self.upper.get(path)
            if mine is not None and mine.kind != node.kind == "directory":
                del self.upper[path]


class _Remembers(OverlayState):
    """Compares with what is below when it is opened, not with what was there."""

    def __init__(self, spec: OverlaySpec) -> None:
        super().__init__(spec)
        lower = dict(flat(copy_lower(spec.lower, "")))
        self.bases = {path: signature(lower.get(path)) for path in self.bases}


class _NeverSaves(OverlayState):
    def save(self) -> None:
        pass


class SavesOnClose(DictOverlay):
    def close(self) -> None:
        OverlayState.save(self.state)
        super().close()


class _GivesNothingBack(OverlayState):
    def grow(self, size: int) -> None:
        super().grow(max(0, size))


class _ChargesLate(OverlayState):
    def settle(self, upper: dict[str, Node | None], bases: dict[str, Signature]) -> None:
        self.upper, self.bases = upper, bases
        super().settle(upper, bases)


class _SpreadsOut(OverlayState):
    def save(self) -> None:
        super().save()
        (self._file.parents[1] / "journal").write_bytes(b"")


class IgnoresPaths(DictOverlay):
    def changes(self, paths: Sequence[str] = ("",)) -> list[OverlayChange]:
        del paths
        return super().changes()


class ListsTouched(DictOverlay):
    def changes(self, paths: Sequence[str] = ("",)) -> list[OverlayChange]:
        found = {change.path: change for change in super().changes(paths)}
        for path in self.state.upper:
            found.setdefault(path, OverlayChange(path, "modified", "regular", 0, conflict=False))
        return sorted(found.values())


class CommitsNoRemovals(DictOverlay):
    def commit(self, paths: Sequence[str] = ("",), *, overwrite: bool = False) -> CommitReport:
        chosen = [change.path for change in self.changes(paths) if change.change != "deleted"]
        return super().commit(chosen, overwrite=overwrite)


class CommitsEverything(DictOverlay):
    def commit(self, paths: Sequence[str] = ("",), *, overwrite: bool = False) -> CommitReport:
        del paths
        return super().commit(overwrite=overwrite)


class AlwaysOverwrites(DictOverlay):
    def commit(self, paths: Sequence[str] = ("",), *, overwrite: bool = False) -> CommitReport:
        del overwrite
        return super().commit(paths, overwrite=True)


class NeverOverwrites(DictOverlay):
    def commit(self, paths: Sequence[str] = ("",), *, overwrite: bool = False) -> CommitReport:
        del overwrite
        return super().commit(paths)


class ForgetsAfterCommits(DictOverlay):
    def commit(self, paths: Sequence[str] = ("",), *, overwrite: bool = False) -> CommitReport:
        report = super().commit(paths, overwrite=overwrite)
        self.state.settle({}, {})
        return report


class AnnouncesLate(DictOverlay):
    def commit(
        self,
        paths: Sequence[str] = ("",),
        *,
        overwrite: bool = False,
        announce: Announce | None = None,
    ) -> CommitReport:
        changes = self.changes(paths)
        report = super().commit(paths, overwrite=overwrite)
        if announce is not None:
            announce(changes)
        return report


class RollsNothingBack(DictOverlay):
    def rollback(self, paths: Sequence[str] = ("",)) -> list[str]:
        return [change.path for change in self.changes(paths)]


class FoldsPaths(DictOverlay):
    def changes(self, paths: Sequence[str] = ("",)) -> list[OverlayChange]:
        folded = [posixpath.normpath(f"/{path}").strip("/\0") for path in paths]
        return super().changes(folded)


class IgnoresModes(DictOverlay):
    def replace(
        self,
        path: str,
        content: Iterable[bytes],
        *,
        mode: int | None = None,
        only_if: ContentCheck | None = None,
        token: str | None = None,
    ) -> NodeStat:
        del mode
        return super().replace(path, content, only_if=only_if, token=token)


class LinksAreFiles(DictOverlay):
    def symlink(self, target: str, path: str) -> None:
        self.replace(path, [target.encode()])

    def readlink(self, path: str) -> str:
        return self.open(path, "read").read_at(0, 99).decode()


def forgets_removals(spec: OverlaySpec) -> VfsOverlay:
    return DictOverlay(_ForgetsRemovals(spec))


def keeps_kinds(spec: OverlaySpec) -> VfsOverlay:
    return DictOverlay(_KeepsKinds(spec))


def remembers(spec: OverlaySpec) -> VfsOverlay:
    return DictOverlay(_Remembers(spec))


def never_saves(spec: OverlaySpec) -> VfsOverlay:
    return DictOverlay(_NeverSaves(spec))


def saves_on_close(spec: OverlaySpec) -> VfsOverlay:
    return SavesOnClose(_NeverSaves(spec))


def gives_nothing_back(spec: OverlaySpec) -> VfsOverlay:
    return DictOverlay(_GivesNothingBack(spec))


def charges_late(spec: OverlaySpec) -> VfsOverlay:
    return DictOverlay(_ChargesLate(spec))


def spreads_out(spec: OverlaySpec) -> VfsOverlay:
    return DictOverlay(_SpreadsOut(spec))


def copies_at_first(spec: OverlaySpec) -> VfsOverlay:
    lower = DictDirectory(copy_lower(spec.lower, ""))
    return DictOverlay(OverlayState(OverlaySpec(lower, spec.store, spec.meter)))


def shares_its_state(spec: OverlaySpec) -> VfsOverlay:
    return DictOverlay(_SHARED.setdefault(spec.store.parent, OverlayState(spec)))
