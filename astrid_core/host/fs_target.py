"""The only way from a path to a file system: an allowed place in its mount.

Trusted with "checked is used": every operation takes its path from a `CheckedPath` and does no more
than that proof allows. Backends refuse links in the path.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from astrid_core.host.mount import Mount
from astrid_core.security.checked import CheckedPath
from astrid_hookspecs.errors import VfsError
from astrid_hookspecs.vfs import NodeStat, OpenMode, VfsFile

_NEEDS: Final[dict[OpenMode, tuple[Literal["read", "write"], ...]]] = {
    "read": ("read",),
    "write": ("write",),
    "append": ("write",),
    "read-write": ("read", "write"),
}


class Target:
    """A checked place. Raises what `VfsDirectory` raises.

    Args:
        mount: Where the place lies.
        checked: The gate's proof.

    Raises:
        TypeError: The proof is for another mount.
    """

    def __init__(self, mount: Mount, checked: CheckedPath) -> None:
        if checked.place.scheme != mount.scheme:
            raise TypeError("the proof is for another mount")
        self.mount = mount
        self.checked = checked

    @property
    def text(self) -> str:
        """The place as guests write it."""
        return self.checked.place.text

    @property
    def is_root(self) -> bool:
        """Whether it is a mount's root, which cannot be moved or removed."""
        return self.checked.place.is_root

    def is_same(self, other: Target) -> bool:
        """Whether both are the same path of the same mount."""
        mine, theirs = self.checked.place, other.checked.place
        return (mine.scheme, mine.parts) == (theirs.scheme, theirs.parts)

    def below(self, name: str) -> Target:
        """Something directly below, which the same proof covers."""
        return Target(self.mount, self.checked.below(name))

    def stat(self) -> NodeStat:
        """Metadata of the node itself."""
        return self.mount.root.stat(self.checked.path)

    def names(self, *, limit: int) -> list[str]:
        """The first names in the directory, sorted."""
        return self.mount.root.names(self.checked.path, after=None, limit=limit)

    def readlink(self) -> str:
        """Target of a symbolic link."""
        return self.mount.root.readlink(self.checked.path)

    def open(self, mode: OpenMode) -> VfsFile:
        """Open a file."""
        self._need(*_NEEDS[mode])
        return self.mount.root.open(self.checked.path, mode)

    def replace(self, content: Iterable[bytes], *, mode: int | None = None) -> None:
        """Replace the whole content in one step."""
        self._need("write")
        self.mount.root.replace(self.checked.path, content, mode=mode)

    def mkdir(self) -> None:
        """Create the directory.

        Raises:
            VfsError: It, or something else, is there; or its parent is not.
        """
        self._need("write")
        if not self.checked.place.parts:
            raise VfsError("the root is there", code="vfs.already-exists")
        self.mount.root.mkdir(self.checked.path)

    def mkdir_parents(self) -> None:
        """Create the missing directories above; who may write at a place may make the way to it."""
        self._need("write")
        parts = self.checked.place.parts
        for depth in range(1, len(parts)):
            try:
                self.mount.root.mkdir("/".join(parts[:depth]))
            except VfsError as error:
                if error.code != "vfs.already-exists":
                    raise

    def unlink(self) -> None:
        """Remove a file or link.

        Raises:
            VfsError: It is not there, or is a directory.
        """
        self._need("write")
        if not self.checked.place.parts:
            raise VfsError("the root is a directory", code="vfs.is-directory")
        self.mount.root.unlink(self.checked.path)

    def rmdir(self) -> None:
        """Remove an empty directory."""
        self._need("write")
        self.mount.root.rmdir(self.checked.path)

    def rename(self, target: Target) -> None:
        """Give the node the target's path."""
        self._need_pair(target)
        self.mount.root.rename(self.checked.path, target.checked.path)

    def link(self, target: Target) -> None:
        """Make the target another name of this file."""
        self._need_pair(target)
        self.mount.root.link(self.checked.path, target.checked.path)

    def _need_pair(self, target: Target) -> None:
        self._need("write")
        target._need("write")
        if self.mount.scheme != target.mount.scheme:
            raise VfsError("the paths have different roots", code="vfs.cross-vfs")

    def _need(self, *accesses: Literal["read", "write"]) -> None:
        for access in accesses:
            if not self.checked.allows(access):
                raise TypeError(f"the gate was not asked about {access} here")
