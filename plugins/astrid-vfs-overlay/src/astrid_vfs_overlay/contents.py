"""Opening files of the overlay, and replacing them as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from astrid_hookspecs.vfs import ContentCheck, NodeStat, OpenMode, VfsFile
from astrid_vfs_overlay.blobs import BlobWriter
from astrid_vfs_overlay.copy_up import PERMISSIONS, copy_up, need_regular, parent_of, touch
from astrid_vfs_overlay.edit import Edit
from astrid_vfs_overlay.handles import UpperFile, let_go, open_lower
from astrid_vfs_overlay.layers import Layers, closed, not_found
from astrid_vfs_overlay.namespace import ask
from astrid_vfs_overlay.nodes import Node

_NEW_FILE = 0o644


def open_file(layers: Layers, path: str, mode: OpenMode) -> VfsFile:
    """As `VfsDirectory.open`. The lock is held."""
    place = layers.find(path)
    if mode == "read":
        if place.lower is not None:
            return open_lower(layers, place.lower)
        if place.node is None:
            raise not_found()
        need_regular(layers.node_stat(place.node))
        return UpperFile(layers, place.node, mode)
    found = layers.stat(place)
    if found is not None:
        need_regular(found)
    if found is None:
        if mode == "read-write":
            layers.need(place)
            raise not_found()
        node = _create(layers, path)
    elif place.lower is not None:
        node = copy_up(layers, path, place, empty=mode == "write")
    elif place.node is not None:
        node = place.node
    else:
        raise not_found()
    file = UpperFile(layers, node, mode)
    if mode == "write" and node.size:
        file.truncate(0)
    return file


def replace_file(
    layers: Layers,
    path: str,
    content: Iterable[bytes],
    *,
    mode: int | None,
    only_if: ContentCheck | None,
) -> NodeStat:
    """As `VfsDirectory.replace`. The lock is not held: the content may take its time."""
    layers.find(path)
    writer = BlobWriter(layers.blobs, next(layers.ids))
    try:
        for piece in content:
            writer.write(piece)
        writer.finish(durable=True)
    except BaseException:
        writer.discard()
        raise
    with layers.lock:
        if layers.closed:
            writer.discard()
            raise closed()
        node = _swap(layers, path, writer, mode=mode, only_if=only_if)
        return layers.node_stat(node)


def _create(layers: Layers, path: str) -> Node:
    layers.need_room()
    with Edit(layers) as edit:
        parent, name = parent_of(edit, path)
        touch(edit, path, parent, name)
        writer = BlobWriter(layers.blobs, next(layers.ids))
        edit.on_failure(writer.discard)
        writer.finish()
        node = edit.make("regular", mode=_NEW_FILE, number=writer.number)
        edit.put(parent, name, node)
        return node


def _swap(
    layers: Layers,
    path: str,
    writer: BlobWriter,
    *,
    mode: int | None,
    only_if: ContentCheck | None,
) -> Node:
    with Edit(layers, durable=True) as edit:
        edit.on_failure(writer.discard)
        layers.need_room()
        place = layers.find(path)
        found = layers.stat(place)
        if found is not None:
            need_regular(found)
        ask(layers, place, only_if)
        if mode is None:
            mode = _NEW_FILE if found is None else found.mode
        parent, name = parent_of(edit, path)
        touch(edit, path, parent, name)
        node = edit.make("regular", mode=mode & PERMISSIONS, number=writer.number)
        node.size, node.digest = writer.size, writer.digest()
        edit.put(parent, name, node)
        if place.lower is not None:
            edit.on_success(partial(let_go, layers, place.lower))
        return node
