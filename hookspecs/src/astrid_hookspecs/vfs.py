"""Virtual file systems: capability-style handles, and the records of backends and overlays.

Paths that reach a backend are canonical: names joined by `/`, `""` for the directory itself,
without empty parts, `.` or `..`. A backend never follows a symbolic link, neither at the end nor
on the way: it answers `vfs.link`, and the kernel resolves the link, asks the gate about where it
leads, and comes back with another canonical path. So what was checked is what is used, however the
tree changes in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TypeAlias

from astrid_hookspecs.markers import hookspec

OpenMode = Literal["read", "write", "append", "read-write"]
"""`read` and `read-write` need an existing file; `write` creates or empties, `append` creates."""

NodeKind = Literal[
    "regular",
    "directory",
    "symlink",
    "block-device",
    "character-device",
    "fifo",
    "socket",
    "type-unknown",
]


class NodeStat(NamedTuple):
    """Metadata of a node; times in nanoseconds since 1970, None where the backend has none.

    Attributes:
        kind: What it is.
        size: Bytes of content; 0 for anything but files and links.
        mode: Permission bits.
        modified_ns: Last change of the content.
        created_ns: Creation.
        accessed_ns: Last access.
        stamp: Differs whenever the content may differ; empty where the backend cannot tell.
    """

    kind: NodeKind
    size: int
    mode: int
    modified_ns: int | None
    created_ns: int | None
    accessed_ns: int | None
    stamp: str = ""


class VfsFile(Protocol):
    """An open file; reads and writes are positional. Used by one thread at a time.

    What the open mode does not cover raises `vfs.access`: writing after `read`, reading after
    `write` or `append`. Negative offsets and sizes are refused. What was written is seen by whoever
    opens the file after `sync` or `close`.
    """

    def read_at(self, offset: int, size: int) -> bytes:
        """`size` bytes, fewer only where the file ends; empty at or after the end."""
        ...

    def write_at(self, offset: int, data: bytes) -> int:
        """Write all of `data`; returns its length. Opened to append, the offset is ignored."""
        ...

    def truncate(self, size: int) -> None:
        """Cut, or extend with zeros."""
        ...

    def sync(self, *, metadata: bool) -> None:
        """Make content, and on request metadata, durable."""
        ...

    def stat(self) -> NodeStat:
        """Metadata of the open file."""
        ...

    def close(self) -> None:
        """Release; closing twice is not an error. Every later call raises `vfs.closed`."""
        ...


ContentCheck: TypeAlias = Callable[[VfsFile | None], bool]
"""Looks at the file that an operation takes away, open for reading (None when there is none), and
says whether that may happen."""


class VfsDirectory(Protocol):
    """A directory handle: everything below it and nothing else. Safe from any thread.

    Every method takes canonical paths (see `astrid_hookspecs.vfs_paths.path_parts`) and raises

    - `PathEscapeError` or `VfsError` `vfs.invalid-path` for any other path,
    - `VfsNotFoundError` when something on the way, or the node itself, is missing,
    - `VfsError` with the codes of `astrid_hookspecs.vfs_paths.VFS_CODES` for the rest; `vfs.link`
      when a part of the path is a symbolic link.
    """

    def open(self, path: str, mode: OpenMode) -> VfsFile:
        """Open a regular file; `vfs.is-directory`, and `vfs.access` for anything special."""
        ...

    def open_directory(self, path: str) -> VfsDirectory:
        """A handle of a directory below, which reaches less than this one."""
        ...

    def stat(self, path: str) -> NodeStat:
        """Metadata of a node; of the link itself where it is one."""
        ...

    def names(self, path: str, *, after: str | None, limit: int) -> list[str]:
        """At most `limit` names in ascending byte order that sort after `after`.

        Names that are not UTF-8, and those of `is_temporary_name`, are left out.
        """
        ...

    def mkdir(self, path: str) -> None:
        """Create one directory; `vfs.already-exists` when the name is taken."""
        ...

    def unlink(
        self, path: str, *, only_if: ContentCheck | None = None, token: str | None = None
    ) -> None:
        """Remove a file or link; `vfs.is-directory` for a directory.

        Args:
            path: Of the node.
            only_if: As in `replace`.
            token: As in `replace`.
        """
        ...

    def rmdir(self, path: str) -> None:
        """Remove an empty directory; `vfs.not-empty`, `vfs.not-directory`."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Give a node another path, replacing a file, a link or an empty directory in one step.

        A directory replaces only a directory, anything else only what is no directory; moving a
        directory below itself is `vfs.invalid-path`.
        """
        ...

    def replace(
        self,
        path: str,
        content: Iterable[bytes],
        *,
        mode: int | None = None,
        only_if: ContentCheck | None = None,
        token: str | None = None,
    ) -> NodeStat:
        """Create a file or replace its content as a whole, durably; a reader sees old or new.

        Args:
            path: Of the file; a link or directory there is an error.
            content: In pieces.
            mode: Permission bits; None keeps those of the old file, else 0644.
            only_if: Asked before, and with `atomic-replace` again about exactly the file that was
                taken away; when it says no, the old file stays and `vfs.conflict` is raised.
            token: 1-32 letters and digits; names the temporary (`temporary_name`) beside the file,
                so that the caller can clean up after a crash. None: a random one.

        Returns:
            Metadata of the new file.
        """
        ...

    def link(self, source: str, target: str) -> None:
        """Make `target` another name of a file (optional capability `hard-link`)."""
        ...

    def readlink(self, path: str) -> str:
        """Target of a symbolic link as written; `vfs.invalid-path` when it is none (`symlink`)."""
        ...

    def symlink(self, target: str, path: str) -> None:
        """Make a symbolic link with any text as target (optional capability `symlink`)."""
        ...

    def close(self) -> None:
        """Release; closing twice is not an error."""
        ...


@dataclass(frozen=True, slots=True)
class VfsBackendRecord:
    """Declares a file system backend.

    Attributes:
        name: Lower-kebab.
        schemes: URL schemes it serves, without `://`.
        capabilities: Optional capabilities it has: `hard-link`, `symlink`, `modes` (permission bits
            are kept), `atomic-replace` (`replace` and a conditional `unlink` look at the very file
            they take away, so that no concurrent change is lost).
        factory: Opens the root named by a URL's part after the scheme and `://`.
    """

    name: str
    schemes: frozenset[str]
    capabilities: frozenset[str]
    factory: Callable[[str], VfsDirectory]


@hookspec
def astrid_register_vfs_backends() -> Iterable[VfsBackendRecord]:  # type: ignore[empty-body]
    """Declare file system backends.

    Kind: declare. When: once, while the kernel boots.
    Returns: records; names and schemes unique over all plugins.
    Failure: an exception or a malformed record stops the boot.
    Since: 1.0.
    """


class VfsMeter(Protocol):
    """A principal's storage budget. Safe from any thread."""

    def charge(self, growth_bytes: int) -> None:
        """Take up bytes, or give them back when negative.

        Raises:
            QuotaExceededError: They do not fit; nothing was taken.
        """
        ...


