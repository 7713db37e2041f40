"""Directories, each of which breaks one promise about names, paths, kinds or links."""

from __future__ import annotations

import posixpath
import unicodedata

from astrid_conformance.checks.vfs_backend import DictDoor
from astrid_conformance.fakes import DictDirectory, DictFile
from astrid_conformance.fakes.vfs_file import Node
from astrid_hookspecs.errors import VfsError, VfsNotFoundError
from astrid_hookspecs.vfs import ContentCheck, NodeStat, OpenMode, VfsFile

PLACE = "/srv/volumes/7"


class NamesAsWritten(DictDirectory):
    def names(self, path: str, *, after: str | None, limit: int) -> list[str]:
        del after
        return list(self._find(path).entries)[:limit]


class ListsHalf(DictDirectory):
    def names(self, path: str, *, after: str | None, limit: int) -> list[str]:
        every = super().names(path, after=None, limit=2500)
        return [name for name in every if after is None or name > after][:limit]


class LooksForTheLastName(DictDirectory):
    def names(self, path: str, *, after: str | None, limit: int) -> list[str]:
        every = super().names(path, after=None, limit=99)
        start = 0 if after is None else every.index(after) + 1 if after in every else len(every)
        return every[start : start + limit]


class ListsEverything(DictDirectory):
    def names(self, path: str, *, after: str | None, limit: int) -> list[str]:
        every = sorted(self._find(path).entries)
        return [name for name in every if after is None or name > after][:limit]


class FilesAreEmptyDirectories(DictDirectory):
    def names(self, path: str, *, after: str | None, limit: int) -> list[str]:
        if self.stat(path).kind == "regular":
            return []
        return super().names(path, after=after, limit=limit)


class ComposesNames(DictDirectory):
    def open(self, path: str, mode: OpenMode) -> VfsFile:
        return super().open(unicodedata.normalize("NFC", path), mode)


class AbsentIsAnyError(DictDirectory):
    def unlink(
        self, path: str, *, only_if: ContentCheck | None = None, token: str | None = None
    ) -> None:
        try:
            super().unlink(path, only_if=only_if, token=token)
        except VfsNotFoundError as error:
            raise VfsError(path, code="vfs.failed") from error


class NothingIsBelowFiles(DictDirectory):
    def stat(self, path: str) -> NodeStat:
        try:
            return super().stat(path)
        except VfsError as error:
            raise VfsNotFoundError("not there") from error


class UnlinksDirectories(DictDirectory):
    def unlink(
        self, path: str, *, only_if: ContentCheck | None = None, token: str | None = None
    ) -> None:
        if self.stat(path).kind == "directory":
            self.rmdir(path)
        else:
            super().unlink(path, only_if=only_if, token=token)


class RemovesFullDirectories(DictDirectory):
    def rmdir(self, path: str) -> None:
        parent, name = self._place(path)
        del parent.entries[name]


class MakesAgain(DictDirectory):
    def mkdir(self, path: str) -> None:
        try:
            super().mkdir(path)
        except VfsError:
            if self.stat(path).kind != "directory":
                raise


class ForgetsTheRoot(DictDirectory):
    def rmdir(self, path: str) -> None:
        if path:
            super().rmdir(path)
        else:
            self.node.entries.clear()


class UnlinksByPrefix(DictDirectory):
    def unlink(
        self, path: str, *, only_if: ContentCheck | None = None, token: str | None = None
    ) -> None:
        super().unlink(path, only_if=only_if, token=token)
        parent, name = self._place(path)
        for other in [each for each in parent.entries if each.startswith(name)]:
            del parent.entries[other]


class RenameCopies(DictDirectory):
    def rename(self, source: str, target: str) -> None:
        node = self._find(source)
        super().rename(source, target)
        parent, name = self._place(source)
        parent.entries[name] = node


class RenamesShallow(DictDirectory):
    def rename(self, source: str, target: str) -> None:
        super().rename(source, target)
        node = self._find(target)
        node.entries = {name: child for name, child in node.entries.items() if not child.entries}


class RenamesAnything(DictDirectory):
    def rename(self, source: str, target: str) -> None:
        old, new = self._place(source), self._place(target)
        node = self._find(source)
        del old[0].entries[old[1]]
        new[0].entries[new[1]] = node


class _LooksAbove(DictDirectory):
    above: DictDirectory

    def stat(self, path: str) -> NodeStat:
        try:
            return super().stat(path)
        except VfsNotFoundError:
            return self.above.stat(path)


class HandlesReachTheRoot(DictDirectory):
    def open_directory(self, path: str) -> DictDirectory:
        below = super().open_directory(path)
        handle = _LooksAbove(below.node, self.lock)
        handle.above = self
        return handle


class FoldsPaths(DictDirectory):
    def stat(self, path: str) -> NodeStat:
        return super().stat(posixpath.normpath(path) if path else "")


class SkipsEmptyParts(DictDirectory):
    def stat(self, path: str) -> NodeStat:
        return super().stat("/".join(part for part in path.split("/") if part))


class OpensLinks(DictDirectory):
    def open(self, path: str, mode: OpenMode) -> VfsFile:
        try:
            return super().open(path, mode)
        except VfsError as error:
            if error.code != "vfs.link":
                raise
        return super().open(self.readlink(path), mode)


class WalksLinks(DictDirectory):
    def stat(self, path: str) -> NodeStat:
        first, _, rest = path.partition("/")
        if rest and super().stat(first).kind == "symlink":
            return super().stat(f"{self.readlink(first)}/{rest}")
        return super().stat(path)


class UnlinksTargets(DictDirectory):
    def unlink(
        self, path: str, *, only_if: ContentCheck | None = None, token: str | None = None
    ) -> None:
        if self.stat(path).kind == "symlink":
            path = self.readlink(path)
        super().unlink(path, only_if=only_if, token=token)


class OpensPipes(DictDirectory):
    def open(self, path: str, mode: OpenMode) -> VfsFile:
        if path == "fifo":
            return DictFile(self._find(path), mode, self.lock)
        return super().open(path, mode)


class TellsWhereItIs(DictDirectory):
    def open(self, path: str, mode: OpenMode) -> VfsFile:
        try:
            return super().open(path, mode)
        except VfsNotFoundError as error:
            raise VfsNotFoundError(f"there is no {PLACE}/{path}") from error


class ForgetsLinks(DictDirectory):
    def symlink(self, target: str, path: str) -> None:
        pass


class LinkCopies(DictDirectory):
    def link(self, source: str, target: str) -> None:
        self.replace(target, [bytes(self._find(source).data)])


class LinkReplaces(DictDirectory):
    def link(self, source: str, target: str) -> None:
        parent, name = self._place(target)
        if name in parent.entries:
            del parent.entries[name]
        super().link(source, target)


class TidiesTargets(DictDirectory):
    def symlink(self, target: str, path: str) -> None:
        super().symlink(posixpath.normpath(target), path)


class TakesAnyTarget(DictDirectory):
    def symlink(self, target: str, path: str) -> None:
        self._add(path, Node("symlink", 0o777, target=target or "."))


class BytesDoor(DictDoor):
    """Makes a name that is not UTF-8 after all."""

    def undecodable(self) -> bool:
        self.root.node.entries["\udcff"] = Node("regular", 0o644)
        return True


class PlacedDoor(DictDoor):
    """As if the host had a name for the root."""

    def place(self) -> str:
        return PLACE
