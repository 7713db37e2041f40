"""From the system's answers to the contract's: kinds, metadata, and what may be opened at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from astrid_hookspecs.errors import PathEscapeError, VfsError
from astrid_hookspecs.vfs import NodeKind, NodeStat
from astrid_hookspecs.vfs_paths import vfs_error

_SPARSE_FROM_BYTES: Final = 1024 * 1024
_SPARSE_RATIO: Final = 16
_BLOCK_BYTES: Final = 512

_KINDS: Final[tuple[tuple[Callable[[int], bool], NodeKind], ...]] = (
    (stat.S_ISREG, "regular"),
    (stat.S_ISDIR, "directory"),
    (stat.S_ISLNK, "symlink"),
    (stat.S_ISBLK, "block-device"),
    (stat.S_ISCHR, "character-device"),
    (stat.S_ISFIFO, "fifo"),
    (stat.S_ISSOCK, "socket"),
)


class TreePolicy(NamedTuple):
    """What is believed about the files of a tree.

    Attributes:
        multi_linked: Files with several names may be opened. In a tree that others write to, nobody
            can tell whether the other names lie outside.
        sparse: Files that are much larger than what is allocated may be opened.
    """

    multi_linked: bool
    sparse: bool


def kind_of(mode: int) -> NodeKind:
    """The kind that `st_mode` says."""
    for test, kind in _KINDS:
        if test(mode):
            return kind
    return "type-unknown"


def node_stat(found: os.stat_result, *, created_ns: int | None) -> NodeStat:
    """The contract's metadata."""
    kind = kind_of(found.st_mode)
    return NodeStat(
        kind=kind,
        size=found.st_size if kind in ("regular", "symlink") else 0,
        mode=stat.S_IMODE(found.st_mode),
        modified_ns=found.st_mtime_ns,
        created_ns=created_ns,
        accessed_ns=found.st_atime_ns,
        stamp=(
            f"{found.st_dev}:{found.st_ino}:{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}"
        ),
    )


def check_regular(found: os.stat_result) -> None:
    """Refuse everything that is no regular file.

    Raises:
        VfsError: `vfs.is-directory`, `vfs.link`, or `vfs.access` for special files.
    """
    kind = kind_of(found.st_mode)
    if kind == "regular":
        return
    if kind == "directory":
        raise VfsError("it is a directory", code="vfs.is-directory")
    if kind == "symlink":
        raise VfsError("it is a symbolic link", code="vfs.link")
    raise VfsError(f"it is no regular file but a {kind}", code="vfs.access")


def check_content(found: os.stat_result, policy: TreePolicy) -> None:
    """Refuse a file whose content may not be inside the tree, or is mostly not there.

    Args:
        found: Of the open file.
        policy: Of its tree.

    Raises:
        VfsError: As `check_regular`; `vfs.too-large` for a sparse file.
        PathEscapeError: `vfs.hard-link`.
    """
    check_regular(found)
    if found.st_nlink > 1 and not policy.multi_linked:
        raise PathEscapeError(
            "the file has another name, which may lie outside the workspace",
            rule="vfs.hard-link",
            hint='replace it by a copy, or set hard_links = "read" below [files] in '
            "etc/config.toml",
        )
    is_large = found.st_size > _SPARSE_FROM_BYTES
    if is_large and not policy.sparse:
        allocated = found.st_blocks * _BLOCK_BYTES
        if allocated * _SPARSE_RATIO < found.st_size:
            raise VfsError(
                f"the file is sparse: {found.st_size} bytes, of which {allocated} exist",
                code="vfs.too-large",
            )


@contextmanager
def translated() -> Iterator[None]:
    """Raise what the system answers as the contract's errors."""
    try:
        yield
    except OSError as error:
        if isinstance(error, VfsError):  # a VfsNotFoundError is a FileNotFoundError as well
            raise
        raise vfs_error(error) from error
