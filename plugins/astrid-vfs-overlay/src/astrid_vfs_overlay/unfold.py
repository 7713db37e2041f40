"""Making explicit what a directory shows, so that its paths can be settled one by one."""

from __future__ import annotations

from collections.abc import Iterable

from astrid_hookspecs.errors import VfsError
from astrid_hookspecs.vfs import VfsDirectory
from astrid_vfs_overlay.copy_up import PERMISSIONS
from astrid_vfs_overlay.edit import Edit
from astrid_vfs_overlay.lower import all_names, lower_stat
from astrid_vfs_overlay.nodes import WHITEOUT, Node, directories, join, parts


def unfold_within(edit: Edit, tops: Iterable[str]) -> None:
    """Let every directory on the way to, at and below the given paths show its own lower one.

    What the overlay shows stays the same: other lower names are hidden, and nodes stand for what
    showed from elsewhere.
    """
    for top in tops:
        node, path = edit.layers.root, ""
        for name in parts(top):
            child = node.entries.get(name)
            if child is None or child.kind != "directory":
                break
            path = join(path, name)
            node = child
            unfold(edit, node, path)
        else:
            for at, below in list(directories(node, path)):
                unfold(edit, below, at)


def unfold(edit: Edit, node: Node, path: str) -> None:
    """Let a directory, and what showed in it from elsewhere, show the lower one of its own path."""
    stack = [(node, path)]
    while stack:
        directory, at = stack.pop()
        if directory.lower == at:
            continue
        stack += _take_over(edit, directory, at)
        own = set(all_names(edit.layers.lower, at))
        for name in own - set(directory.entries):
            edit.put(directory, name, WHITEOUT)
        for name, child in list(directory.entries.items()):
            if child is WHITEOUT and name not in own:
                edit.cut(directory, name)
        edit.set_lower(directory, at)


def _take_over(edit: Edit, directory: Node, path: str) -> list[tuple[Node, str]]:
    """Nodes for all that a directory shows from another place; the directories among them."""
    made: list[tuple[Node, str]] = []
    if directory.lower is None:
        return made
    lower = edit.layers.lower
    for name in all_names(lower, directory.lower):
        source = join(directory.lower, name)
        found = None if name in directory.entries else lower_stat(lower, source)
        if found is None:
            continue
        mode = found.mode & PERMISSIONS
        target = _target(lower, source) if found.kind == "symlink" else None
        if target is not None:
            node = edit.make("symlink", mode=mode, target=target)
        else:
            node = edit.make(found.kind, mode=mode, lower=source)
        if found.kind == "directory":
            made.append((node, join(path, name)))
        edit.put(directory, name, node)
    return made


def _target(lower: VfsDirectory, path: str) -> str | None:
    """What a lower link says; None where it cannot be said, and the commit of that path fails."""
    try:
        return lower.readlink(path)
    except VfsError:
        return None
