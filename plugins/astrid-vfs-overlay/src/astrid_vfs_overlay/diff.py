"""What the overlay shows differently from the lower layer, and whether the lower one moved on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from blake3 import blake3

from astrid_hookspecs.errors import VfsError
from astrid_hookspecs.vfs import NodeStat, OverlayChange
from astrid_vfs_overlay.bases import base_of
from astrid_vfs_overlay.blobs import read_all
from astrid_vfs_overlay.copy_up import PERMISSIONS
from astrid_vfs_overlay.layers import Layers
from astrid_vfs_overlay.lower import (
    PIECE_BYTES,
    Base,
    all_names,
    is_unchanged,
    lower_stat,
    readable_digest,
    text_digest,
)
from astrid_vfs_overlay.nodes import Node, Place, find, is_within, join, parts, place_below

Change = Literal["added", "modified", "deleted"]


@dataclass(frozen=True, slots=True)
class Item:
    """One path that differs.

    Attributes:
        path: Canonical.
        place: What the overlay shows there.
        shown: Its metadata; None where the path is deleted.
        below: What the lower layer has now; None where the path is added.
        base: What it had when the overlay first changed the path.
        conflict: It no longer has that.
    """

    path: str
    place: Place
    shown: NodeStat | None
    below: NodeStat | None
    base: Base | None
    conflict: bool

    @property
    def kind(self) -> Change:
        """What a commit does."""
        if self.shown is None:
            return "deleted"
        return "added" if self.below is None else "modified"

    def change(self) -> OverlayChange:
        """The form that the contract has for it."""
        stat = self.shown or self.below
        kind = "type-unknown" if stat is None else stat.kind
        size = 0 if self.shown is None or kind == "directory" else self.shown.size
        return OverlayChange(self.path, self.kind, kind, size, self.conflict)


class Diff:
    """Compares the layers. The lock is held for as long as it is used.

    Args:
        layers: To compare.
    """

    def __init__(self, layers: Layers) -> None:
        self._layers = layers
        self._lower = layers.lower

    def items(self, paths: Iterable[str]) -> list[Item]:
        """What differs at and below the paths, in byte order."""
        found = [item for top in outermost(paths) for item in self._within(top)]
        return sorted(found, key=lambda item: item.path.encode())

    def item(self, path: str) -> Item | None:
        """What differs at exactly this path."""
        return self._compare(path, self._place(path))[0]

    def _within(self, top: str) -> Iterator[Item]:
        stack = [(top, self._place(top))]
        while stack:
            path, place = stack.pop()
            if place.node is None and place.lower == path:
                continue
            item, shown, below = self._compare(path, place)
            if item is not None:
                yield item
            is_shown = shown is not None and shown.kind == "directory"
            is_below = below is not None and below.kind == "directory"
            if is_shown or is_below:
                stack += self._children(path, place, is_shown=is_shown, is_below=is_below)

    def _place(self, path: str) -> Place:
        try:
            return find(self._layers.root, parts(path))
        except VfsError as error:
            if error.code in {"vfs.link", "vfs.not-directory"}:
                return Place(None, None)
            raise

    def _compare(
        self, path: str, place: Place
    ) -> tuple[Item | None, NodeStat | None, NodeStat | None]:
        shown = self._layers.stat(place)
        below = lower_stat(self._lower, path) if path else shown
        if place.node is None and place.lower == path:
            return None, shown, below
        base = base_of(self._layers.db, path)
        if self._is_same(path, place, shown, below, base):
            return None, shown, below
        conflict = not is_unchanged(self._lower, path, base, below)
        return Item(path, place, shown, below, base, conflict), shown, below

    def _is_same(
        self,
        path: str,
        place: Place,
        shown: NodeStat | None,
        below: NodeStat | None,
        base: Base | None,
    ) -> bool:
        if shown is None or below is None:
            return shown is None and below is None
        if shown.kind != below.kind:
            return False
        if shown.kind == "directory":
            return True
        if shown.kind == "regular":
            return self._is_same_file(path, place, shown, below, base)
        same_text = content_digest(self._layers, place) == readable_digest(self._lower, path)
        return shown.kind == "symlink" and same_text

    def _is_same_file(
        self, path: str, place: Place, shown: NodeStat, below: NodeStat, base: Base | None
    ) -> bool:
        mode = shown.mode & PERMISSIONS
        keeps_mode = base is not None and base.mode & PERMISSIONS == mode
        if shown.size != below.size or not (keeps_mode or below.mode & PERMISSIONS == mode):
            return False
        ours = content_digest(self._layers, place)
        if base is not None and base.digest and base.stamp and base.stamp == below.stamp:
            return ours == base.digest
        return ours is not None and ours == readable_digest(self._lower, path)

    def _children(
        self, path: str, place: Place, *, is_shown: bool, is_below: bool
    ) -> list[tuple[str, Place]]:
        node = place.node if is_shown else None
        names = set() if node is None else set(node.entries)
        source = place.lower if node is None else node.lower
        if is_shown and source is not None and source != path:
            names.update(all_names(self._lower, source))
        if is_below and (not is_shown or source != path):
            names.update(all_names(self._lower, path))
        return [(join(path, name), _below(place, name, is_shown=is_shown)) for name in names]


def content_digest(layers: Layers, place: Place) -> bytes | None:
    """BLAKE3 of the file, or of the target of the link, at a place; None: there is neither."""
    if place.lower is not None:
        return readable_digest(layers.lower, place.lower)
    node = place.node
    if node is None:
        return None
    if node.kind == "symlink":
        return text_digest(node.target)
    if node.digest is None and node.has_content:
        hasher = blake3()
        for piece in upper_pieces(layers, node):
            hasher.update(piece)
        node.digest = hasher.digest()
    return node.digest


def upper_pieces(layers: Layers, node: Node) -> Iterator[bytes]:
    """The content of an upper file."""
    file = layers.blobs.open(node.id)
    try:
        offset = 0
        while piece := read_all(file, offset, PIECE_BYTES):
            yield piece
            offset += len(piece)
    finally:
        os.close(file)


def outermost(paths: Iterable[str]) -> list[str]:
    """The paths without those that lie below others of them."""
    tops: list[str] = []
    for path in sorted(set(paths), key=parts):
        if not tops or not is_within(path, tops[-1]):
            tops.append(path)
    return tops


def _below(place: Place, name: str, *, is_shown: bool) -> Place:
    if not is_shown:
        return Place(None, None)
    if place.node is not None:
        return place_below(place.node, name)
    return Place(None, join(place.lower or "", name))