class OverlayChange(NamedTuple):
    """One path that differs from the lower layer.

    Attributes:
        path: Canonical.
        change: What a commit would do: create, change or remove it.
        kind: Of the new node; of the old one where it is removed.
        size: Bytes of the new content.
        conflict: The lower layer changed there since the overlay first did; a commit refuses.
    """

    path: str
    change: Literal["added", "modified", "deleted"]
    kind: NodeKind
    size: int
    conflict: bool


class CommitReport(NamedTuple):
    """What a commit did.

    Attributes:
        committed: Paths that the lower layer now has as the overlay had them, sorted.
        conflicts: Paths left alone because the lower layer had changed, sorted.
        failed: Paths that the lower layer refused, with its message for people.
    """

    committed: Sequence[str]
    conflicts: Sequence[str]
    failed: Sequence[tuple[str, str]]


Announce: TypeAlias = Callable[[Sequence[OverlayChange]], None]
"""Told of every change that is about to happen; nothing does when it raises."""


class VfsOverlay(VfsDirectory, Protocol):
    """A copy-on-write view: reads fall through to a lower directory, changes stay in its store.

    Changes survive `close`, a crash of the process, and the eviction of the object.
    """

    def changes(self, paths: Sequence[str] = ("",)) -> list[OverlayChange]:
        """What differs, at and below the given paths, in byte order of the paths."""
        ...

    def commit(
        self,
        paths: Sequence[str] = ("",),
        *,
        overwrite: bool = False,
        announce: Announce | None = None,
    ) -> CommitReport:
        """Bring changes into the lower layer; each file in one step, durable on return.

        A crash leaves every file old or new, and what is not committed stays a change. Nothing is
        committed when a conflict is there before it starts; one that arises meanwhile leaves its
        path alone.

        Args:
            paths: Canonical; changes at and below them.
            overwrite: Also replace what changed in the lower layer.
            announce: Told once, before the lower layer changes, of all that is tried: also of
                what lies elsewhere and has to go along. Nothing comes in between.
        """
        ...

    def rollback(
        self, paths: Sequence[str] = ("",), *, announce: Announce | None = None
    ) -> list[str]:
        """Forget changes at and below the given paths; returns the paths that changed.

        Args:
            paths: As in `commit`.
            announce: As in `commit`.
        """
        ...

    def usage_bytes(self) -> int:
        """Bytes of content that the store holds."""
        ...


@dataclass(frozen=True, slots=True)
class OverlaySpec:
    """What an overlay works on.

    Attributes:
        lower: The directory below; the overlay closes it.
        store: A directory of mode 0700 for this overlay alone.
        meter: Charged with every byte of content the store holds.
    """

    lower: VfsDirectory
    store: Path
    meter: VfsMeter


@dataclass(frozen=True, slots=True)
class VfsOverlayRecord:
    """Declares an overlay.

    Attributes:
        name: Lower-kebab.
        factory: Opens the overlay that a store holds, empty in an empty store.
    """

    name: str
    factory: Callable[[OverlaySpec], VfsOverlay]


@hookspec
def astrid_register_vfs_overlays() -> Iterable[VfsOverlayRecord]:  # type: ignore[empty-body]
    """Declare overlays, which keep a principal's changes of the workspace apart.

    Kind: declare. When: once, while the kernel boots.
    Returns: records; names unique over all plugins. Without any, workspaces are read-only.
    Failure: an exception or a malformed record stops the boot.
    Since: 1.0.
    """
