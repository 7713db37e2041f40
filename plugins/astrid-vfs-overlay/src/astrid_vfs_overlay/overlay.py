"""The copy-on-write overlay: what the kernel gets from this plugin.

Trusted with a person's files: it reads the lower layer, and changes it in `commit` only. It decides
nothing about permission.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable, Sequence
from typing import Self

from astrid_hookspecs.errors import VfsError
from astrid_hookspecs.vfs import (
    Announce,
    CommitReport,
    ContentCheck,
    NodeStat,
    OpenMode,
    OverlayChange,
    OverlaySpec,
    VfsDirectory,
    VfsFile,
)
from astrid_vfs_overlay import namespace
from astrid_vfs_overlay.commit import commit
from astrid_vfs_overlay.contents import open_file, replace_file
from astrid_vfs_overlay.diff import Diff
from astrid_vfs_overlay.directory import Below
from astrid_vfs_overlay.handles import open_lower
from astrid_vfs_overlay.layers import Layers, closed
from astrid_vfs_overlay.load import open_layers
from astrid_vfs_overlay.nodes import names_of
from astrid_vfs_overlay.recovery import recover
from astrid_vfs_overlay.rollback import roll_back


class Overlay:
    """Implements `astrid_hookspecs.vfs.VfsOverlay`.

    A path whose first name nothing in the upper layer mentions goes straight to the lower layer.

    Args:
        layers: The open store; the overlay closes them.
    """

    def __init__(self, layers: Layers) -> None:
        self._layers = layers
        self._lock = layers.lock
        self._lower = layers.lower
        self._changed = layers.root.entries
        self._directories: weakref.WeakSet[Below] = weakref.WeakSet()

    @classmethod
    def open_store(cls, spec: OverlaySpec) -> Self:
        """Open the overlay that a store holds, and finish or take back what a crash interrupted.

        Raises:
            StoreError: `overlay.busy`, `overlay.newer`, `overlay.store`.
            IntegrityError: `overlay.damaged`.
            QuotaExceededError: What it holds does not fit the budget.
        """
        layers = open_layers(spec)
        try:
            recover(layers)
        except BaseException:
            layers.close()
            raise
        return cls(layers)

    def open(self, path: str, mode: OpenMode) -> VfsFile:
        """As `VfsDirectory.open`. What is opened to be changed is copied up first.

        Raises:
            QuotaExceededError: The copy does not fit.
            VfsError: `vfs.too-large`: a lower file above 50 MiB.
        """
        if mode == "read" and path.partition("/")[0] not in self._changed:
            file = open_lower(self._layers, path)
            if path.partition("/")[0] not in self._changed:
                return file
            # It changed meanwhile, perhaps before this reader was known.
            file.close()
        with self._lock:
            return open_file(self._layers, path, mode)

    def open_directory(self, path: str) -> VfsDirectory:
        """As `VfsDirectory.open_directory`."""
        with self._lock:
            kind = self.stat(path).kind
            if kind == "symlink":
                raise VfsError("it is a symbolic link", code="vfs.link")
            if kind != "directory":
                raise VfsError("it is not a directory", code="vfs.not-directory")
            below = Below(self, path)
            self._directories.add(below)
            return below

    def stat(self, path: str) -> NodeStat:
        """As `VfsDirectory.stat`."""
        if path.partition("/")[0] not in self._changed:
            return self._lower.stat(path)
        with self._lock:
            return self._layers.need(self._layers.find(path))

    def names(self, path: str, *, after: str | None, limit: int) -> list[str]:
        """As `VfsDirectory.names`."""
        if path and path.partition("/")[0] not in self._changed:
            return self._lower.names(path, after=after, limit=limit)
        with self._lock:
            return self._layers.names(path, after=after, limit=limit)

    def mkdir(self, path: str) -> None:
        """As `VfsDirectory.mkdir`."""
        with self._lock:
            namespace.mkdir(self._layers, path)

    def unlink(
        self, path: str, *, only_if: ContentCheck | None = None, token: str | None = None
    ) -> None:
        """As `VfsDirectory.unlink`; there are no temporaries."""
        del token
        with self._lock:
            namespace.unlink(self._layers, path, only_if)

    def rmdir(self, path: str) -> None:
        """As `VfsDirectory.rmdir`."""
        with self._lock:
            namespace.rmdir(self._layers, path)
            for below in self._directories:
                below.removed(path)

    def rename(self, source: str, target: str) -> None:
        """As `VfsDirectory.rename`. A lower directory is moved without being copied."""
        with self._lock:
            namespace.rename(self._layers, source, target)
            for below in self._directories:
                below.moved(source, target)

    def replace(
        self,
        path: str,
        content: Iterable[bytes],
        *,
        mode: int | None = None,
        only_if: ContentCheck | None = None,
        token: str | None = None,
    ) -> NodeStat:
        """As `VfsDirectory.replace`; there are no temporaries."""
        del token
        return replace_file(self._layers, path, content, mode=mode, only_if=only_if)

    def link(self, source: str, target: str) -> None:
        """As `VfsDirectory.link`."""
        with self._lock:
            namespace.link(self._layers, source, target)

    def readlink(self, path: str) -> str:
        """As `VfsDirectory.readlink`."""
        with self._lock:
            return namespace.readlink(self._layers, path)

    def symlink(self, target: str, path: str) -> None:
        """As `VfsDirectory.symlink`."""
        with self._lock:
            namespace.symlink(self._layers, target, path)

    def close(self) -> None:
        """As `VfsDirectory.close`; closes the lower layer, too."""
        with self._lock:
            self._layers.close()

    def changes(self, paths: Sequence[str] = ("",)) -> list[OverlayChange]:
        """As `VfsOverlay.changes`."""
        with self._open():
            return [item.change() for item in Diff(self._layers).items(_canonical(paths))]

    def commit(
        self,
        paths: Sequence[str] = ("",),
        *,
        overwrite: bool = False,
        announce: Announce | None = None,
    ) -> CommitReport:
        """As `VfsOverlay.commit`.

        Directories that were renamed are committed as a whole as soon as their old place is to
        change; new directories above a path are committed along. Names that share a file (hard
        links) are written as a file each.
        """
        with self._open():
            return commit(self._layers, _canonical(paths), overwrite=overwrite, announce=announce)

    def rollback(
        self, paths: Sequence[str] = ("",), *, announce: Announce | None = None
    ) -> list[str]:
        """As `VfsOverlay.rollback`.

        A renamed directory goes back as a whole: selecting its new place, its old place, or
        something in either takes both back.
        """
        with self._open():
            return roll_back(self._layers, _canonical(paths), announce=announce)

    def usage_bytes(self) -> int:
        """As `VfsOverlay.usage_bytes`."""
        return self._layers.blobs.budget.used

    def _open(self) -> threading.RLock:
        if self._layers.closed:
            raise closed()
        return self._lock


def _canonical(paths: Iterable[str]) -> list[str]:
    return ["/".join(names_of(path)) for path in paths]
