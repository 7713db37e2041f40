"""Each check of file system backends rejects a backend that breaks just that promise."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from astrid_conformance.check import Outcome, run_check
from astrid_conformance.checks.vfs_backend import (
    VFS_BACKEND,
    DictDoor,
    DiskDoor,
    VfsSubject,
    vfs_subject,
)
from astrid_conformance.fakes import DictDirectory
from astrid_conformance.fakes.vfs import CAPABILITIES
from astrid_conformance.suites import VfsBackendConformance
from astrid_hookspecs.vfs import OpenMode, VfsFile
from tests.conformance.tests import broken_files, broken_replacements, broken_trees

Subject = AbstractContextManager[VfsSubject]

BROKEN: dict[str, type[DictDirectory]] = {
    "what-is-written-is-read": broken_files.BadWrites,
    "writing-after-the-end-leaves-zeros": broken_files.LeavesNoGap,
    "truncate-cuts-and-extends": broken_files.OnlyCuts,
    "what-is-synced-is-seen": broken_files.WritesOnClose,
    "writing-replaces-and-appending-adds": broken_files.KeepsOldContent,
    "appenders-do-not-overwrite": broken_files.RemembersTheEnd,
    "modes-decide-what-exists": broken_files.AlwaysCreates,
    "modes-decide-what-may-be-done": broken_files.IgnoresModes,
    "closed-files-say-so": broken_files.NeverCloses,
    "impossible-places-are-refused": broken_files.CountsFromTheEnd,
    "far-places-are-empty": broken_files.HasSmallOffsets,
    "stat-describes-a-node": broken_files.DirectoriesHaveSizes,
    "stamps-change-with-content": broken_files.StampsAreSizes,
    "writers-of-different-files-do-not-meet": broken_files.BelongsToOneThread,
    "writers-of-one-file-keep-to-their-places": broken_files.LastCloseWins,
    "appenders-at-the-same-time-lose-nothing": broken_files.AppendersMeet,
    "open-files-outlive-their-names": broken_replacements.EmptiesWhatGoes,
    "names-are-in-byte-order": broken_trees.NamesAsWritten,
    "pages-cover-large-directories": broken_trees.ListsHalf,
    "paging-survives-changes": broken_trees.LooksForTheLastName,
    "odd-names-are-ordinary": broken_trees.ComposesNames,
    "names-that-are-no-text-are-left-out": broken_trees.ListsEverything,
    "temporaries-are-not-listed": broken_trees.ListsEverything,
    "only-directories-have-names": broken_trees.FilesAreEmptyDirectories,
    "absent-is-not-found": broken_trees.AbsentIsAnyError,
    "files-are-no-directories": broken_trees.NothingIsBelowFiles,
    "directories-are-no-files": broken_trees.UnlinksDirectories,
    "directories-come-and-go": broken_trees.RemovesFullDirectories,
    "one-of-many-makes-a-directory": broken_trees.MakesAgain,
    "the-root-stays": broken_trees.ForgetsTheRoot,
    "unlink-removes-one-file": broken_trees.UnlinksByPrefix,
    "rename-replaces": broken_trees.RenameCopies,
    "rename-moves-directories": broken_trees.RenamesShallow,
    "rename-keeps-kinds-apart": broken_trees.RenamesAnything,
    "handles-reach-only-what-is-below": broken_trees.HandlesReachTheRoot,
    "no-path-leads-outside": broken_trees.FoldsPaths,
    "malformed-paths-are-refused": broken_trees.SkipsEmptyParts,
    "links-at-the-end-are-not-followed": broken_trees.OpensLinks,
    "links-on-the-way-are-not-followed": broken_trees.WalksLinks,
    "links-are-removed-and-moved-themselves": broken_trees.UnlinksTargets,
    "special-files-never-block": broken_trees.OpensPipes,
    "refusals-are-typed-and-tell-no-place": broken_trees.TellsWhereItIs,
    "links-are-made-or-refused": broken_trees.ForgetsLinks,
    "hard-links-share-content": broken_trees.LinkCopies,
    "replacing-parts-hard-links": broken_replacements.ReplacesInPlace,
    "hard-links-are-of-files": broken_trees.LinkReplaces,
    "symbolic-links-can-be-read": broken_trees.TidiesTargets,
    "impossible-targets-are-refused": broken_trees.TakesAnyTarget,
    "replace-creates-and-replaces": broken_replacements.TakesOnePiece,
    "readers-see-old-or-new": broken_replacements.ReplacesUnderReaders,
    "old-content-stays-until-the-end": broken_replacements.ReplacesInPlace,
    "a-file-can-be-replaced-by-itself": broken_replacements.ReplacesInPlace,
    "content-that-breaks-off-changes-nothing": broken_replacements.ReplacesInPlace,
    "a-refused-replace-changes-nothing": broken_replacements.NeverAsks,
    "replace-asks-about-the-right-file": broken_replacements.AsksAboutNothing,
    "unlink-asks-about-the-right-file": broken_replacements.UnlinkNeverAsks,
    "bad-tokens-lead-nowhere": broken_replacements.TokensAreNames,
    "modes-are-kept-and-set": broken_replacements.ForgetsModes,
    "replace-asks-again-about-what-it-takes": broken_replacements.AsksOnce,
    "unlink-asks-again-about-what-it-takes": broken_replacements.AsksOnce,
    "tokens-name-the-temporary": broken_replacements.NamesTemporariesItsWay,
}
DOORS: dict[str, type[DictDoor]] = {
    "names-that-are-no-text-are-left-out": broken_trees.BytesDoor,
    "refusals-are-typed-and-tell-no-place": broken_trees.PlacedDoor,
}


@contextmanager
def in_memory(
    kind: type[DictDirectory] = DictDirectory, door: type[DictDoor] = DictDoor
) -> Iterator[VfsSubject]:
    above = DictDirectory()
    above.mkdir("root")
    above.replace("secret", [b"outside"])
    inside = above.open_directory("root")
    yield VfsSubject(kind(inside.node, inside.lock), door(inside, above))


def test_every_check_has_a_broken_backend() -> None:
    assert {check.name for check in VFS_BACKEND} == set(BROKEN)


@pytest.mark.parametrize("name", BROKEN)
def test_the_check_rejects_a_backend_that_breaks_it(name: str) -> None:
    result = run_check(
        VFS_BACKEND.named(name),
        lambda: in_memory(BROKEN[name], DOORS.get(name, DictDoor)),
        supports=CAPABILITIES,
    )
    assert result.outcome is Outcome.FAILED, name
    assert not re.match(r"\w+Error:", result.detail), "it is told what is wrong"


def test_an_optional_check_is_left_out_unless_it_is_claimed() -> None:
    check = VFS_BACKEND.named("hard-links-share-content")
    assert run_check(check, in_memory).outcome is Outcome.SKIPPED


class Waiting:
    """A backend on the disk that opens whatever there is, and waits for it."""

    def __init__(self, root: str) -> None:
        self._root = Path(root)

    def __getattr__(self, name: str) -> Callable[..., object]:
        return getattr(DictDirectory(), name)  # type: ignore[no-any-return]

    def stat(self, path: str) -> object:
        with_kind = DictDirectory()
        with_kind.special(path, "fifo")
        return with_kind.stat(path)

    def open(self, path: str, mode: OpenMode) -> VfsFile:
        del mode
        os.close(os.open(self._root / path, os.O_RDONLY))
        raise AssertionError("it never comes here by itself")


@pytest.mark.slow
def test_a_backend_that_waits_for_a_pipe_is_rejected(tmp_path: Path) -> None:
    check = VFS_BACKEND.named("special-files-never-block")
    result = run_check(check, lambda: vfs_subject(Waiting, tmp_path), limit_s=1)  # type: ignore[arg-type]
    assert result.outcome is Outcome.FAILED
    assert "did not finish" in result.detail
    os.close(os.open(tmp_path / "root" / "fifo", os.O_RDWR | os.O_NONBLOCK))


def test_the_doors_agree(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "secret").write_bytes(b"outside")
    above = DictDirectory()
    above.mkdir("root")
    above.replace("secret", [b"outside"])
    for door in (
        DiskDoor(tmp_path / "root"),
        DictDoor(above.open_directory("root"), above),
    ):
        door.mkdir("d")
        door.write("d/file", b"old")
        door.write("d/file", b"new")
        door.link("link", "../secret")
        door.write("gone", b"")
        door.remove("gone")
        door.rename("d/file", "file")
        assert door.tree() == {"d": "directory", "file": b"new", "link": "symlink"}
        assert (door.read("file"), door.read("link"), door.read("x")) == (b"new", None, None)
        assert door.mode("file") & 0o600 == 0o600
        assert "outside" in repr(door.outside())


class TestDictDirectory(VfsBackendConformance):
    supports = CAPABILITIES

    def subject(self, directory: Path) -> Subject:
        del directory
        return in_memory()
