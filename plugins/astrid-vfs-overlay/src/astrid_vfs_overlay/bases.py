"""What the lower layer had at the places that the overlay changed, kept to find conflicts.

A place that has no record, although the overlay changed it, was empty then. Records are by path of
the lower layer, so renaming within the overlay does not touch them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from astrid_hookspecs.vfs_paths import MAX_PATH_BYTES
from astrid_vfs_overlay.database import Database
from astrid_vfs_overlay.layers import Layers
from astrid_vfs_overlay.lower import Base, all_names, is_lower_directory, observe
from astrid_vfs_overlay.nodes import Node, directories, join
from astrid_vfs_overlay.path_set import PathSet

_LAST: Final = "\U0010ffff" * MAX_PATH_BYTES
_BELOW: Final = "path = ? OR (path > ? AND path < ?)"


def base_of(db: Database, path: str) -> Base | None:
    """The record of a path."""
    rows = db.rows("SELECT kind, mode, stamp, digest FROM bases WHERE path = ?", path)
    return Base(*rows[0]) if rows else None


def bases_within(db: Database, path: str) -> dict[str, Base]:
    """The records at and below a path."""
    rows = db.rows(
        f"SELECT path, kind, mode, stamp, digest FROM bases WHERE {_BELOW}",  # noqa: S608 - constant
        *_range(path),
    )
    return {row[0]: Base(*row[1:]) for row in rows}


def forget_within(db: Database, path: str) -> None:
    """Drop the records at and below a path."""
    db.execute(f"DELETE FROM bases WHERE {_BELOW}", *_range(path))  # noqa: S608 - constant


def set_base(db: Database, path: str, base: Base | None) -> None:
    """Replace the record of one path; None drops it."""
    if base is None:
        db.execute("DELETE FROM bases WHERE path = ?", path)
        return
    db.execute("INSERT OR REPLACE INTO bases VALUES (?, ?, ?, ?, ?)", path, *base)


def record(layers: Layers, path: str, base: Base | None) -> None:
    """Remember what a place has that showed the lower layer until now."""
    forget_within(layers.db, path)
    if base is not None:
        set_base(layers.db, path, base)


def record_move(layers: Layers, path: str, node: Node) -> list[Node]:
    """Remember what all places below a directory have that is about to be moved away.

    Returns:
        Directory nodes whose lower directory is not there (any more): at their new place they must
        not show what somebody creates at the old one.
    """
    stack = [(path, node)]
    while stack:
        at, top = stack.pop()
        if top.lower == at:
            _record_tree(layers, at, top)
        else:
            stack += [
                (join(at, name), child)
                for name, child in top.entries.items()
                if child.kind == "directory"
            ]
    return [
        below
        for _, below in directories(node, path)
        if below.lower is not None and not is_lower_directory(layers.lower, below.lower)
    ]


def _record_tree(layers: Layers, path: str, node: Node) -> None:
    """Records of a directory that shows the lower one of its own path, and of all below it.

    What the overlay changed before keeps its record; the contents of the rest are not read, their
    stamps have to do.
    """
    fresh: dict[str, Base] = {}
    kept: list[str] = []
    stack: list[tuple[str, Node | None]] = [(path, node)]
    while stack:
        at, upper = stack.pop()
        if upper is not None and upper.lower != at:
            kept.append(at)
            continue
        base = observe(layers.lower, at, read=False)
        if base is None:
            continue
        fresh[at] = base
        if base.kind == "directory":
            stack += _children(layers, at, upper)
    before = bases_within(layers.db, path)
    forget_within(layers.db, path)
    for at, base in {**fresh, **_covered(before, kept)}.items():
        set_base(layers.db, at, base)


def _children(layers: Layers, path: str, node: Node | None) -> list[tuple[str, Node | None]]:
    entries: Mapping[str, Node] = {} if node is None else node.entries
    names = dict.fromkeys([*all_names(layers.lower, path), *entries])
    return [(join(path, name), entries.get(name)) for name in names]


def _covered(bases: Mapping[str, Base], tops: Collection[str]) -> dict[str, Base]:
    kept = PathSet(tops)
    return {path: base for path, base in bases.items() if kept.covers(path)}


def _range(path: str) -> tuple[str, str, str]:
    return (path, f"{path}/", f"{path}0") if path else ("", "", _LAST)
