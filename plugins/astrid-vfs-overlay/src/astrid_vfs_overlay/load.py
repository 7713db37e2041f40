"""Reading the upper layer of a store into memory, and refusing one that does not hold together."""

from __future__ import annotations

import itertools
import os
import stat
from typing import Final, cast, get_args

from astrid_hookspecs.errors import AstridError
from astrid_hookspecs.vfs import NodeKind, OverlaySpec
from astrid_hookspecs.vfs_paths import path_parts
from astrid_vfs_overlay.blobs import Blobs, Budget
from astrid_vfs_overlay.database import Database, damaged
from astrid_vfs_overlay.layers import Layers
from astrid_vfs_overlay.nodes import ROOT_ID, WHITEOUT, Node

_KINDS: Final = frozenset(get_args(NodeKind))
_MAX_NUMBER: Final = 2**62
"""Nobody gets there by making nodes, and the database counts no further than twice that."""
_TYPES: Final = {
    "nodes": (("modified_ns", "'integer', 'null'"),),
    "bases": (
        ("path", "'text'"),
        ("kind", "'text'"),
        ("mode", "'integer'"),
        ("stamp", "'text'"),
        ("digest", "'blob', 'null'"),
    ),
    "journal": (
        ("path", "'text'"),
        ("token", "'text'"),
        ("old", "'blob', 'null'"),
        ("new", "'blob', 'null'"),
    ),
}
"""Types of columns that are not checked while their rows are read."""


def open_layers(spec: OverlaySpec) -> Layers:
    """Open what a store holds; an empty one holds nothing.

    Raises:
        StoreError: `overlay.busy`, `overlay.newer`, `overlay.store`.
        IntegrityError: `overlay.damaged`.
        QuotaExceededError: What it holds does not fit the budget.
    """
    db = Database(spec.store)
    try:
        blobs = Blobs(spec.store, Budget(spec.meter))
        try:
            return _read(spec, db, blobs)
        except BaseException:
            blobs.close()
            raise
    except BaseException:
        db.close()
        raise


def _read(spec: OverlaySpec, db: Database, blobs: Blobs) -> Layers:
    nodes = _read_nodes(db)
    count = _read_entries(db, nodes)
    last = _last_number(db, nodes)
    _check_records(db)
    _check_tree(nodes)
    total = sum(_measure(blobs, node) for node in nodes.values())
    blobs.keep_only(node.id for node in nodes.values() if node.has_content)
    blobs.budget.grow(total)
    return Layers(
        lower=spec.lower,
        db=db,
        blobs=blobs,
        root=nodes[ROOT_ID],
        ids=itertools.count(last + 1),
        stamp=os.urandom(8).hex(),
        names_held=count,
    )


def _read_nodes(db: Database) -> dict[int, Node]:
    nodes: dict[int, Node] = {}
    rows = db.rows("SELECT id, kind, mode, lower, target, modified_ns FROM nodes")
    for number, kind, mode, lower, target, modified_ns in rows:
        _check_node(kind, mode, lower, target)
        node = Node(number, cast("NodeKind", kind), mode=mode, lower=lower, target=target)
        node.modified_ns = modified_ns
        nodes[number] = node
    root = nodes.get(ROOT_ID)
    if root is None or root.kind != "directory" or root.lower:
        raise damaged("it has no root")
    return nodes


def _last_number(db: Database, nodes: dict[int, Node]) -> int:
    """The highest number that a node ever had: contents are named after them."""
    rows = db.rows("SELECT seq FROM sqlite_sequence WHERE name = 'nodes'")
    last = rows[0][0] if len(rows) == 1 else None
    if not isinstance(last, int) or not max(nodes) <= last <= _MAX_NUMBER:
        raise damaged("it has lost count of its nodes")
    return last


def _check_records(db: Database) -> None:
    """What is read later is of the types that the code relies on; the database does not care."""
    for table, types in _TYPES.items():
        wrong = " OR ".join(f"typeof({column}) NOT IN ({kinds})" for column, kinds in types)
        if db.rows(f"SELECT 1 FROM {table} WHERE {wrong} LIMIT 1"):  # noqa: S608 - constants
            raise damaged(f"something in its {table} is of another type")


def _check_node(kind: object, mode: object, lower: object, target: object) -> None:
    if kind not in _KINDS or not isinstance(mode, int) or not isinstance(target, str):
        raise damaged("a node is of an unknown kind")
    try:
        path_parts("" if lower is None else _text(lower))
    except AstridError as error:
        raise damaged("a node leads to no path") from error


def _read_entries(db: Database, nodes: dict[int, Node]) -> int:
    rows = db.rows("SELECT parent, name, node FROM entries")
    for number, name, child in rows:
        parent = nodes.get(number)
        node = WHITEOUT if child is None else nodes.get(child)
        if parent is None or node is None or parent.kind != "directory":
            raise damaged("a name leads nowhere")
        try:
            valid = len(path_parts(_text(name))) == 1
        except AstridError:
            valid = False
        if not valid:
            raise damaged("a name is none")
        parent.entries[name] = node
        node.links += 1
        if node is not WHITEOUT:
            node.home = parent, name
    return len(rows)


def _check_tree(nodes: dict[int, Node]) -> None:
    """Each node is reached from the root, a directory in one way."""
    seen = {ROOT_ID}
    stack = [nodes[ROOT_ID]]
    while stack:
        for child in stack.pop().entries.values():
            if child is WHITEOUT:
                continue
            if child.id in seen and child.kind == "directory":
                raise damaged("a directory has two names")
            if child.id not in seen:
                seen.add(child.id)
                stack.append(child)
    if len(seen) != len(nodes):
        raise damaged("a node has no name")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise damaged("a name is no text")
    return value


def _measure(blobs: Blobs, node: Node) -> int:
    if not node.has_content:
        return 0
    try:
        found = blobs.stat(node.id)
    except OSError as error:
        raise damaged("a content is missing") from error
    if not stat.S_ISREG(found.st_mode):
        raise damaged("a content is no file")
    node.size = found.st_size
    return node.size
