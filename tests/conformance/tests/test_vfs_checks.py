"""Each check of file system backends rejects a backend that breaks just that promise."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any

import pytest

from astrid_conformance.check import Outcome, run_check
from astrid_conformance.checks.vfs_backend import VFS_BACKEND, VfsSubject, vfs_subject
from astrid_conformance.fakes import DictDirectory, DictFile
from astrid_conformance.suites import VfsBackendConformance
from astrid_hookspecs.errors import VfsError, VfsNotFoundError
from astrid_hookspecs.vfs import ContentCheck, NodeStat, OpenMode, VfsFile


class Trusting:
    """A backend on the disk that joins paths and hopes; everything hostile works."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)

    def open(self, path: str, mode: OpenMode) -> VfsFile:
        place = self.root / path
        data = bytearray(place.read_bytes() if place.exists() else b"")
        if mode in ("write", "append"):
            place.write_bytes(data)
        elif not place.exists():
            raise VfsNotFoundError(path)
        return DictFile(data)

    def stat(self, path: str) -> NodeStat:
        status = (self.root / path).stat()
        return NodeStat("regular", status.st_size, status.st_mode, None, None, None)

    def names(self, path: str, *, after: str | None, limit: int) -> list[str]:
        del after
        return sorted(child.name for child in (self.root / path).iterdir())[:limit]

    def readlink(self, path: str) -> str:
        return str((self.root / path).resolve())

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


class WritesAtTheEnd(DictFile):
    def write_at(self, offset: int, data: bytes) -> int:
        del offset
        self._data.extend(data)
        return len(data)


class ExtendsWithNothing(DictFile):
    def truncate(self, size: int) -> None:
        del self._data[size:]


class OpensWith(DictDirectory):
    file: type[DictFile]

    def open(self, path: str, mode: OpenMode) -> VfsFile:
        found = super().open(path, mode)
        return self.file(found._data)  # type: ignore[attr-defined]


class BadWrites(OpensWith):
    file = WritesAtTheEnd


class BadTruncate(OpensWith):
    file = ExtendsWithNothing


class KeepsOldContent(DictDirectory):
    def open(self, path: str, mode: OpenMode) -> VfsFile:
        return super().open(path, "append" if mode == "write" else mode)


class AbsentIsAnyError(DictDirectory):
    def unlink(
        self, path: str, *, only_if: ContentCheck | None = None, token: str | None = None
    ) -> None:
        try:
            super().unlink(path, only_if=only_if, token=token)
        except VfsNotFoundError as error:
            raise VfsError(path) from error


class NamesAsWritten(DictDirectory):
    def names(self, path: str, *, after: str | None, limit: int) -> list[str]:
        del after
        return self._children(self._resolve(path))[:limit]


class RemovesFullDirectories(DictDirectory):
    def rmdir(self, path: str) -> None:
        self._node(self._resolve(path))


class RenameCopies(DictDirectory):
    def rename(self, source: str, target: str) -> None:
        data = self._node(self._resolve(source))
        self.nodes[self._resolve(target)] = data


class LinkCopies(DictDirectory):
    def link(self, source: str, target: str) -> None:
        data = self._node(self._resolve(source))
        self.nodes[target] = bytearray(data or b"")


def in_memory(kind: Callable[[], Any]) -> Callable[[Path], AbstractContextManager[Any]]:
    return lambda _: nullcontext(VfsSubject(kind(), None))


def on_disk(path: Path) -> AbstractContextManager[Any]:
    return vfs_subject(Trusting, path)


BROKEN: dict[str, Callable[[Path], AbstractContextManager[Any]]] = {
    "what-is-written-is-read": in_memory(BadWrites),
    "truncate-cuts-and-extends": in_memory(BadTruncate),
    "writing-replaces-and-appending-adds": in_memory(KeepsOldContent),
    "absent-is-not-found": in_memory(AbsentIsAnyError),
    "names-are-in-byte-order": in_memory(NamesAsWritten),
    "directories-come-and-go": in_memory(RemovesFullDirectories),
    "rename-replaces": in_memory(RenameCopies),
    "no-path-leads-outside": on_disk,
    "links-do-not-lead-outside": on_disk,
    "hard-links-share-content": in_memory(LinkCopies),
    "symbolic-links-can-be-read": on_disk,
}


def test_every_check_has_a_broken_backend() -> None:
    assert {check.name for check in VFS_BACKEND} == set(BROKEN)


@pytest.mark.parametrize("name", BROKEN)
def test_the_check_rejects_a_backend_that_breaks_it(name: str, tmp_path: Path) -> None:
    result = run_check(
        VFS_BACKEND.named(name),
        lambda: BROKEN[name](tmp_path),
        supports=("hard-link", "symlink"),
    )
    assert result.outcome is Outcome.FAILED


def test_an_optional_check_is_left_out_unless_it_is_claimed(tmp_path: Path) -> None:
    check = VFS_BACKEND.named("hard-links-share-content")
    assert run_check(check, lambda: BROKEN[check.name](tmp_path)).outcome is Outcome.SKIPPED


class TestDictDirectory(VfsBackendConformance):
    supports = frozenset({"hard-link"})

    def subject(self, directory: Path) -> AbstractContextManager[VfsSubject]:
        del directory
        root = DictDirectory()
        with closing(root):
            return nullcontext(VfsSubject(root, None))
