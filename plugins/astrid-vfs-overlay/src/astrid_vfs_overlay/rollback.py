"""Forgetting changes."""

from __future__ import annotations

import bisect
from collections.abc import Iterable

from astrid_hookspecs.vfs import Announce
from astrid_vfs_overlay.bases import forget_within
from astrid_vfs_overlay.copy_up import PERMISSIONS
from astrid_vfs_overlay.diff import Diff, outermost
from astrid_vfs_overlay.edit import Edit
from astrid_vfs_overlay.layers import Layers
from astrid_vfs_overlay.lower import all_names, lower_stat
from astrid_vfs_overlay.nodes import WHITEOUT, Node, ancestors, join, parts, redirects
from astrid_vfs_overlay.settle import prune
from astrid_vfs_overlay.unfold import unfold


def roll_back(layers: Layers, paths: Iterable[str], *, announce: Announce | None) -> list[str]:
    """As `VfsOverlay.rollback`. The lock is held."""
    tops = outermost(_consistent(layers, outermost(paths)))
    if announce is not None:
        announce([item.change() for item in Diff(layers).items(tops)])
    before = {item.change() for item in Diff(layers).items(("",))}
    with Edit(layers, revokes=True) as edit:
        for top in tops:
            _restore(edit, top)
    after = {item.change() for item in Diff(layers).items(("",))}
    return sorted({change.path for change in before ^ after}, key=str.encode)


def _consistent(layers: Layers, tops: Iterable[str]) -> set[str]:
    """The paths and all that have to go back with them.

    A lower path shows at one place only. So a directory that shows another lower path than its own
    goes back together with that path.
    """
    others: dict[str, list[str]] = {}
    for place, source in redirects(layers.root):
        others.setdefault(place, []).append(source)
        others.setdefault(source, []).append(place)
    ends = sorted(f"{end}/" for end in others)
    selected: set[str] = set()
    waiting = list(tops)
    while waiting:
        top = waiting.pop()
        if top in selected:
            continue
        selected.add(top)
        for end in (*_ends_below(ends, top), *ancestors(top)):
            if end in others:
                waiting += (end, *others.pop(end))
    return selected


def _ends_below(ends: list[str], top: str) -> list[str]:
    """Those at and below a path; each is followed by a slash, so that they sort side by side."""
    if not top:
        return [end[:-1] for end in ends]
    first, after = (bisect.bisect_left(ends, f"{top}{sign}") for sign in "/0")
    return [end[:-1] for end in ends[first:after]]


def _restore(edit: Edit, path: str) -> None:
    """Let a path show the lower layer again."""
    names = parts(path)
    if not names:
        for name in list(edit.layers.root.entries):
            edit.cut(edit.layers.root, name)
        forget_within(edit.layers.db, "")
        return
    node, at = edit.layers.root, ""
    for name in names[:-1]:
        child = node.entries.get(name)
        if child is None:
            return
        at = join(at, name)
        if child.kind != "directory":
            child = _reopen(edit, node, name, at)
            if child is None:
                return
        unfold(edit, child, at)
        node = child
    edit.cut(node, names[-1])
    forget_within(edit.layers.db, path)
    prune(edit, node)


def _reopen(edit: Edit, parent: Node, name: str, path: str) -> Node | None:
    """A directory in place of what hides one, with all its names hidden; None: there is none."""
    found = lower_stat(edit.layers.lower, path)
    if found is None or found.kind != "directory":
        return None
    node = edit.make("directory", mode=found.mode & PERMISSIONS, lower=path)
    edit.put(parent, name, node)
    for below in all_names(edit.layers.lower, path):
        edit.put(node, below, WHITEOUT)
    return node
