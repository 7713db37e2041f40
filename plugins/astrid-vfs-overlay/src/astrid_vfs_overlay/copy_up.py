"""Bringing a lower file into the upper layer before it changes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final

from astrid_hookspecs.errors import VfsError
from astrid_hookspecs.vfs import NodeStat
from astrid_vfs_overlay.bases import record
from astrid_vfs_overlay.blobs import BlobWriter
from astrid_vfs_overlay.edit import Edit
from astrid_vfs_overlay.handles import follow
from astrid_vfs_overlay.layers import Layers, not_found
from astrid_vfs_overlay.lower import MAX_COPY_BYTES, Base, lower_pieces, lower_stat, observe
from astrid_vfs_overlay.nodes import WHITEOUT, Node, Place, join, names_of, not_directory

PERMISSIONS: Final = 0o777
"""Mode bits that are kept. Set-user-id and its like are not: the content is no longer that which
somebody trusted with them."""
_TRIES: Final = 3


def parent_of(edit: Edit, path: str) -> tuple[Node, str]:
    """The directory node that holds a path's last name, made where the lower layer has one.

    Raises:
        VfsNotFoundError: A directory on the way is missing.
        VfsError: `vfs.link`, `vfs.not-directory`: something on the way is no directory.
    """
    names = names_of(path)
    node = edit.layers.root
    for name in names[:-1]:
        child = node.entries.get(name)
        if child is WHITEOUT or (child is None and node.lower is None):
            raise not_found()
        if child is None:
            child = _container(edit, join(node.lower or "", name))
            edit.put(node, name, child)
        if child.kind != "directory":
            raise not_directory(child.kind)
        node = child
    return node, names[-1]


def shows_own_path(parent: Node, name: str, path: str) -> bool:
    """Whether the lower node of the same path shows, or would show, at a place."""
    return parent.lower is not None and join(parent.lower, name) == path


def touch(edit: Edit, path: str, parent: Node, name: str) -> None:
    """Remember what the lower layer has at a place that the overlay changes now."""
    if name not in parent.entries and shows_own_path(parent, name, path):
        record(edit.layers, path, observe(edit.layers.lower, path, read=True))


def copy_up(layers: Layers, path: str, place: Place, *, empty: bool = False) -> Node:
    """Give a path that shows a lower file a content of its own.

    Args:
        layers: Their lock is held.
        path: Of the overlay.
        place: Where it leads: to the lower layer.
        empty: Without the lower content, which is only remembered.

    Raises:
        QuotaExceededError: The content does not fit.
        VfsError: `vfs.too-large`: above `MAX_COPY_BYTES`; `vfs.access`: no regular file.
    """
    source = place.lower or ""
    if place.node is None:
        layers.need_room()
    with Edit(layers) as edit:
        found, content = _copy(edit, place, empty=empty)
        node = place.node
        if node is None:
            parent, name = parent_of(edit, path)
            if empty:
                touch(edit, path, parent, name)
            elif shows_own_path(parent, name, path):
                record(layers, path, Base(found.kind, found.mode, found.stamp, content.digest()))
            node = edit.make("regular", mode=found.mode & PERMISSIONS, number=content.number)
            edit.put(parent, name, node)
        else:
            edit.set_lower(node, None)
        node.size = content.size
        if not empty:
            node.digest, node.copy_of = content.digest(), source
        edit.on_success(partial(follow, layers, source, node))
        return node


def _copy(edit: Edit, place: Place, *, empty: bool) -> tuple[NodeStat, BlobWriter]:
    """A new content like that of a lower file, and the metadata that belongs to it."""
    layers, source = edit.layers, place.lower or ""
    for attempt in range(_TRIES):
        found = layers.lower.stat(source)
        need_regular(found)
        writer = BlobWriter(layers.blobs, next(layers.ids) if place.node is None else place.node.id)
        try:
            if not empty:
                _fill(writer, lower_pieces(layers.lower, source))
            after = lower_stat(layers.lower, source)
            is_stable = after is not None and after.stamp == found.stamp
            if is_stable or attempt == _TRIES - 1:
                writer.finish(modified_ns=None if empty else found.modified_ns)
                break
        except BaseException:
            writer.discard()
            raise
        writer.discard()
    edit.on_failure(writer.discard)
    return found, writer


def fill(layers: Layers, place: Place) -> None:
    """Copy the lower file that a node stands for into its content, however large it is.

    Raises:
        QuotaExceededError: The content does not fit.
        VfsError: As the lower layer answers.
    """
    if place.node is None or place.lower is None:
        return
    with Edit(layers) as edit:
        writer = BlobWriter(layers.blobs, place.node.id)
        edit.on_failure(writer.discard)
        for piece in lower_pieces(layers.lower, place.lower):
            writer.write(piece)
        writer.finish()
        edit.set_lower(place.node, None)
    place.node.size = writer.size
    follow(layers, place.lower, place.node)


def need_regular(found: NodeStat) -> None:
    """Refuse what cannot be opened.

    Raises:
        VfsError: `vfs.is-directory`, `vfs.link`, `vfs.access`.
    """
    if found.kind == "directory":
        raise VfsError("it is a directory", code="vfs.is-directory")
    if found.kind == "symlink":
        raise VfsError("it is a symbolic link", code="vfs.link")
    if found.kind != "regular":
        raise VfsError("only files can be opened", code="vfs.access")


def _fill(writer: BlobWriter, content: Iterable[bytes]) -> None:
    for piece in content:
        if writer.size + len(piece) > MAX_COPY_BYTES:
            raise VfsError(
                "a file above 50 MiB is not copied to be changed",
                code="vfs.too-large",
                hint="write a new file instead",
            )
        writer.write(piece)


def _container(edit: Edit, lower: str) -> Node:
    """A directory node that shows a lower directory."""
    found = edit.layers.lower.stat(lower)
    if found.kind != "directory":
        raise not_directory(found.kind)
    return edit.make("directory", mode=found.mode & PERMISSIONS, lower=lower)
