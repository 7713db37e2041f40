"""Changing names in the upper layer: every operation is one transaction."""

from __future__ import annotations

from functools import partial

from astrid_hookspecs.errors import VfsError
from astrid_hookspecs.vfs import ContentCheck, VfsFile
from astrid_vfs_overlay.bases import record_move, set_base
from astrid_vfs_overlay.copy_up import PERMISSIONS, copy_up, parent_of, shows_own_path, touch
from astrid_vfs_overlay.edit import Edit
from astrid_vfs_overlay.handles import UpperFile, let_go
from astrid_vfs_overlay.layers import Layers
from astrid_vfs_overlay.lower import lower_stat, observe
from astrid_vfs_overlay.nodes import WHITEOUT, Node, Place, is_within, join

_NEW_DIRECTORY = 0o755
_MAX_TARGET_BYTES = 4095
"""As long as a disk takes it: a commit could not make others."""


def mkdir(layers: Layers, path: str) -> None:
    """As `VfsDirectory.mkdir`."""
    layers.need_room()
    _need_free(layers, path)
    with Edit(layers) as edit:
        parent, name = parent_of(edit, path)
        touch(edit, path, parent, name)
        # Over a lower directory that is gone in the overlay, the old names must not come back.
        merges = shows_own_path(parent, name, path) and lower_stat(layers.lower, path) is None
        lower = path if merges else None
        edit.put(parent, name, edit.make("directory", mode=_NEW_DIRECTORY, lower=lower))


def symlink(layers: Layers, target: str, path: str) -> None:
    """As `VfsDirectory.symlink`."""
    layers.need_room()
    _need_text(target)
    if not target or "\0" in target or len(target.encode()) > _MAX_TARGET_BYTES:
        raise VfsError("the target is no path", code="vfs.invalid-path")
    _need_free(layers, path)
    with Edit(layers) as edit:
        parent, name = parent_of(edit, path)
        touch(edit, path, parent, name)
        edit.put(parent, name, edit.make("symlink", mode=0o777, target=target))


def readlink(layers: Layers, path: str) -> str:
    """As `VfsDirectory.readlink`."""
    place = layers.find(path)
    if place.lower is not None:
        return layers.lower.readlink(place.lower)
    if layers.need(place).kind != "symlink" or place.node is None:
        raise VfsError("it is not a symbolic link", code="vfs.invalid-path")
    return place.node.target


def unlink(layers: Layers, path: str, only_if: ContentCheck | None) -> None:
    """As `VfsDirectory.unlink`."""
    place = layers.find(path)
    if layers.need(place).kind == "directory":
        raise VfsError("it is a directory", code="vfs.is-directory")
    ask(layers, place, only_if)
    with Edit(layers) as edit:
        parent, name = parent_of(edit, path)
        touch(edit, path, parent, name)
        _hide(edit, parent, name)
    if place.lower is not None:
        let_go(layers, place.lower)


def rmdir(layers: Layers, path: str) -> None:
    """As `VfsDirectory.rmdir`."""
    if not path:
        raise VfsError("the root stays", code="vfs.access")
    place = layers.find(path)
    if layers.need(place).kind != "directory":
        raise VfsError("it is not a directory", code="vfs.not-directory")
    if not layers.is_empty(place):
        raise VfsError("the directory is not empty", code="vfs.not-empty")
    with Edit(layers) as edit:
        parent, name = parent_of(edit, path)
        _touch_directory(edit, path, parent, name)
        _hide(edit, parent, name)


def link(layers: Layers, source: str, target: str) -> None:
    """As `VfsDirectory.link`."""
    place = layers.find(source)
    kind = layers.need(place).kind
    if kind != "regular":
        codes = {"symlink": "vfs.link", "directory": "vfs.is-directory"}
        raise VfsError("only files have more names", code=codes.get(kind, "vfs.access"))
    _need_free(layers, target)
    layers.need_room()
    with Edit(layers) as edit:
        parent, name = parent_of(edit, target)  # before anything is copied
        node = _own(layers, source, place)
        touch(edit, target, parent, name)
        edit.put(parent, name, node)
    node.copy_of = None


