"""Checks for open files: positions, modes, handles that are closed, writers at the same time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Final

from astrid_conformance.check import in_threads, require, require_equal
from astrid_conformance.checks.vfs_subject import (
    VFS_BACKEND,
    VfsSubject,
    read,
    require_code,
    require_kind,
    require_refused,
    write,
)
from astrid_hookspecs.errors import VfsNotFoundError
from astrid_hookspecs.vfs import OpenMode, VfsDirectory, VfsFile

MODES: Final[tuple[OpenMode, ...]] = ("read", "write", "append", "read-write")
_WRITERS: Final = 4
_RECORDS: Final = 20
_FAR: Final = 5 * 1024**3


@VFS_BACKEND.required
def what_is_written_is_read(subject: VfsSubject) -> None:
    """Reads and writes are positional; reading at the end gives nothing."""
    root = subject.root
    write(root, "file", b"0123456789")
    file = root.open("file", "read-write")
    require_equal(file.read_at(3, 4), b"3456", "read in the middle")
    require_equal(file.read_at(0, 2), b"01", "read before it")
    require_equal(file.read_at(0, 0), b"", "read of nothing")
    require_equal(file.read_at(8, 99), b"89", "read across the end")
    require_equal(file.read_at(10, 1), b"", "read at the end")
    require_equal(file.read_at(99, 1), b"", "read after the end")
    require_equal(file.write_at(2, b"xx"), 2, "result of a write in the middle")
    require_equal(file.read_at(0, 10), b"01xx456789", "read after a write in the middle")
    require_equal(file.stat().size, 10, "size")
    file.close()
    file.close()
    require_equal(read(root, "file"), b"01xx456789", "content after close")
    if subject.stored is not None:
        require_equal(subject.stored.read("file"), b"01xx456789", "what is stored")


@VFS_BACKEND.required
def writing_after_the_end_leaves_zeros(subject: VfsSubject) -> None:
    """What lies between the old end and a write after it is zeros."""
    file = subject.root.open("file", "write")
    file.write_at(0, b"ab")
    require_equal(file.write_at(5, b"c"), 1, "result of a write after the end")
    file.close()
    require_equal(read(subject.root, "file"), b"ab\0\0\0c", "content")


@VFS_BACKEND.required
def truncate_cuts_and_extends(subject: VfsSubject) -> None:
    """`truncate` cuts, and extends with zeros."""
    write(subject.root, "file", b"0123456789")
    file = subject.root.open("file", "read-write")
    file.truncate(3)
    require_equal(file.stat().size, 3, "size after a cut")
    file.truncate(5)
    require_equal(file.read_at(0, 99), b"012\0\0", "content after truncate")
    file.sync(metadata=True)
    file.close()
    require_equal(subject.root.stat("file").size, 5, "size afterwards")


@VFS_BACKEND.required
def what_is_synced_is_seen(subject: VfsSubject) -> None:
    """After `sync` whoever opens the file sees what was written, though the writer is open."""
    file = subject.root.open("file", "write")
    file.write_at(0, b"first")
    file.sync(metadata=False)
    require_equal(read(subject.root, "file"), b"first", "content after sync")
    file.write_at(5, b" second")
    file.sync(metadata=True)
    require_equal(read(subject.root, "file"), b"first second", "content after a second sync")
    file.close()


@VFS_BACKEND.required
def writing_replaces_and_appending_adds(subject: VfsSubject) -> None:
    """Mode `write` starts with an empty file, mode `append` with what is there."""
    write(subject.root, "file", b"a long first content")
    write(subject.root, "file", b"short")
    require_equal(read(subject.root, "file"), b"short", "content after a second write")
    file = subject.root.open("file", "append")
    require_equal(file.write_at(0, b"er"), 2, "result of an append")
    file.close()
    require_equal(read(subject.root, "file"), b"shorter", "content after an append at 0")


@VFS_BACKEND.required
def appenders_do_not_overwrite(subject: VfsSubject) -> None:
    """Two handles that append in turn each add at the end that is there by then."""
    one = subject.root.open("file", "append")
    two = subject.root.open("file", "append")
    for file, data in ((one, b"1 "), (two, b"22 "), (one, b"333 "), (two, b"4")):
        file.write_at(0, data)
    one.close()
    two.close()
    require_equal(read(subject.root, "file"), b"1 22 333 4", "content after two appenders")


@VFS_BACKEND.required
def modes_decide_what_exists(subject: VfsSubject) -> None:
    """`read` and `read-write` need a file, `write` and `append` create one."""
    root = subject.root
    for mode in ("read", "read-write"):
        require_code("not-found", partial(root.open, "absent", mode), f"open to {mode}")
    require_equal(root.names("", after=None, limit=9), [], "names after a failed open")
    root.open("write", "write").close()
    root.open("append", "append").close()
    require_equal(root.names("", after=None, limit=9), ["append", "write"], "names")
    require_equal(read(root, "write"), b"", "content of a new file")


@VFS_BACKEND.required
def modes_decide_what_may_be_done(subject: VfsSubject) -> None:
    """A handle for reading does not write, one for writing does not read: `vfs.access`."""
    root = subject.root
    write(root, "file", b"content")
    file = root.open("file", "read")
    require_code("access", lambda: file.write_at(0, b"x"), "write to a handle for reading")
    require_code("access", lambda: file.truncate(0), "truncate of a handle for reading")
    file.close()
    for mode in ("append", "write"):
        other = root.open("file", mode)
        require_code("access", partial(other.read_at, 0, 1), f"read from a handle to {mode}")
        other.close()
    require_equal(read(root, "file"), b"", "content after opening to write")


@VFS_BACKEND.required
def closed_files_say_so(subject: VfsSubject) -> None:
    """Every call on a closed file raises `vfs.closed`, and closing again is no error."""
    root = subject.root
    write(root, "file", b"content")
    for mode in MODES:
        file = root.open("file", mode)
        file.close()
        file.close()
        for name, call in _calls(file).items():
            require_code("closed", call, f"{name} of a closed file")
    require_equal(read(root, "file"), b"", "content after opening to write")


@VFS_BACKEND.required
def impossible_places_are_refused(subject: VfsSubject) -> None:
    """Negative offsets and sizes are refused, and nothing is changed."""
    root = subject.root
    write(root, "file", b"content")
    file = root.open("file", "read-write")
    require_refused(lambda: file.read_at(-1, 2), "read at -1")
    require_refused(lambda: file.read_at(0, -1), "read of -1 bytes")
    require_refused(lambda: file.write_at(-3, b"x"), "write at -3")
    require_refused(lambda: file.truncate(-1), "truncate to -1")
    file.close()
    require_equal(read(root, "file"), b"content", "content afterwards")


@VFS_BACKEND.required
def far_places_are_empty(subject: VfsSubject) -> None:
    """Reading beyond 4 GiB of a small file gives nothing, and a huge size only what is there."""
    write(subject.root, "file", b"content")
    file = subject.root.open("file", "read")
    for offset in (2**31, 2**32, 2**32 + 1, _FAR, 2**62):
        require_equal(file.read_at(offset, 4), b"", f"read at {offset}")
    require_equal(file.read_at(1, 2**40), b"ontent", "read of a tebibyte")
    file.close()


@VFS_BACKEND.required
def stat_describes_a_node(subject: VfsSubject) -> None:
    """`stat` tells kind, size and times of files and directories, by path and by handle."""
    root = subject.root
    root.mkdir("directory")
    write(root, "directory/file", b"12345")
    found = root.stat("directory/file")
    require_kind(found, "regular", "a file")
    require_equal(found.size, 5, "size of a file")
    file = root.open("directory/file", "read")
    require_equal(file.stat()[:2], found[:2], "kind and size by handle")
    file.close()
    for path in ("directory", ""):
        require_kind(root.stat(path), "directory", repr(path))
        require_equal(root.stat(path).size, 0, f"size of directory {path!r}")
    for time in (found.modified_ns, found.created_ns, found.accessed_ns):
        is_time = time is None or (type(time) is int and time >= 0)
        require(is_time, f"a time is {time!r}, not nanoseconds since 1970")
    require(0 <= found.mode <= 0o7777, f"mode {found.mode:o} has more than permission bits")


@VFS_BACKEND.required
def stamps_change_with_content(subject: VfsSubject) -> None:
    """A stamp that is not empty differs after a write, a cut and a replacement."""
    root = subject.root
    write(root, "file", b"one")
    seen = [root.stat("file").stamp]
    file = root.open("file", "append")
    file.write_at(0, b" more")
    file.close()
    seen.append(root.stat("file").stamp)
    file = root.open("file", "read-write")
    file.truncate(1)
    file.close()
    seen.append(root.stat("file").stamp)
    seen.append(root.replace("file", [b"a"]).stamp)
    seen.append(root.replace("file", [b"b"]).stamp)
    require_equal(root.stat("file").stamp, seen[-1], "the stamp that replace returned")
    told = [stamp for stamp in seen if stamp]
    for before, after in itertools.pairwise(told):
        require(before != after, f"the content changed and the stamp is still {before!r}")


@VFS_BACKEND.required
def writers_of_different_files_do_not_meet(subject: VfsSubject) -> None:
    """Threads that write a file each, through one directory handle, get what they wrote."""

    def work(number: int) -> None:
        data = bytes([65 + number]) * 100
        for round_ in range(_RECORDS):
            write(subject.root, f"file-{number}", data + bytes([48 + round_]))
            require_equal(read(subject.root, f"file-{number}")[:100], data, "own content")

    in_threads(*(partial(work, number) for number in range(_WRITERS)))


@VFS_BACKEND.required
def writers_of_one_file_keep_to_their_places(subject: VfsSubject) -> None:
    """Threads with a handle each, writing other places of one file, lose nothing."""
    root = subject.root
    size = 1000
    write(root, "file", bytes(_WRITERS * size))

    def work(number: int) -> None:
        file = root.open("file", "read-write")
        for start in range(0, size, size // _RECORDS):
            file.write_at(number * size + start, bytes([65 + number]) * (size // _RECORDS))
        file.close()

    in_threads(*(partial(work, number) for number in range(_WRITERS)))
    expected = b"".join(bytes([65 + number]) * size for number in range(_WRITERS))
    require(read(root, "file") == expected, "what one thread wrote is lost")


@VFS_BACKEND.required
def appenders_at_the_same_time_lose_nothing(subject: VfsSubject) -> None:
    """Records that threads append to one file are all there, whole."""
    root = subject.root

    def work(number: int) -> None:
        file = root.open("file", "append")
        for round_ in range(_RECORDS):
            file.write_at(0, f"{number}:{round_:02};".encode())
        file.close()

    in_threads(*(partial(work, number) for number in range(_WRITERS)))
    found = sorted(read(root, "file").decode("utf-8", "replace").split(";"))
    expected = [f"{number}:{round_:02}" for number in range(_WRITERS) for round_ in range(_RECORDS)]
    require_equal(found, sorted([*expected, ""]), "records")


@VFS_BACKEND.required
def open_files_outlive_their_names(subject: VfsSubject) -> None:
    """Who has a file open can still read it, or is told, when its name is removed or given away."""
    root = subject.root
    for path, change in _takes_names_away(root).items():
        write(root, path, b"content")
        file = root.open(path, "read")
        change()
        try:
            found = file.read_at(0, 99)
        except VfsNotFoundError:
            continue
        finally:
            file.close()
        require(found in {b"content", b"new"}, f"{path}: an open file shows {found!r}")


def _takes_names_away(root: VfsDirectory) -> dict[str, Callable[[], object]]:
    return {
        "removed": lambda: root.unlink("removed"),
        "renamed": lambda: root.rename("renamed", "other"),
        "replaced": lambda: root.replace("replaced", [b"new"]),
    }


def _calls(file: VfsFile) -> dict[str, Callable[[], object]]:
    return {
        "read_at": lambda: file.read_at(0, 1),
        "write_at": lambda: file.write_at(0, b"x"),
        "truncate": lambda: file.truncate(0),
        "sync": lambda: file.sync(metadata=True),
        "stat": file.stat,
    }
