"""Directories, each of which breaks one promise about replacing and removing whole files."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable
from itertools import islice

from astrid_conformance.fakes import DictDirectory
from astrid_conformance.fakes.vfs_file import Node
from astrid_hookspecs.errors import VfsError, VfsNotFoundError
from astrid_hookspecs.vfs import ContentCheck, NodeStat, OpenMode, VfsFile
from astrid_hookspecs.vfs_paths import temporary_name


class _Replaces(DictDirectory):
    """Lets a subclass change what it is asked to do."""

    def replace(
        self,
        path: str,
        content: Iterable[bytes],
        *,
        mode: int | None = None,
        only_if: ContentCheck | None = None,
        token: str | None = None,
    ) -> NodeStat:
        return super().replace(
            path, self.pieces(content), mode=mode, only_if=self.condition(only_if), token=token
        )

    def pieces(self, content: Iterable[bytes]) -> Iterable[bytes]:
        return content

    def condition(self, only_if: ContentCheck | None) -> ContentCheck | None:
        return only_if


class TakesOnePiece(_Replaces):
    def pieces(self, content: Iterable[bytes]) -> Iterable[bytes]:
        return islice(content, 1)


class NeverAsks(_Replaces):
    def condition(self, only_if: ContentCheck | None) -> ContentCheck | None:
        del only_if
        return None


class AsksAboutNothing(_Replaces):
    def condition(self, only_if: ContentCheck | None) -> ContentCheck | None:
        return None if only_if is None else lambda _: only_if(None)


class AsksOnce(_Replaces):
    """Looks, and then takes whatever is there by then."""

    def condition(self, only_if: ContentCheck | None) -> ContentCheck | None:
        if only_if is None:
            return None
        answers: list[bool] = []

        def check(file: VfsFile | None) -> bool:
            if not answers:
                answers.append(only_if(file))
            return answers[0]

        return check

    def unlink(
        self, path: str, *, only_if: ContentCheck | None = None, token: str | None = None
    ) -> None:
        super().unlink(path, only_if=self.condition(only_if), token=token)


class UnlinkNeverAsks(DictDirectory):
    def unlink(
        self, path: str, *, only_if: ContentCheck | None = None, token: str | None = None
    ) -> None:
        del only_if
        super().unlink(path, token=token)


class ReplacesInPlace(DictDirectory):
    """Empties the old file and fills it piece by piece; waits for a reader if there may be one."""

    waits = False

    def __init__(self, node: Node | None = None, lock: threading.RLock | None = None) -> None:
        super().__init__(node, lock)
        self._was_read = threading.Event()

    def open(self, path: str, mode: OpenMode) -> VfsFile:
        found = super().open(path, mode)
        if self.waits:
            self._was_read.set()
        return found

    def replace(
        self,
        path: str,
        content: Iterable[bytes],
        *,
        mode: int | None = None,
        only_if: ContentCheck | None = None,
        token: str | None = None,
    ) -> NodeStat:
        try:
            node = self._find(path)
        except VfsNotFoundError:
            return super().replace(path, content, mode=mode, only_if=only_if, token=token)
        node.data.clear()
        if self.waits:
            self._was_read.clear()
            self._was_read.wait(5)
        for piece in content:
            node.data.extend(piece)
        node.touch()
        return node.stat()


class ReplacesUnderReaders(ReplacesInPlace):
    waits = True


class EmptiesWhatGoes(DictDirectory):
    def unlink(
        self, path: str, *, only_if: ContentCheck | None = None, token: str | None = None
    ) -> None:
        node = self._find(path)
        super().unlink(path, only_if=only_if, token=token)
        node.data.clear()


class TokensAreNames(DictDirectory):
    def replace(
        self,
        path: str,
        content: Iterable[bytes],
        *,
        mode: int | None = None,
        only_if: ContentCheck | None = None,
        token: str | None = None,
    ) -> NodeStat:
        if token is not None and token.isalnum():
            self.node.entries[token] = Node("regular", 0o600)
        return super().replace(path, content, mode=mode, only_if=only_if, token=token)


class NamesTemporariesItsWay(DictDirectory):
    def replace(
        self,
        path: str,
        content: Iterable[bytes],
        *,
        mode: int | None = None,
        only_if: ContentCheck | None = None,
        token: str | None = None,
    ) -> NodeStat:
        mine = temporary_name("mine")
        self.node.entries[mine] = Node("regular", 0o600)
        try:
            return super().replace(path, content, mode=mode, only_if=only_if, token=token)
        finally:
            del self.node.entries[mine]


class ForgetsModes(DictDirectory):
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
        with contextlib.suppress(VfsError):
            self.unlink(path, only_if=only_if)
        return super().replace(path, content, only_if=None, token=token)
