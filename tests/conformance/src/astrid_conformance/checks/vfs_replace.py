"""Checks for replacing and removing whole files: all or nothing, and only what was looked at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from astrid_conformance.check import require, require_equal, require_raises
from astrid_conformance.checks.vfs_subject import (
    VFS_BACKEND,
    VfsSubject,
    names,
    read,
    require_code,
    require_kind,
    tree,
)
from astrid_hookspecs.errors import AstridError, DeniedError, VfsError
from astrid_hookspecs.vfs import VfsDirectory, VfsFile
from astrid_hookspecs.vfs_paths import is_temporary_name, temporary_name

_ROUNDS: Final = 60
_MOST_ROUNDS: Final = 600
_READS: Final = 20
_PAUSE_S: Final = 0.0005
_LARGE: Final = 200_000
_TOKEN: Final = "abc123XYZ"  # noqa: S105 - it names a temporary, and is no secret
_BAD_TOKENS: Final = ("x" * 33, "../x", "a/b", "a-b", "é", "a\n", "a\0")


class _BrokenOffError(Exception):
    """What a caller's own code raises in the middle."""


@VFS_BACKEND.required
def replace_creates_and_replaces(subject: VfsSubject) -> None:
    """`replace` creates a file from pieces, replaces it as a whole, and describes it."""
    root = subject.root
    found = root.replace("file", (piece for piece in (b"one ", b"", b"two")))
    require_kind(found, "regular", "the new file")
    require_equal(found.size, 7, "size of the new file")
    require_equal(read(root, "file"), b"one two", "content")
    root.replace("file", [b"x"])
    require_equal(read(root, "file"), b"x", "content after a shorter one")
    root.replace("file", [])
    require_equal(read(root, "file"), b"", "content after an empty one")
    root.mkdir("directory")
    root.replace("directory/file", [b"y"], token=_TOKEN)
    require_equal(
        tree(root), {"directory": "directory", "directory/file": b"y", "file": b""}, "all"
    )
    _require_stored(subject, {"directory": "directory", "directory/file": b"y", "file": b""})


