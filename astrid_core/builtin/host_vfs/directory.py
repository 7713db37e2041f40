"""Directory handles on the host's disk.

Trusted with turning a guest's path into one system call on descriptors. A path is checked for its
form, then either opened as a whole beneath the handle's own descriptor, or split into a parent,
which is opened that way, and a last name, which no call made here follows. The root's own path is
used once, so renaming or replacing it later leads nowhere else.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from typing import Final

from astrid_core.builtin.host_vfs.admission import several_names, wrong_kind
from astrid_core.builtin.host_vfs.file import Descriptor, HostFile, node_stat
from astrid_core.builtin.host_vfs.naming import Place, Translated
from astrid_core.builtin.host_vfs.replace import Swap
from astrid_core.builtin.host_vfs.syscalls import stat_at, stat_descriptor
from astrid_core.builtin.host_vfs.tree import Tree
from astrid_hookspecs.errors import VfsError
from astrid_hookspecs.vfs import ContentCheck, NodeStat, OpenMode
from astrid_hookspecs.vfs_paths import is_temporary_name, path_bytes

_DIRECTORY_MODE: Final = 0o755
_MAX_TARGET_BYTES: Final = 4095


class HostDirectory:
    """Implements `VfsDirectory`. Safe from any thread.

    Args:
        descriptor: Of the directory.
        tree: Shared with all handles of the root.
    """

    def __init__(self, descriptor: Descriptor, tree: Tree) -> None:
        self._descriptor: Descriptor | None = descriptor
        self._tree = tree

    def open(self, path: str, mode: OpenMode) -> HostFile:
        """As `VfsDirectory.open`."""
        root = self._descriptor or self._held()
        name = path_bytes(path)
        if not name:
            raise wrong_kind(stat.S_IFDIR)
        return self._tree.open_file(root.number, name, mode)

    def open_directory(self, path: str) -> HostDirectory:
        """As `VfsDirectory.open_directory`."""
        root = self._held()
        name = path_bytes(path) or b"."
        with Translated():
            number = self._tree.open_parent(root.number, name)
        return HostDirectory(Descriptor(number), self._tree)

    def stat(self, path: str) -> NodeStat:
        """As `VfsDirectory.stat`."""
        root = self._held()
        name = path_bytes(path)
        if not name:
            with Translated():
                return node_stat(stat_descriptor(root.number))
        with Place(self._tree.open_parent, root, name) as place:
            return node_stat(stat_at(place.directory, place.name))

    def names(self, path: str, *, after: str | None, limit: int) -> list[str]:
        """As `VfsDirectory.names`. Holds a small multiple of `limit` names at most."""
        root = self._held()
        name = path_bytes(path) or b"."
        with Translated():
            number = self._tree.open_listing(root.number, name)
            try:
                return _first_names(number, after, limit)
            finally:
                os.close(number)

    def mkdir(self, path: str) -> None:
        """As `VfsDirectory.mkdir`."""
        with self._place(path) as place:
            os.mkdir(place.name, _DIRECTORY_MODE, dir_fd=place.directory)
            self._tree.keep_names(place.directory)

    def unlink(
        self, path: str, *, only_if: ContentCheck | None = None, token: str | None = None
    ) -> None:
        """As `VfsDirectory.unlink`."""
        with self._place(path) as place:
            if only_if is not None:
                Swap(self._tree, place, only_if=only_if, token=token).unlink()
                return
            try:
                os.unlink(place.name, dir_fd=place.directory)
            except PermissionError:  # what some systems say about a directory
                if stat.S_ISDIR(stat_at(place.directory, place.name).mode):
                    raise wrong_kind(stat.S_IFDIR) from None
                raise
            self._tree.keep_names(place.directory)

    def rmdir(self, path: str) -> None:
        """As `VfsDirectory.rmdir`."""
        with self._place(path) as place:
            try:
                os.rmdir(place.name, dir_fd=place.directory)
            except FileExistsError as error:
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY)) from error
            self._tree.keep_names(place.directory)

    def rename(self, source: str, target: str) -> None:
        """As `VfsDirectory.rename`."""
        with self._place(source) as old, self._place(target) as new:
            try:
                os.rename(old.name, new.name, src_dir_fd=old.directory, dst_dir_fd=new.directory)
            except FileExistsError as error:
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY)) from error
            # The new name first: a crash between the two leaves two names, never none.
            self._tree.keep_names(new.directory)
            self._tree.keep_names(old.directory)

    def replace(
        self,
        path: str,
        content: Iterable[bytes],
        *,
        mode: int | None = None,
        only_if: ContentCheck | None = None,
        token: str | None = None,
    ) -> NodeStat:
        """As `VfsDirectory.replace`."""
        with self._place(path) as place:
            swap = Swap(self._tree, place, only_if=only_if, token=token)
            return swap.replace(content, mode=mode)

    def link(self, source: str, target: str) -> None:
        """As `VfsDirectory.link`; refused where files with several names are."""
        if not self._tree.rules.multi_linked:
            raise several_names()
        with self._place(source) as old, self._place(target) as new:
            node = stat_at(old.directory, old.name)
            if not node.is_regular:
                raise wrong_kind(node.mode)
            # If the name is a link by now, the link itself gets another name, and leads nowhere.
            os.link(
                old.name,
                new.name,
                src_dir_fd=old.directory,
                dst_dir_fd=new.directory,
                follow_symlinks=False,
            )
            self._tree.keep_names(new.directory)

    def readlink(self, path: str) -> str:
        """As `VfsDirectory.readlink`."""
        if not path:
            self._held()
            raise VfsError("it is no symbolic link", code="vfs.invalid-path")
        with self._place(path) as place:
            target = os.readlink(place.name, dir_fd=place.directory)
        try:
            return target.decode()
        except UnicodeDecodeError as error:
            raise VfsError("the link's target is not UTF-8", code="vfs.invalid-path") from error

    def symlink(self, target: str, path: str) -> None:
        """As `VfsDirectory.symlink`."""
        try:
            text = target.encode()
        except UnicodeEncodeError as error:
            raise VfsError("the target is not UTF-8", code="vfs.invalid-path") from error
        if not text or b"\0" in text or len(text) > _MAX_TARGET_BYTES:
            raise VfsError("the target is no path", code="vfs.invalid-path")
        with self._place(path) as place:
            os.symlink(text, place.name, dir_fd=place.directory)
            self._tree.keep_names(place.directory)

    def close(self) -> None:
        """As `VfsDirectory.close`; calls that are under way still finish."""
        self._descriptor = None

    def _held(self) -> Descriptor:
        held = self._descriptor
        if held is None:
            raise VfsError("the directory is closed", code="vfs.closed")
        return held

    def _place(self, path: str) -> Place:
        root = self._held()
        name = path_bytes(path)
        if not name:
            raise VfsError(
                "the root itself cannot be created, replaced, moved or removed", code="vfs.access"
            )
        return Place(self._tree.open_parent, root, name)


def _first_names(directory: int, after: str | None, limit: int) -> list[str]:
    """The names to list. Text sorts by code points, which is the order of its UTF-8 bytes."""
    found: list[str] = []
    bound = 4 * max(0, limit) + 1000
    with os.scandir(directory) as entries:
        for entry in entries:
            name = entry.name
            if (after is None or name > after) and (name.isascii() or _is_utf8(name)):
                found.append(name)
                if len(found) >= bound:
                    found = _cut(found, limit)
    return _cut(found, limit)


def _cut(names: list[str], limit: int) -> list[str]:
    shown = sorted(name for name in names if not is_temporary_name(name))
    return shown[: max(0, limit)]


def _is_utf8(name: str) -> bool:
    """Bytes that are no UTF-8 arrive as lone surrogates, which have no UTF-8 form."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
