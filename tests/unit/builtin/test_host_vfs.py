"""The host backend: the kit's promises for both ways to open paths, and what it adds to them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from astrid_conformance.checks.vfs_backend import VfsSubject, vfs_subject
from astrid_conformance.suites import VfsBackendConformance
from astrid_core.builtin.host_vfs import open_host_directory, open_host_url
from astrid_core.builtin.host_vfs.admission import MAX_OPEN_FILES
from astrid_core.builtin.host_vfs.beneath import Beneath, KernelWalk, StepWalk
from astrid_hookspecs.errors import ConfigError, PathEscapeError, VfsError, VfsNotFoundError
from astrid_hookspecs.vfs import VfsDirectory, VfsFile

CAPABILITIES = frozenset({"hard-link", "symlink", "modes", "atomic-replace"})
WALKS = {"kernel": KernelWalk(), "step": StepWalk()}


class TestKernelWalk(VfsBackendConformance):
    supports = CAPABILITIES

    def subject(self, directory: Path) -> AbstractContextManager[VfsSubject]:
        return vfs_subject(lambda root: opened(Path(root), WALKS["kernel"]), directory)


class TestStepWalk(VfsBackendConformance):
    supports = CAPABILITIES

    def subject(self, directory: Path) -> AbstractContextManager[VfsSubject]:
        return vfs_subject(lambda root: opened(Path(root), WALKS["step"]), directory)


def opened(path: Path, beneath: Beneath, *, foreign: bool = False) -> VfsDirectory:
    return open_host_directory(path, foreign=foreign, beneath=beneath)


@pytest.fixture(params=WALKS)
def beneath(request: pytest.FixtureRequest) -> Beneath:
    return WALKS[request.param]


@pytest.fixture
def root(tmp_path: Path, beneath: Beneath) -> Iterator[VfsDirectory]:
    (tmp_path / "root").mkdir()
    directory = opened(tmp_path / "root", beneath, foreign=True)
    yield directory
    directory.close()


def code(caught: pytest.ExceptionInfo[VfsError]) -> str:
    return caught.value.code


def test_a_link_to_a_directory_is_a_link_and_no_missing_directory(
    root: VfsDirectory, tmp_path: Path
) -> None:
    (tmp_path / "root" / "d").mkdir()
    (tmp_path / "root" / "l").symlink_to("d")
    for work in (
        lambda: root.stat("l/f"),
        lambda: root.replace("l/f", [b""]),
        lambda: root.mkdir("l/f"),
        lambda: root.names("l", after=None, limit=1),
        lambda: root.open_directory("l"),
        lambda: root.open("l", "read"),
    ):
        with pytest.raises(VfsError) as caught:
            work()
        assert code(caught) == "vfs.link"


def test_open_denied_when_the_file_has_another_name(root: VfsDirectory, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"outside")
    (tmp_path / "root" / "f").hardlink_to(tmp_path / "secret")
    for mode in ("read", "read-write", "write", "append"):
        with pytest.raises(PathEscapeError) as caught:
            root.open("f", mode)
        assert caught.value.rule == "vfs.hard-link"
    assert (tmp_path / "secret").read_bytes() == b"outside"
    root.replace("f", [b"mine"])
    assert (tmp_path / "secret").read_bytes() == b"outside"


def test_a_file_with_two_names_opens_in_a_tree_of_ones_own(
    tmp_path: Path, beneath: Beneath
) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    assert opened(tmp_path, beneath).open("b", "read").read_at(0, 9) == b"x"
    lenient = open_host_directory(tmp_path, foreign=True, multi_linked=True, beneath=beneath)
    assert lenient.open("b", "read").read_at(0, 9) == b"x"


def test_open_denied_when_the_file_is_mostly_not_there(root: VfsDirectory, tmp_path: Path) -> None:
    sparse = tmp_path / "root" / "sparse"
    sparse.touch()
    os.truncate(sparse, 1 << 40)
    with pytest.raises(VfsError, match="sparse") as caught:
        root.open("sparse", "read")
    assert code(caught) == "vfs.too-large"


@pytest.mark.parametrize("kind", ["fifo", "socket"])
def test_open_denied_when_it_is_no_regular_file_and_never_waits(
    root: VfsDirectory, tmp_path: Path, kind: str
) -> None:
    place = tmp_path / "root" / kind
    if kind == "fifo":
        os.mkfifo(place)
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(place))
    for mode in ("read", "write", "append", "read-write"):
        with pytest.raises(VfsError):
            root.open(kind, mode)
    assert root.stat(kind).kind == kind


def test_the_root_itself_stays(root: VfsDirectory) -> None:
    root.mkdir("d")
    for change in (
        lambda: root.mkdir(""),
        lambda: root.unlink(""),
        lambda: root.rmdir(""),
        lambda: root.rename("", "d"),
        lambda: root.rename("d", ""),
        lambda: root.replace("", []),
    ):
        with pytest.raises(VfsError) as caught:
            change()
        assert code(caught) == "vfs.access"
    assert root.stat("").kind == "directory"


def test_open_files_are_counted(root: VfsDirectory) -> None:
    root.replace("f", [b"x"])
    below: list[VfsFile] = [root.open("f", "read") for _ in range(MAX_OPEN_FILES)]
    with pytest.raises(VfsError) as caught:
        root.open_directory("").open("f", "read")
    assert code(caught) == "vfs.quota"
    for file in below:
        file.close()
        file.close()
    root.open("f", "read").close()


def test_renaming_the_root_changes_nothing(root: VfsDirectory, tmp_path: Path) -> None:
    (tmp_path / "root").rename(tmp_path / "moved")
    (tmp_path / "root").mkdir()
    root.replace("f", [b"x"])
    assert (tmp_path / "moved" / "f").exists()
    assert not (tmp_path / "root" / "f").exists()


def test_what_is_closed_says_so(root: VfsDirectory) -> None:
    file = root.open("f", "write")
    file.close()
    with pytest.raises(VfsError) as caught:
        file.write_at(0, b"x")
    assert code(caught) == "vfs.closed"
    root.close()
    root.close()
    with pytest.raises(VfsError) as caught:
        root.stat("f")
    assert code(caught) == "vfs.closed"


def test_a_url_names_an_absolute_path(tmp_path: Path) -> None:
    open_host_url(str(tmp_path)).close()
    for text in ("", "relative", "host/x", "/a\0b"):
        with pytest.raises(ConfigError):
            open_host_url(text)
    with pytest.raises(VfsNotFoundError):
        open_host_url(str(tmp_path / "absent"))


@pytest.mark.parametrize("durable", [True, False])
def test_changed_names_are_made_durable_where_that_is_wanted(
    tmp_path: Path, beneath: Beneath, monkeypatch: pytest.MonkeyPatch, *, durable: bool
) -> None:
    """A commit relies on it: the overlay forgets what it has made below."""
    for name in ("a", "b", "below"):
        (tmp_path / name).mkdir()
    synced: list[int] = []

    def fsync(descriptor: int, really: Callable[[int], None] = os.fsync) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        really(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    root = open_host_directory(tmp_path, foreign=False, durable=durable, beneath=beneath)
    (tmp_path / "a" / "file").touch()
    a, b, top = ((tmp_path / name).stat().st_ino for name in ("a", "b", "."))
    steps: list[tuple[Callable[[], object], list[int]]] = [
        (lambda: root.mkdir("a/new"), [a]),
        (lambda: root.symlink("nowhere", "a/link"), [a]),
        (lambda: root.link("a/file", "b/second"), [b]),
        (lambda: root.rename("a/new", "b/new"), [b, a]),
        (lambda: root.unlink("a/link"), [a]),
        (lambda: root.rmdir("below"), [top]),
    ]
    for act, expected in steps:
        synced.clear()
        act()
        assert synced == (expected if durable else [])
    root.close()
