"""Giving up copies that say nothing: a place that shows the lower layer again follows it again."""

from __future__ import annotations

import contextlib

from astrid_hookspecs.errors import AstridError
from astrid_vfs_overlay.edit import Edit
from astrid_vfs_overlay.layers import Layers
from astrid_vfs_overlay.lower import is_lower_directory
from astrid_vfs_overlay.nodes import Node, join


def settle(layers: Layers, node: Node) -> None:
    """Drop the copy of a lower file that was opened to be changed, and was not.

    Otherwise a later edit of the lower file would be hidden, and taken for a conflict.
    """
    if node.home is None or node.links != 1:
        return
    parent, name = node.home
    if parent.lower is None or join(parent.lower, name) != node.copy_of:
        return
    # It is a kindness on closing a file; closing does not fail because of it.
    with contextlib.suppress(AstridError), Edit(layers) as edit:
        edit.cut(parent, name)
        prune(edit, parent)


def prune(edit: Edit, directory: Node) -> None:
    """Drop directories that say nothing, upwards: no entries, and the lower one shows through."""
    node = directory
    while node.home is not None and not node.entries:
        parent, name = node.home
        same = parent.lower is not None and node.lower == join(parent.lower, name)
        if not same or not is_lower_directory(edit.layers.lower, node.lower or ""):
            return
        edit.cut(parent, name)
        node = parent
