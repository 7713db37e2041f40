"""Reading the lower layer, which a person changes at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from blake3 import blake3

from astrid_hookspecs.errors import PathEscapeError, VfsError, VfsNotFoundError
from astrid_hookspecs.vfs import NodeKind, NodeStat, VfsDirectory, VfsFile

MAX_COPY_BYTES: Final = 50 * 1024 * 1024
"""A larger lower file is not copied up, and its content is not hashed to remember it. Spec:
kernel-and-security 10.3."""
PIECE_BYTES: Final = 256 * 1024
_PAGE: Final = 10_000
"""A backend may read the whole directory for every page."""
_TRIES: Final = 3
NOT_THERE: Final = frozenset({"vfs.not-found", "vfs.not-directory", "vfs.link", "vfs.invalid-path"})
"""Codes that say that a path leads to nothing; renames make paths that are too long to be one."""


class Base(NamedTuple):
    """What the lower layer had at a path when the overlay first hid or replaced it.

    Attributes:
        kind: What it was.
        mode: Permission bits.
        stamp: As `NodeStat.stamp`.
        digest: BLAKE3 of the content, or of a link's target; None where it was not read.
    """

    kind: NodeKind
    mode: int
    stamp: str
    digest: bytes | None


def lower_stat(lower: VfsDirectory, path: str) -> NodeStat | None:
    """Metadata of a lower node; None when there is none, or the way there is no longer one."""
    try:
        return lower.stat(path)
    except VfsNotFoundError:
        return None
    except VfsError as error:
        if error.code in NOT_THERE:
            return None
        raise


def is_lower_directory(lower: VfsDirectory, path: str) -> bool:
    """Whether the lower layer has a directory there."""
    found = lower_stat(lower, path)
    return found is not None and found.kind == "directory"


def all_names(lower: VfsDirectory, path: str) -> list[str]:
    """All names of a lower directory; none when there is no such directory."""
    names: list[str] = []
    try:
        while True:
            page = lower.names(path, after=names[-1] if names else None, limit=_PAGE)
            names += page
            if len(page) < _PAGE:
                return names
    except VfsError as error:
        if error.code in NOT_THERE:
            return []
        raise


def pieces(file: VfsFile) -> Iterator[bytes]:
    """The content of a file from its beginning."""
    offset = 0
    while piece := file.read_at(offset, PIECE_BYTES):
        yield piece
        offset += len(piece)


def lower_pieces(lower: VfsDirectory, path: str) -> Iterator[bytes]:
    """The content of a lower file."""
    file = lower.open(path, "read")
    try:
        yield from pieces(file)
    finally:
        file.close()


def digest_of(file: VfsFile) -> bytes:
    """BLAKE3 of the content of a file."""
    hasher = blake3()
    for piece in pieces(file):
        hasher.update(piece)
    return hasher.digest()


def text_digest(text: str) -> bytes:
    """BLAKE3 of a link's target."""
    return blake3(text.encode("utf-8", "surrogateescape")).digest()


def lower_digest(lower: VfsDirectory, path: str) -> bytes | None:
    """BLAKE3 of a lower file, or of a link's target; None when there is neither."""
    found = lower_stat(lower, path)
    if found is None or found.kind not in {"regular", "symlink"}:
        return None
    try:
        if found.kind == "symlink":
            return text_digest(lower.readlink(path))
        file = lower.open(path, "read")
    except VfsNotFoundError:
        return None
    try:
        return digest_of(file)
    finally:
        file.close()


def readable_digest(lower: VfsDirectory, path: str) -> bytes | None:
    """As `lower_digest`; None also for what the lower layer refuses to read."""
    try:
        return lower_digest(lower, path)
    except (VfsError, PathEscapeError):  # the second: a file that may have a name outside
        return None


def observe(lower: VfsDirectory, path: str, *, read: bool) -> Base | None:
    """What the lower layer has at a path; None: nothing.

    Args:
        lower: The lower layer.
        path: Of the node.
        read: Whether to read the content, up to `MAX_COPY_BYTES`. Without a stamp it is read
            anyway.
    """
    found = lower_stat(lower, path)
    for _ in range(_TRIES):
        if found is None:
            return None
        digest = _content_digest(lower, path, found, read=read)
        after = found if digest is None else lower_stat(lower, path)
        if after is not None and after.stamp == found.stamp:
            return Base(found.kind, found.mode, found.stamp, digest)
        found = after
    # Somebody writes there all the time. An empty stamp never matches; the next comparison reads.
    return None if found is None else Base(found.kind, found.mode, "", digest)


def is_unchanged(lower: VfsDirectory, path: str, base: Base | None, now: NodeStat | None) -> bool:
    """Whether the lower layer still has at a path what it had.

    Args:
        lower: The lower layer.
        path: Of the node.
        base: What it had.
        now: What it has.
    """
    if base is None or now is None:
        return base is None and now is None
    if base.kind != now.kind:
        return False
    if now.kind not in {"regular", "symlink"}:
        return True
    if base.stamp and base.stamp == now.stamp:
        return True
    return base.digest is not None and base.digest == readable_digest(lower, path)


def _content_digest(lower: VfsDirectory, path: str, found: NodeStat, *, read: bool) -> bytes | None:
    is_read = found.size <= MAX_COPY_BYTES and (read or not found.stamp)
    if found.kind == "symlink" or (found.kind == "regular" and is_read):
        return readable_digest(lower, path)  # what nobody may read can be hidden all the same
    return None
