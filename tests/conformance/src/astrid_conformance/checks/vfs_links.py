"""Checks for hard and symbolic links, which a backend may have or refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from astrid_conformance.check import require, require_equal
from astrid_conformance.checks.vfs_subject import (
    VFS_BACKEND,
    VfsSubject,
    names,
    read,
    require_code,
    require_kind,
    require_refused,
    write,
)
from astrid_hookspecs.errors import DeniedError, VfsError

_TARGETS: Final = ("mine", "../secret", "/etc/hostname", "a//b", "./x/../y", " ", "é", "*")


@VFS_BACKEND.required
def links_are_made_or_refused(subject: VfsSubject) -> None:
    """A backend without links says so with a typed error, and leaves nothing behind."""
    root = subject.root
    write(root, "file", b"x")
    for name, call in _makers(subject).items():
        try:
            call()
        except (VfsError, DeniedError):
            require(name not in names(root), f"a refused {name} is there all the same")
            continue
        require(name in names(root), f"{name} returned and made nothing")
    require_refused(lambda: root.readlink("file"), "readlink of a file")
    require_code("not-found", lambda: root.readlink("absent"), "readlink of nothing")


@VFS_BACKEND.optional("hard-link")
def hard_links_share_content(subject: VfsSubject) -> None:
    """A hard link is another name of the same file, and outlives the first one."""
    root = subject.root
    write(root, "one", b"x")
    root.link("one", "two")
    file = root.open("one", "read-write")
    file.write_at(0, b"y")
    file.close()
    require_equal(read(root, "two"), b"y", "content through the other name")
    root.unlink("one")
    require_equal(read(root, "two"), b"y", "content after the first name was removed")
    require_equal(names(root), ["two"], "names")


@VFS_BACKEND.optional("hard-link")
def replacing_parts_hard_links(subject: VfsSubject) -> None:
    """`replace` gives one name a new file and leaves the other names what they had."""
    root = subject.root
    write(root, "one", b"x")
    root.link("one", "two")
    root.replace("one", [b"new"])
    require_equal(read(root, "two"), b"x", "content of the other name")
    require_equal(read(root, "one"), b"new", "content of the replaced name")


@VFS_BACKEND.optional("hard-link")
def hard_links_are_of_files(subject: VfsSubject) -> None:
    """Only files get another name, and only one that is free."""
    root = subject.root
    root.mkdir("directory")
    write(root, "file", b"x")
    write(root, "other", b"y")
    require_refused(lambda: root.link("directory", "new"), "link of a directory")
    require_code("not-found", lambda: root.link("absent", "new"), "link of nothing")
    require_code("already-exists", lambda: root.link("file", "other"), "link to a taken name")
    require_code("not-found", lambda: root.link("file", "absent/new"), "link below nothing")
    require_equal(names(root), ["directory", "file", "other"], "names afterwards")
    require_equal(read(root, "other"), b"y", "content of the taken name")


@VFS_BACKEND.optional("symlink")
def symbolic_links_can_be_read(subject: VfsSubject) -> None:
    """`readlink` gives the target as it was written, `stat` describes the link itself."""
    root = subject.root
    for number, target in enumerate(_TARGETS):
        path = f"link-{number}"
        root.symlink(target, path)
        require_equal(root.readlink(path), target, "readlink")
        require_kind(root.stat(path), "symlink", "a link")
        require_equal(root.stat(path).size, len(target.encode()), "size of a link")
    require_equal(names(root), [f"link-{number}" for number in range(len(_TARGETS))], "names")
    require_code("already-exists", lambda: root.symlink("x", "link-0"), "symlink at a taken name")
    require_code("not-found", lambda: root.symlink("x", "absent/link"), "symlink below nothing")
    write(root, "file", b"")
    require_code("invalid-path", lambda: root.readlink("file"), "readlink of a file")
    if subject.side_door is not None:
        subject.side_door.link("planted", "../secret")
        require_equal(root.readlink("planted"), "../secret", "readlink of a planted link")


@VFS_BACKEND.optional("symlink")
def impossible_targets_are_refused(subject: VfsSubject) -> None:
    """An empty target, or one with a NUL or without a UTF-8 form, is a typed error."""
    for target in ("", "a\0b", "\udcff"):
        require_refused(lambda: subject.root.symlink(target, "link"), f"symlink to {target!r}")  # noqa: B023 - called at once
    require_equal(names(subject.root), [], "names afterwards")


def _makers(subject: VfsSubject) -> dict[str, Callable[[], object]]:
    return {
        "hard": lambda: subject.root.link("file", "hard"),
        "symbolic": lambda: subject.root.symlink("file", "symbolic"),
    }
