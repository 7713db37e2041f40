"""Virtual file systems: capability-style handles, and the record of a backend."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from astrid_hookspecs.markers import hookspec

OpenMode = Literal["read", "write", "append", "read-write"]
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
    """Metadata of a node; times in nanoseconds since 1970, None where the backend has none."""

    kind: NodeKind
    size: int
    mode: int
    modified_ns: int | None
    created_ns: int | None
    accessed_ns: int | None


class VfsFile(Protocol):
    """An open file; reads and writes are positional."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes; empty at or after the end."""
        ...

    def write_at(self, offset: int, data: bytes) -> int:
        """Write all of `data`; returns its length."""
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
        """Release; closing twice is not an error."""
        ...


class VfsDirectory(Protocol):
    """A directory handle. Paths are relative, `/`-separated, and never lead outside it."""

    def open(self, path: str, mode: OpenMode) -> VfsFile:
        """Open a file."""
        ...

    def stat(self, path: str, *, follow: bool) -> NodeStat:
        """Metadata of a node."""
        ...

    def names(self, path: str, *, after: str | None, limit: int) -> list[str]:
        """At most `limit` names in ascending byte order that sort after `after`."""
        ...

    def mkdir(self, path: str) -> None:
        """Create one directory."""
        ...

    def unlink(self, path: str) -> None:
        """Remove a file or link."""
        ...

    def rmdir(self, path: str) -> None:
        """Remove an empty directory."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Replace `target` by `source` atomically."""
        ...

    def link(self, source: str, target: str) -> None:
        """Make `target` another name of `source` (optional capability `hard-link`)."""
        ...

    def readlink(self, path: str) -> str:
        """Target of a symbolic link (optional capability `symlink`)."""
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
        capabilities: Optional capabilities it has (`hard-link`, `symlink`, `modes`).
        factory: Opens the root named by a URL's part after the scheme.
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
