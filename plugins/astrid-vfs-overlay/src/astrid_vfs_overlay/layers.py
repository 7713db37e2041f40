"""The two layers and what a path shows: reading only."""

from __future__ import annotations

import bisect
import heapq
import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from astrid_hookspecs.errors import VfsError, VfsNotFoundError
from astrid_hookspecs.vfs import NodeStat, VfsDirectory
from astrid_hookspecs.vfs_paths import is_temporary_name
from astrid_vfs_overlay.blobs import Blobs
from astrid_vfs_overlay.database import Database
from astrid_vfs_overlay.lower import NOT_THERE, lower_stat
from astrid_vfs_overlay.nodes import WHITEOUT, Node, Place, find, names_of, not_directory

if TYPE_CHECKING:
    from astrid_vfs_overlay.edit import Edit
    from astrid_vfs_overlay.handles import FollowingFile

MAX_NAMES: Final = 250_000
"""Names of the upper layer; they cost no storage that is charged, but memory (about 1 KB each)."""
_PAGE: Final = 5000


@dataclass(slots=True)
class Layers:
    """What an overlay consists of.

    Attributes:
        lower: The lower layer.
        db: Where the upper layer is stored.
        blobs: Contents of the upper layer.
        root: The upper layer's root directory.
        ids: Numbers of nodes to come.
        stamp: Makes stamps of this process unlike those of others.
        lock: Held around everything that looks at or changes the upper layer.
        followers: Files opened for reading in the lower layer, by lower path; they show the upper
            file as soon as there is one.
        readers_lock: Held around what looks at `followers`.
        edit: The transaction that is under way.
        names_held: Entries of the upper layer.
        closed: Whether the overlay is closed.
    """

    lower: VfsDirectory
    db: Database
    blobs: Blobs
    root: Node
    ids: itertools.count[int]
    stamp: str
    lock: threading.RLock = field(default_factory=threading.RLock)
    followers: dict[str, set[FollowingFile]] = field(default_factory=dict)
    readers_lock: threading.Lock = field(default_factory=threading.Lock)
    edit: Edit | None = None
    names_held: int = 0
    closed: bool = False

    def close(self) -> None:
        """Release everything, the lower layer too; closing twice is not an error."""
        if not self.closed:
            self.closed = True
            self.followers.clear()
            self.db.close()
            self.blobs.close()
        self.lower.close()

    def find(self, path: str) -> Place:
        """As `nodes.find`, in an open overlay, for a path that somebody else wrote.

        Raises:
            PathEscapeError, VfsError: As `nodes.names_of` and `nodes.find`; `vfs.closed`.
        """
        if self.closed:
            raise closed()
        return find(self.root, names_of(path))

    def need_room(self) -> None:
        """Refuse more names than the overlay can hold in memory.

        Raises:
            VfsError: `vfs.quota`.
        """
        if self.names_held >= MAX_NAMES:
            raise VfsError(
                f"the overlay holds {MAX_NAMES} names already",
                code="vfs.quota",
                hint="commit or roll back some of its changes",
            )

    def stat(self, place: Place) -> NodeStat | None:
        """Metadata of what is at a place; None when there is nothing."""
        if place.lower is not None:
            return lower_stat(self.lower, place.lower)
        return None if place.node is None else self.node_stat(place.node)

    def need(self, place: Place) -> NodeStat:
        """As `stat`, where there has to be something.

        Raises:
            VfsNotFoundError: There is nothing.
            VfsError: `vfs.link`, `vfs.not-directory`: the way in the lower layer is none.
        """
        if place.lower is not None:
            return self.lower.stat(place.lower)
        if place.node is None:
            raise not_found()
        return self.node_stat(place.node)

    def node_stat(self, node: Node) -> NodeStat:
        """Metadata of a node of the upper layer."""
        if node.kind == "symlink":
            size = len(node.target.encode("utf-8", "surrogateescape"))
            return NodeStat("symlink", size, 0o777, node.modified_ns, None, None)
        if node.kind == "directory":
            below = None if node.lower is None else lower_stat(self.lower, node.lower)
            if below is not None and below.kind == "directory":
                return below
            return NodeStat("directory", 0, node.mode, node.modified_ns, None, None)
        if not node.has_content and node.lower is not None:
            return self.lower.stat(node.lower)
        if node.modified_ns is None:
            node.modified_ns = self.blobs.stat(node.id).st_mtime_ns
        stamp = f"{self.stamp}.{node.id}.{node.version}"
        return NodeStat("regular", node.size, node.mode, node.modified_ns, None, None, stamp)

    def names(self, path: str, *, after: str | None, limit: int) -> list[str]:
        """As `VfsDirectory.names`."""
        place = self.find(path)
        if place.lower is not None:
            return self.lower.names(place.lower, after=after, limit=limit)
        if place.node is None:
            raise not_found()
        if place.node.kind != "directory":
            raise not_directory(place.node.kind)
        return self.names_in(place.node, after=after, limit=limit)

    def names_in(self, node: Node, *, after: str | None, limit: int) -> list[str]:
        """As `names`, of a directory of the upper layer."""
        if limit <= 0:
            return []
        merged = heapq.merge(
            self._lower_names(node, after, limit), self._upper_names(node, after), key=_order
        )
        return list(itertools.islice(merged, limit))

    def is_empty(self, place: Place) -> bool:
        """Whether the directory at a place has no names."""
        if place.lower is not None:
            return not self.lower.names(place.lower, after=None, limit=1)
        return place.node is None or not self.names_in(place.node, after=None, limit=1)

    def _upper_names(self, node: Node, after: str | None) -> Iterator[str]:
        if node.order is None:
            shown = (
                name
                for name, child in node.entries.items()
                if child is not WHITEOUT and not is_temporary_name(name)
            )
            node.order = sorted(shown, key=_order)
        start = 0 if after is None else bisect.bisect_right(node.order, _order(after), key=_order)
        rest = itertools.islice(node.order, start, None)
        return (name for name in rest if self._is_there(node.entries[name]))

    def _is_there(self, node: Node) -> bool:
        if node.kind == "directory" or node.lower is None:
            return True
        return lower_stat(self.lower, node.lower) is not None

    def _lower_names(self, node: Node, after: str | None, limit: int) -> list[str]:
        """The first `limit` names of the lower layer that show through."""
        names: list[str] = []
        if node.lower is None:
            return names
        size = min(limit, _PAGE)
        while len(names) < limit:
            page = self._lower_page(node.lower, after, size)
            names += [name for name in page if name not in node.entries]
            if len(page) < size:
                break
            after = page[-1]
        return names

    def _lower_page(self, path: str, after: str | None, limit: int) -> list[str]:
        try:
            return self.lower.names(path, after=after, limit=limit)
        except VfsError as error:
            if error.code in NOT_THERE:
                return []
            raise


def closed() -> VfsError:
    """The error of everything that is closed."""
    return VfsError("it is closed", code="vfs.closed")


def not_found() -> VfsNotFoundError:
    """The error for what is not there."""
    return VfsNotFoundError("there is no such file or directory")


def _order(name: str) -> bytes:
    return name.encode()