def rename(layers: Layers, source: str, target: str) -> None:
    """As `VfsDirectory.rename`."""
    if not source or not target:
        raise VfsError("the root has no other path", code="vfs.access")
    place, other = layers.find(source), layers.find(target)
    moves_directory = layers.need(place).kind == "directory"
    if source == target or (place.node is not None and place.node is other.node):
        return
    if moves_directory and is_within(target, source):
        raise VfsError("a directory cannot move into itself", code="vfs.invalid-path")
    _need_replaceable(layers, other, moves_directory=moves_directory)
    with Edit(layers) as edit:
        parent_of(edit, target)  # before anything is copied
        if moves_directory:
            _move_directory(layers, source, target)
        else:
            _move(layers, source, target, _own(layers, source, place))
        if other.lower is not None:
            # Readers of a lower file keep it, whatever takes its name.
            edit.on_success(partial(let_go, layers, other.lower))


def ask(layers: Layers, place: Place, only_if: ContentCheck | None) -> None:
    """Ask a condition about what is at a place.

    Raises:
        VfsError: `vfs.conflict`: it says no.
    """
    if only_if is None:
        return
    found = layers.stat(place)
    file: VfsFile | None = None
    if found is not None and found.kind == "regular":
        if place.lower is not None:
            file = layers.lower.open(place.lower, "read")
        elif place.node is not None:
            file = UpperFile(layers, place.node, "read")
    try:
        allowed = only_if(file)
    finally:
        if file is not None:
            file.close()
    if not allowed:
        raise VfsError("it is not what was expected", code="vfs.conflict")


def _move_directory(layers: Layers, source: str, target: str) -> None:
    with Edit(layers) as edit:
        parent, name = parent_of(edit, source)
        node = parent.entries.get(name)
        if node is None:
            lower = join(parent.lower or "", name)
            mode = layers.lower.stat(lower).mode & PERMISSIONS
            node = edit.make("directory", mode=mode, lower=lower)
            edit.put(parent, name, node)
        for gone in record_move(layers, source, node):
            edit.set_lower(gone, None)
        new_parent, new_name = parent_of(edit, target)
        _touch_directory(edit, target, new_parent, new_name)
        edit.put(new_parent, new_name, node)
        _hide(edit, parent, name)


def _move(layers: Layers, source: str, target: str, node: Node) -> None:
    with Edit(layers) as edit:
        parent, name = parent_of(edit, source)
        touch(edit, source, parent, name)
        new_parent, new_name = parent_of(edit, target)
        touch(edit, target, new_parent, new_name)
        edit.put(new_parent, new_name, node)
        _hide(edit, parent, name)
        edit.on_success(lambda: setattr(node, "copy_of", None))


def _own(layers: Layers, path: str, place: Place) -> Node:
    """The node of a file or link; one that is only in the lower layer is copied."""
    if place.lower is None and place.node is not None:
        return place.node
    if layers.need(place).kind != "symlink":
        return copy_up(layers, path, place)
    target = layers.lower.readlink(place.lower or "")
    _need_text(target)
    with Edit(layers) as edit:
        parent, name = parent_of(edit, path)
        touch(edit, path, parent, name)
        node = edit.make("symlink", mode=0o777, target=target)
        edit.put(parent, name, node)
        return node


def _hide(edit: Edit, parent: Node, name: str) -> None:
    """Let a name lead to nothing."""
    if parent.lower is not None:
        below = lower_stat(edit.layers.lower, join(parent.lower, name))
        if below is not None:
            edit.put(parent, name, WHITEOUT)
            return
    if name in parent.entries:
        edit.cut(parent, name)


def _touch_directory(edit: Edit, path: str, parent: Node, name: str) -> None:
    """As `touch`, for the place of an empty directory, which may have entries for hidden names."""
    node = parent.entries.get(name)
    if node is None:
        touch(edit, path, parent, name)
    elif node.kind == "directory" and node.lower == path:
        set_base(edit.layers.db, path, observe(edit.layers.lower, path, read=False))


def _need_free(layers: Layers, path: str) -> None:
    if layers.stat(layers.find(path)) is not None:
        raise VfsError("the name is taken", code="vfs.already-exists")


def _need_replaceable(layers: Layers, place: Place, *, moves_directory: bool) -> None:
    found = layers.stat(place)
    if found is None:
        return
    if found.kind != "directory":
        if moves_directory:
            raise VfsError("a directory replaces only directories", code="vfs.not-directory")
        return
    if not moves_directory:
        raise VfsError("it is a directory", code="vfs.is-directory")
    if not layers.is_empty(place):
        raise VfsError("the directory is not empty", code="vfs.not-empty")


def _need_text(target: str) -> None:
    try:
        target.encode()
    except UnicodeEncodeError as error:
        raise VfsError("a link's target is UTF-8 text", code="vfs.invalid-path") from error