@VFS_BACKEND.required
def readers_see_old_or_new(subject: VfsSubject) -> None:
    """A reader that opens the file while it is replaced sees one content as a whole."""
    root = subject.root
    root.replace("file", [b"a" * _LARGE])
    done = threading.Event()
    wrong: list[str] = []
    reads: list[bytes] = []

    def watch() -> None:
        # With a pause: `replace` may wait for a lock that the reader uses too. Taken again at once
        # it is gone before the waiting thread is awake, on some machines for minutes.
        while not done.wait(_PAUSE_S) and not wrong:
            try:
                found = _read_all(root)
            except AstridError as error:
                wrong.append(f"raised {error!r}")
                return
            reads.append(found[:1])
            if len(found) != _LARGE or len(set(found)) != 1:
                wrong.append(f"saw {len(found)} bytes with {len(set(found))} values")

    reader = threading.Thread(target=watch, daemon=True)
    reader.start()
    try:
        for number in range(_MOST_ROUNDS):
            piece = bytes([98 + number % 20]) * (_LARGE // 4)
            root.replace("file", [piece] * 4)
            if wrong or (number >= _ROUNDS and len(reads) >= _READS):
                break
    finally:
        done.set()
        reader.join()
    require(not wrong, f"a reader beside replace {''.join(wrong[:1])}")


@VFS_BACKEND.required
def old_content_stays_until_the_end(subject: VfsSubject) -> None:
    """While the content is still coming the old file is there, and no other name is listed."""
    root = subject.root
    root.replace("file", [b"old"])
    seen: list[tuple[bytes, list[str]]] = []

    def pieces() -> Iterator[bytes]:
        yield b"new"
        seen.append((read(root, "file"), names(root)))
        yield b"er"

    root.replace("file", pieces(), token=_TOKEN)
    require_equal(seen, [(b"old", ["file"])], "what is seen in the middle")
    require_equal(read(root, "file"), b"newer", "content at the end")


@VFS_BACKEND.required
def a_file_can_be_replaced_by_itself(subject: VfsSubject) -> None:
    """The content may be read from the file that is replaced."""
    root = subject.root
    root.replace("file", [b"abc" * 1000])
    old = root.open("file", "read")
    root.replace("file", (old.read_at(offset, 3).upper() for offset in range(0, 3000, 3)))
    old.close()
    require_equal(read(root, "file"), b"ABC" * 1000, "content")


@VFS_BACKEND.required
def content_that_breaks_off_changes_nothing(subject: VfsSubject) -> None:
    """When the content raises, the old file stays, and no temporary is left."""
    root = subject.root
    root.replace("file", [b"old"])

    def pieces() -> Iterator[bytes]:
        yield b"half"
        raise _BrokenOffError

    for path in ("file", "new"):
        call = partial(root.replace, path, pieces())
        require_raises(_BrokenOffError, call, f"replace of {path} with content that breaks off")
    require_equal(tree(root), {"file": b"old"}, "everything afterwards")
    _require_stored(subject, {"file": b"old"})


@VFS_BACKEND.required
def a_refused_replace_changes_nothing(subject: VfsSubject) -> None:
    """When `only_if` says no, the old file stays and it is `vfs.conflict`."""
    root = subject.root
    root.replace("file", [b"old"])
    for path in ("file", "new"):
        call = partial(root.replace, path, [b"new"], only_if=lambda _: False, token=_TOKEN)
        require_code("conflict", call, f"replace of {path} that is refused")
    call = partial(root.replace, "file", [b"new"], only_if=_raising)
    require_raises(_BrokenOffError, call, "replace with a condition that raises")
    require_equal(tree(root), {"file": b"old"}, "everything afterwards")
    _require_stored(subject, {"file": b"old"})


@VFS_BACKEND.required
def replace_asks_about_the_right_file(subject: VfsSubject) -> None:
    """`only_if` gets the file that goes, open for reading; None where there is none."""
    root = subject.root
    root.replace("file", [b"old"])
    asked: list[bytes | None] = []
    root.replace("file", [b"new"], only_if=_noting(asked))
    require(asked, "it was not asked")
    require_equal(set(asked), {b"old"}, "what it was asked about")
    require_equal(read(root, "file"), b"new", "content afterwards")
    asked.clear()
    root.replace("other", [b"x"], only_if=_noting(asked))
    require(asked, "it was not asked about a name that is free")
    require_equal(set(asked), {None}, "what it was asked about a name that is free")
    require_equal(read(root, "other"), b"x", "content of the new file")


@VFS_BACKEND.required
def unlink_asks_about_the_right_file(subject: VfsSubject) -> None:
    """A conditional `unlink` removes what `only_if` saw, and nothing when it says no."""
    root = subject.root
    root.replace("file", [b"old"])
    refused = partial(root.unlink, "file", only_if=lambda _: False, token=_TOKEN)
    require_code("conflict", refused, "unlink that is refused")
    raising = partial(root.unlink, "file", only_if=_raising)
    require_raises(_BrokenOffError, raising, "unlink with a condition that raises")
    require_equal(tree(root), {"file": b"old"}, "everything afterwards")
    _require_stored(subject, {"file": b"old"})
    asked: list[bytes | None] = []
    root.unlink("file", only_if=_noting(asked), token=_TOKEN)
    require(asked, "it was not asked")
    require_equal(set(asked), {b"old"}, "what it was asked about")
    require_equal(tree(root), {}, "everything after unlink")
    _require_stored(subject, {})


@VFS_BACKEND.required
def bad_tokens_lead_nowhere(subject: VfsSubject) -> None:
    """A token that is no token is refused or ignored; it never names a place."""
    root = subject.root
    root.replace("file", [b"old"])
    for token in _BAD_TOKENS:
        for call in (
            partial(root.replace, "file", [b"old"], token=token),
            partial(root.unlink, "absent", only_if=lambda _: True, token=token),
        ):
            try:
                call()
            except (VfsError, DeniedError):
                continue
    require_equal(tree(root), {"file": b"old"}, "everything afterwards")
    _require_stored(subject, {"file": b"old"})


@VFS_BACKEND.optional("modes")
def modes_are_kept_and_set(subject: VfsSubject) -> None:
    """`replace` sets the permission bits it is given, else keeps the old ones, else 0644."""
    root = subject.root
    require_equal(root.replace("file", [b"x"]).mode & 0o777, 0o644, "mode of a new file")
    for mode in (0o600, 0o755, 0o444):
        root.replace("file", [b"x"], mode=mode)
        require_equal(root.stat("file").mode & 0o777, mode, "mode that was set")
        root.replace("file", [b"y"])
        require_equal(root.stat("file").mode & 0o777, mode, "mode that was kept")
        if subject.stored is not None:
            require_equal(subject.stored.mode("file"), mode, "mode that is stored")


@VFS_BACKEND.optional("atomic-replace")
def replace_asks_again_about_what_it_takes(subject: VfsSubject) -> None:
    """A file that changed between the question and the replacement is asked about, and kept."""
    root = subject.root
    root.replace("file", [b"old"])
    asked: list[bytes | None] = []
    check = _changing_meanwhile(subject, asked)
    call = partial(root.replace, "file", [b"mine"], only_if=check)
    require_code("conflict", call, "replace of a file that changed meanwhile")
    require_equal(asked[-1], b"theirs", "what it was asked about in the end")
    require_equal(tree(root), {"file": b"theirs"}, "everything afterwards")
    _require_stored(subject, {"file": b"theirs"})


@VFS_BACKEND.optional("atomic-replace")
def unlink_asks_again_about_what_it_takes(subject: VfsSubject) -> None:
    """A file that changed between the question and the removal is asked about, and kept."""
    root = subject.root
    root.replace("file", [b"old"])
    asked: list[bytes | None] = []
    check = _changing_meanwhile(subject, asked)
    call = partial(root.unlink, "file", only_if=check)
    require_code("conflict", call, "unlink of a file that changed meanwhile")
    require_equal(asked[-1], b"theirs", "what it was asked about in the end")
    require_equal(tree(root), {"file": b"theirs"}, "everything afterwards")
    _require_stored(subject, {"file": b"theirs"})


@VFS_BACKEND.optional("atomic-replace")
def tokens_name_the_temporary(subject: VfsSubject) -> None:
    """With a token, what is beside the file meanwhile has the name that belongs to the token."""
    root = subject.root
    root.replace("file", [b"old"])
    beside: set[str] = set()

    def pieces() -> Iterator[bytes]:
        yield b"new"
        if subject.stored is not None:
            beside.update(set(subject.stored.tree()) - {"file"})

    root.replace("file", pieces(), token=_TOKEN)
    require(beside <= {temporary_name(_TOKEN)}, f"meanwhile there is {sorted(beside)}")
    root.replace("file", pieces())
    require(all(map(is_temporary_name, beside)), f"meanwhile there is {sorted(beside)}")
    _require_stored(subject, {"file": b"new"})


def _require_stored(subject: VfsSubject, expected: dict[str, bytes | str]) -> None:
    if subject.stored is not None:
        require_equal(subject.stored.tree(), expected, "what is stored, temporaries included")


def _read_all(root: VfsDirectory) -> bytes:
    file = root.open("file", "read")
    try:
        return file.read_at(0, 2 * _LARGE)
    finally:
        file.close()


def _raising(_: VfsFile | None) -> bool:
    raise _BrokenOffError


def _noting(asked: list[bytes | None]) -> Callable[[VfsFile | None], bool]:
    def check(file: VfsFile | None) -> bool:
        asked.append(None if file is None else file.read_at(0, 99))
        return True

    return check


def _changing_meanwhile(
    subject: VfsSubject, asked: list[bytes | None]
) -> Callable[[VfsFile | None], bool]:
    """A condition that wants `old`; when it is first asked, somebody else replaces the file."""

    def check(file: VfsFile | None) -> bool:
        asked.append(None if file is None else file.read_at(0, 99))
        if len(asked) == 1:
            if subject.stored is None:
                subject.root.replace("file", [b"theirs"])
            else:
                subject.stored.write("file", b"theirs")
        return asked[-1] == b"old"

    return check
