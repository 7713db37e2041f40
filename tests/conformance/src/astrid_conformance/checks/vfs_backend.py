"""Checks for file system backends: handles, order, and paths that must not lead outside.

`astrid_hookspecs.vfs`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from astrid_conformance.check import (
    CheckList,
    SkippedError,
    require,
    require_equal,
    require_raises,
)
from astrid_hookspecs.errors import DeniedError, VfsError, VfsNotFoundError
from astrid_hookspecs.vfs import VfsDirectory

_OUTSIDE: Final = ("../secret", "a/../../secret", "/etc/hostname", "..", "./../secret", "a/../..")


@dataclass(frozen=True)
class VfsSubject:
    """A directory of a backend.

    Attributes:
        root: The directory, empty.
        side_door: The same directory on the disk; None for a backend that is not on the disk.
    """

    root: VfsDirectory
    side_door: Path | None


@contextlib.contextmanager
def vfs_subject(factory: Callable[[str], VfsDirectory], directory: Path) -> Iterator[VfsSubject]:
    """A subject for one check, made by giving the factory a path on the disk.

    A file beside the root plays the secret that nobody may reach.
    """
    inside = directory / "root"
    inside.mkdir()
    (directory / "secret").write_bytes(b"outside")
    root = factory(str(inside))
    try:
        yield VfsSubject(root, inside)
    finally:
        root.close()


VFS_BACKEND: Final = CheckList[VfsSubject]()


def _write(root: VfsDirectory, path: str, data: bytes) -> None:
    file = root.open(path, "write")
    try:
        require_equal(file.write_at(0, data), len(data), "write_at")
    finally:
        file.close()


def _read(root: VfsDirectory, path: str) -> bytes:
    file = root.open(path, "read")
    try:
        return file.read_at(0, 1 << 20)
    finally:
        file.close()


@VFS_BACKEND.required
def what_is_written_is_read(subject: VfsSubject) -> None:
    """Reads and writes are positional; reading at the end gives nothing."""
    root = subject.root
    _write(root, "file", b"0123456789")
    file = root.open("file", "read-write")
    require_equal(file.read_at(3, 4), b"3456", "read in the middle")
    require_equal(file.read_at(8, 99), b"89", "read across the end")
    require_equal(file.read_at(10, 1), b"", "read at the end")
    require_equal(file.read_at(99, 1), b"", "read after the end")
    file.write_at(2, b"xx")
    require_equal(file.read_at(0, 10), b"01xx456789", "read after a write in the middle")
    require_equal(file.stat().size, 10, "size")
    file.close()
    file.close()


@VFS_BACKEND.required
def truncate_cuts_and_extends(subject: VfsSubject) -> None:
    """`truncate` cuts, and extends with zeros."""
    _write(subject.root, "file", b"0123456789")
    file = subject.root.open("file", "read-write")
    file.truncate(3)
    file.truncate(5)
    require_equal(file.read_at(0, 99), b"012\0\0", "content after truncate")
    file.sync(metadata=True)
    file.close()


@VFS_BACKEND.required
def writing_replaces_and_appending_adds(subject: VfsSubject) -> None:
    """Mode `write` starts with an empty file, mode `append` with what is there."""
    _write(subject.root, "file", b"a long first content")
    _write(subject.root, "file", b"short")
    require_equal(_read(subject.root, "file"), b"short", "content after a second write")
    file = subject.root.open("file", "append")
    file.write_at(5, b"er")
    file.close()
    require_equal(_read(subject.root, "file"), b"shorter", "content after an append")


@VFS_BACKEND.required
def absent_is_not_found(subject: VfsSubject) -> None:
    """What is not there raises `VfsNotFoundError`, for every operation."""
    root = subject.root
    calls: dict[str, Callable[[], object]] = {
        "open": lambda: root.open("absent", "read"),
        "stat": lambda: root.stat("absent"),
        "unlink": lambda: root.unlink("absent"),
        "rmdir": lambda: root.rmdir("absent"),
        "names": lambda: root.names("absent", after=None, limit=9),
        "rename": lambda: root.rename("absent", "other"),
    }
    for name, call in calls.items():
        require_raises(VfsNotFoundError, call, f"{name} of an absent path")


@VFS_BACKEND.required
def names_are_in_byte_order(subject: VfsSubject) -> None:
    """Names come ascending by their bytes, page by page, without `.` and `..`."""
    names = ["b", "a", "B", "é", "10", "9"]
    for name in names:
        _write(subject.root, name, b"")
    expected = sorted(names, key=str.encode)
    root = subject.root
    require_equal(root.names("", after=None, limit=99), expected, "names")
    require_equal(root.names("", after=None, limit=2), expected[:2], "first page")
    require_equal(root.names("", after=expected[1], limit=2), expected[2:4], "second page")
    require_equal(root.names("", after=expected[-1], limit=2), [], "page after the end")


@VFS_BACKEND.required
def directories_come_and_go(subject: VfsSubject) -> None:
    """Directories are made one by one and removed when they are empty."""
    root = subject.root
    root.mkdir("a")
    root.mkdir("a/b")
    _write(root, "a/b/file", b"x")
    require_equal(root.stat("a").kind, "directory", "kind")
    require_raises(VfsError, lambda: root.mkdir("a"), "mkdir of an existing directory")
    require_raises(VfsError, lambda: root.rmdir("a/b"), "rmdir of a full directory")
    require_raises(VfsError, lambda: root.mkdir("x/y"), "mkdir below an absent directory")
    root.unlink("a/b/file")
    root.rmdir("a/b")
    require_equal(root.names("a", after=None, limit=9), [], "names after rmdir")


@VFS_BACKEND.required
def rename_replaces(subject: VfsSubject) -> None:
    """`rename` replaces its target in one step."""
    _write(subject.root, "old", b"old")
    _write(subject.root, "new", b"new")
    subject.root.rename("new", "old")
    require_equal(_read(subject.root, "old"), b"new", "content after rename")
    require_equal(subject.root.names("", after=None, limit=9), ["old"], "names after rename")


@VFS_BACKEND.required
def no_path_leads_outside(subject: VfsSubject) -> None:
    """Absolute paths and `..` are refused by every operation."""
    root = subject.root
    root.mkdir("a")
    _write(root, "mine", b"x")
    for path in _OUTSIDE:
        calls: dict[str, Callable[[], object]] = {
            "open": partial(root.open, path, "read"),
            "create": partial(root.open, path, "write"),
            "stat": partial(root.stat, path),
            "names": partial(root.names, path, after=None, limit=9),
            "mkdir": partial(root.mkdir, path),
            "unlink": partial(root.unlink, path),
            "rename to": partial(root.rename, "mine", path),
            "rename from": partial(root.rename, path, "mine"),
        }
        for name, call in calls.items():
            require_raises((DeniedError, VfsError), call, f"{name} {path!r}")
    if subject.side_door is not None:
        secret = subject.side_door.parent / "secret"
        require_equal(secret.read_bytes(), b"outside", "a file outside the root")


@VFS_BACKEND.required
def links_do_not_lead_outside(subject: VfsSubject) -> None:
    """A symbolic link that points outside is not followed, neither at the end nor on the way."""
    if subject.side_door is None:
        return  # not on the disk: nobody can plant a link
    (subject.side_door / "file-link").symlink_to("../secret")
    (subject.side_door / "directory-link").symlink_to("..")
    root = subject.root
    calls: dict[str, Callable[[], object]] = {
        "open": lambda: root.open("file-link", "read"),
        "write": lambda: root.open("file-link", "write"),
        "open through a link": lambda: root.open("directory-link/secret", "read"),
        "names through a link": lambda: root.names("directory-link", after=None, limit=9),
        "mkdir through a link": lambda: root.mkdir("directory-link/made"),
    }
    for name, call in calls.items():
        require_raises((DeniedError, VfsError), call, name)
    require(not (subject.side_door.parent / "made").exists(), "a directory was made outside")


@VFS_BACKEND.optional("hard-link")
def hard_links_share_content(subject: VfsSubject) -> None:
    """A hard link is another name of the same file."""
    _write(subject.root, "one", b"x")
    subject.root.link("one", "two")
    file = subject.root.open("one", "read-write")
    file.write_at(0, b"y")
    file.close()
    require_equal(_read(subject.root, "two"), b"y", "content through the other name")


@VFS_BACKEND.optional("symlink")
def symbolic_links_can_be_read(subject: VfsSubject) -> None:
    """`readlink` gives the target as it was written, `stat` describes the link itself."""
    if subject.side_door is None:
        raise SkippedError("this backend is not on the disk, so nobody can plant a link")
    (subject.side_door / "link").symlink_to("target")
    require_equal(subject.root.readlink("link"), "target", "readlink")
    require_equal(subject.root.stat("link").kind, "symlink", "kind of a link")
