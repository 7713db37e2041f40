"""Handles of directories below the root of an overlay."""

from __future__ import annotations

from collections.abc import Iterable

from astrid_hookspecs.errors import VfsError
from astrid_hookspecs.vfs import ContentCheck, NodeStat, OpenMode, VfsDirectory, VfsFile
from astrid_vfs_overlay.layers import closed, not_found
from astrid_vfs_overlay.nodes import is_within, join, names_of


class Below:
    """Implements `VfsDirectory` for what is below a directory of an overlay, wherever it moves.

    Args:
        root: The overlay.
        path: Of the directory, canonical.
    """

    def __init__(self, root: VfsDirectory, path: str) -> None:
        self._root = root
        self._path = path
        self._exists = True
        self._closed = False

    def open(self, path: str, mode: OpenMode) -> VfsFile:
        """As `VfsDirectory.open`."""
        return self._root.open(self._at(path), mode)

    def open_directory(self, path: str) -> VfsDirectory:
        """As `VfsDirectory.open_directory`."""
        return self._root.open_directory(self._at(path))

    def stat(self, path: str) -> NodeStat:
        """As `VfsDirectory.stat`."""
        return self._root.stat(self._at(path))

    def names(self, path: str, *, after: str | None, limit: int) -> list[str]:
        """As `VfsDirectory.names`."""
        return self._root.names(self._at(path), after=after, limit=limit)

    def mkdir(self, path: str) -> None:
        """As `VfsDirectory.mkdir`."""
        self._root.mkdir(self._at(path))

    def unlink(
        self, path: str, *, only_if: ContentCheck | None = None, token: str | None = None
    ) -> None:
        """As `VfsDirectory.unlink`."""
        self._root.unlink(self._at(path), only_if=only_if, token=token)

    def rmdir(self, path: str) -> None:
        """As `VfsDirectory.rmdir`."""
        self._root.rmdir(self._below(path))

    def rename(self, source: str, target: str) -> None:
        """As `VfsDirectory.rename`."""
        self._root.rename(self._below(source), self._below(target))

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
        return self._root.replace(self._at(path), content, mode=mode, only_if=only_if, token=token)

    def link(self, source: str, target: str) -> None:
        """As `VfsDirectory.link`."""
        self._root.link(self._at(source), self._at(target))

    def readlink(self, path: str) -> str:
        """As `VfsDirectory.readlink`."""
        return self._root.readlink(self._at(path))

    def symlink(self, target: str, path: str) -> None:
        """As `VfsDirectory.symlink`."""
        self._root.symlink(target, self._at(path))

    def close(self) -> None:
        """As `VfsDirectory.close`."""
        self._closed = True

    def moved(self, source: str, target: str) -> None:
        """For the overlay: `source` has another path now."""
        if is_within(self._path, source):
            self._path = target + self._path[len(source) :]

    def removed(self, path: str) -> None:
        """For the overlay: there is no such directory any more."""
        if self._path == path:
            self._exists = False

    def _at(self, path: str) -> str:
        names_of(path)  # before it is joined: `..` must not climb
        if self._closed:
            raise closed()
        if not self._exists:
            raise not_found()
        return join(self._path, path) if path else self._path

    def _below(self, path: str) -> str:
        if not path:
            raise VfsError("a directory does not remove or move itself", code="vfs.access")
        return self._at(path)
