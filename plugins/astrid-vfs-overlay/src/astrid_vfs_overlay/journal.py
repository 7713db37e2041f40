"""Which paths a commit is about to change, so that a crash in the middle can be cleaned up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from astrid_vfs_overlay.bases import set_base
from astrid_vfs_overlay.database import Database
from astrid_vfs_overlay.edit import Edit
from astrid_vfs_overlay.layers import Layers
from astrid_vfs_overlay.nodes import Node, parts, split
from astrid_vfs_overlay.settle import prune


class Entry(NamedTuple):
    """One path of a commit that is under way.

    Attributes:
        path: Of the lower layer.
        token: Names its temporary.
        old: Digest of what may be taken away; None: nothing, or it is not known.
        new: Digest of what comes there; None: nothing does.
        overwrite: Whether anything may be taken away.
    """

    path: str
    token: str
    old: bytes | None
    new: bytes | None
    overwrite: bool


def write_entries(layers: Layers, entries: Iterable[Entry]) -> None:
    """Note them, durably, before the lower layer changes."""
    with Edit(layers, durable=True) as edit:
        for entry in entries:
            edit.layers.db.execute("INSERT OR REPLACE INTO journal VALUES (?, ?, ?, ?, ?)", *entry)


def read_entries(db: Database) -> list[Entry]:
    """What an interrupted commit left."""
    rows = db.rows("SELECT path, token, old, new, overwrite FROM journal")
    return [Entry(path, token, old, new, bool(over)) for path, token, old, new, over in rows]


def forget_entry(layers: Layers, path: str) -> None:
    """The path was left as it is."""
    with Edit(layers) as edit:
        edit.layers.db.execute("DELETE FROM journal WHERE path = ?", path)


def drop_entry(layers: Layers, path: str) -> None:
    """The lower layer has a path as the overlay had it: nothing is left to say about it."""
    with Edit(layers, revokes=True) as edit:
        edit.layers.db.execute("DELETE FROM journal WHERE path = ?", path)
        set_base(edit.layers.db, path, None)
        parent, name = _parent(layers, path)
        node = None if parent is None else parent.entries.get(name)
        if parent is None or node is None:
            return
        if node.kind == "directory":
            prune(edit, node)
            return
        edit.cut(parent, name)
        prune(edit, parent)


def _parent(layers: Layers, path: str) -> tuple[Node | None, str]:
    directory, name = split(path)
    node = layers.root
    for part in parts(directory):
        child = node.entries.get(part)
        if child is None or child.kind != "directory":
            return None, name
        node = child
    return node, name
