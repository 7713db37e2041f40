"""Checks for listings: order, pages, odd names, and what is left out."""

from __future__ import annotations

from typing import Final

from astrid_conformance.check import require, require_equal
from astrid_conformance.checks.vfs_subject import (
    EVERYTHING,
    VFS_BACKEND,
    VfsSubject,
    names,
    read,
    require_code,
    require_kind,
    write,
)
from astrid_hookspecs.vfs_paths import MAX_NAME_BYTES, temporary_name

MANY: Final = 4_000
MANY_API: Final = 2_000
"""How many the API is asked to make one by one."""
ODD_NAMES: Final = (
    " ",
    " a ",
    "...",
    "..a",
    "a..",
    ".hidden",
    "-rf",
    "--",
    "~",
    "~root",
    "$HOME",
    "*",
    "a?[b]{c}",
    "a\\b",
    "..\\a",
    "C:",
    "CON",
    "a:b",
    "a::b",
    "a#b?c=d",
    "%2e%2e",
    "%2F",
    "a\nb",
    "a\tb",
    "\x1b[31m",
    "\x7f",
    "'\"`;|&",
    "\uff0e\uff0e",  # full-width full stops
    "\u2024\u2024",  # one dot leaders
    "\u2025",  # two dot leader
    "a\u2215b",  # division slash
    "a\u2044b",  # fraction slash
    "a\u29f8b",  # big solidus
    "\uff0fetc",  # full-width solidus
    "caf\u00e9",
    "cafe\u0301",  # the same to a reader, another name
    "\u202egpj.exe",  # right-to-left override
    "\u200b",  # zero width space
    "\U0001f600",
    "\uffef",
    "e" * MAX_NAME_BYTES,
    "\u00e9" * (MAX_NAME_BYTES // 2),
)
"""Ordinary names, however they look: none has a slash or a NUL, or is `.` or `..`."""


@VFS_BACKEND.required
def names_are_in_byte_order(subject: VfsSubject) -> None:
    """Names come ascending by their bytes, page by page, without `.` and `..`."""
    given = ["b", "a", "B", "é", "10", "9", "\U0001f600", "\uffef"]
    for name in given:
        write(subject.root, name, b"")
    expected = sorted(given, key=str.encode)
    root = subject.root
    require_equal(root.names("", after=None, limit=99), expected, "names")
    require_equal(root.names("", after=None, limit=2), expected[:2], "first page")
    require_equal(root.names("", after=expected[1], limit=2), expected[2:4], "second page")
    require_equal(root.names("", after=expected[-1], limit=2), [], "page after the end")
    require_equal(root.names("", after="1x", limit=1), ["9"], "page after a name that is not there")
    require_equal(root.names("", after=None, limit=0), [], "page of no names")


@VFS_BACKEND.required
def pages_cover_large_directories(subject: VfsSubject) -> None:
    """Thousands of names come once each, however large the pages are."""
    root = subject.root
    many = MANY_API if subject.side_door is None else MANY
    expected = [f"entry-{number:05}" for number in range(many)]
    for name in reversed(expected):
        if subject.side_door is not None:
            subject.side_door.write(name, b"")
        else:
            root.replace(name, [])
    for size in (999, EVERYTHING):
        found: list[str] = []
        while page := root.names("", after=found[-1] if found else None, limit=size):
            require(len(page) <= size, f"a page of {size} has {len(page)} names")
            found += page
        require(found == expected, f"pages of {size} do not give every name once, in order")


@VFS_BACKEND.required
def paging_survives_changes(subject: VfsSubject) -> None:
    """A listing goes on after a name that was removed meanwhile, and shows what came later."""
    root = subject.root
    for name in ("a", "b", "c", "d"):
        write(root, name, b"")
    require_equal(root.names("", after=None, limit=2), ["a", "b"], "first page")
    root.unlink("b")
    root.unlink("c")
    write(root, "bb", b"")
    require_equal(root.names("", after="b", limit=2), ["bb", "d"], "second page")


@VFS_BACKEND.required
def odd_names_are_ordinary(subject: VfsSubject) -> None:
    """Names that look like something else are names: stored, listed and read as they are."""
    root = subject.root
    for number, name in enumerate(ODD_NAMES):
        write(root, name, str(number).encode())
    require_equal(names(root), sorted(ODD_NAMES), "names")
    for number, name in enumerate(ODD_NAMES):
        require_equal(read(root, name), str(number).encode(), f"content of {name!r}")
        require_kind(root.stat(name), "regular", repr(name))
    if subject.stored is not None:
        require_equal(sorted(subject.stored.tree()), sorted(ODD_NAMES), "names that are stored")
    for name in ODD_NAMES:
        root.unlink(name)
        root.mkdir(name)
        write(root, f"{name}/{name}", b"x")
        require_equal(names(root, name), [name], f"names in {name!r}")
    require_equal(names(root), sorted(ODD_NAMES), "names of directories")


@VFS_BACKEND.required
def names_that_are_no_text_are_left_out(subject: VfsSubject) -> None:
    """Names that are not UTF-8 are not listed, and the others are."""
    write(subject.root, "file", b"x")
    if subject.side_door is None or not subject.side_door.undecodable():
        return  # such names cannot be here
    require_equal(names(subject.root), ["file"], "names")
    require_equal(subject.root.names("", after="file", limit=9), [], "names after the last")


@VFS_BACKEND.required
def temporaries_are_not_listed(subject: VfsSubject) -> None:
    """Temporary names are left out of listings; whoever knows them can still clean up."""
    root = subject.root
    temporary = temporary_name("crashed1")
    if subject.side_door is None:
        write(root, temporary, b"half")
    else:
        subject.side_door.write(temporary, b"half")
    write(root, "file", b"x")
    require_equal(names(root), ["file"], "names beside a temporary")
    require_equal(root.names("", after=None, limit=1), ["file"], "page of one name")
    require_kind(root.stat(temporary), "regular", "a temporary")
    root.unlink(temporary)
    require_code("not-found", lambda: root.stat(temporary), "stat of a temporary that is gone")


@VFS_BACKEND.required
def only_directories_have_names(subject: VfsSubject) -> None:
    """`names` of a file is `vfs.not-directory`, of nothing `vfs.not-found`."""
    root = subject.root
    write(root, "file", b"")
    require_code("not-directory", lambda: names(root, "file"), "names of a file")
    require_code("not-found", lambda: names(root, "absent"), "names of nothing")
    root.mkdir("empty")
    require_equal(names(root, "empty"), [], "names of an empty directory")
