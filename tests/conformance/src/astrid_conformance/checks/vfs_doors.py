"""Side doors: ways to plant things in a file system, and to look at them, without its API."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Literal, Protocol

from astrid_conformance.fakes.vfs import DictDirectory
from astrid_hookspecs.errors import VfsNotFoundError

SpecialKind = Literal["fifo", "socket"]


class SideDoor(Protocol):
    """Reaches what a file system stores. Paths are relative to the root."""

    def write(self, path: str, data: bytes) -> None:
        """Put a file there, instead of the one that may be there."""
        ...

    def read(self, path: str) -> bytes | None:
        """Content of a file; None when there is none."""
        ...

    def mode(self, path: str) -> int:
        """Permission bits of a node."""
        ...

    def mkdir(self, path: str) -> None:
        """Make a directory."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file or link."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Move a node, replacing a file."""
        ...

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link."""
        ...

    def special(self, path: str, kind: SpecialKind) -> None:
        """Make a pipe or socket."""
        ...

    def undecodable(self) -> bool:
        """Make a file in the root whose name is not UTF-8; False where that cannot be."""
        ...

    def tree(self) -> dict[str, bytes | str]:
        """Everything there, temporaries included: contents of files, otherwise the kind."""
        ...

    def outside(self) -> object:
        """What is beside the root, to be compared with what is there later."""
        ...

    def place(self) -> str:
        """How the host names what holds the root; empty where the host does not."""
        ...


class DiskDoor:
    """Implements `SideDoor` on a directory of the disk.

    Args:
        root: The directory; its parent counts as outside.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, data: bytes) -> None:
        """As `SideDoor.write`."""
        place = self.root / path
        if not os.path.lexists(place):
            place.write_bytes(data)
            return
        new = self.root.parent / "new-file"
        new.write_bytes(data)
        new.rename(place)

    def read(self, path: str) -> bytes | None:
        """As `SideDoor.read`."""
        place = self.root / path
        return place.read_bytes() if place.is_file() and not place.is_symlink() else None

    def mode(self, path: str) -> int:
        """As `SideDoor.mode`."""
        return (self.root / path).lstat().st_mode & 0o777

    def mkdir(self, path: str) -> None:
        """As `SideDoor.mkdir`."""
        (self.root / path).mkdir()

    def remove(self, path: str) -> None:
        """As `SideDoor.remove`."""
        (self.root / path).unlink()

    def rename(self, source: str, target: str) -> None:
        """As `SideDoor.rename`."""
        (self.root / source).rename(self.root / target)

    def link(self, path: str, target: str) -> None:
        """As `SideDoor.link`."""
        (self.root / path).symlink_to(target)

    def special(self, path: str, kind: SpecialKind) -> None:
        """As `SideDoor.special`."""
        if kind == "fifo":
            os.mkfifo(self.root / path)
            return
        # The address of a socket has room for about a hundred bytes, too few for many a path.
        directory = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(f"/proc/self/fd/{directory}/{path}")
        finally:
            os.close(directory)

    def undecodable(self) -> bool:
        """As `SideDoor.undecodable`."""
        try:
            Path(os.fsdecode(os.fsencode(self.root) + b"/\xff\xfe")).write_bytes(b"")
        except OSError:  # a file system that takes UTF-8 only
            return False
        return True

    def tree(self) -> dict[str, bytes | str]:
        """As `SideDoor.tree`."""
        return {
            str(path.relative_to(self.root)): _seen(path) for path in sorted(self.root.rglob("*"))
        }

    def outside(self) -> object:
        """As `SideDoor.outside`."""
        beside = sorted(path for path in self.root.parent.iterdir() if path != self.root)
        return {path.name: path.read_bytes() if path.is_file() else "" for path in beside}

    def place(self) -> str:
        """As `SideDoor.place`."""
        return str(self.root.parent)


class DictDoor:
    """Implements `SideDoor` on a directory in memory.

    Args:
        root: A handle of the root, not used by the subject.
        above: What holds the root.
    """

    def __init__(self, root: DictDirectory, above: DictDirectory) -> None:
        self.root = root
        self.above = above

    def write(self, path: str, data: bytes) -> None:
        """As `SideDoor.write`."""
        self.root.replace(path, [data])

    def read(self, path: str) -> bytes | None:
        """As `SideDoor.read`."""
        found = self.root.nodes.get(path)
        return found if isinstance(found, bytes) else None

    def mode(self, path: str) -> int:
        """As `SideDoor.mode`."""
        return self.root.stat(path).mode

    def mkdir(self, path: str) -> None:
        """As `SideDoor.mkdir`."""
        self.root.mkdir(path)

    def remove(self, path: str) -> None:
        """As `SideDoor.remove`."""
        self.root.unlink(path)

    def rename(self, source: str, target: str) -> None:
        """As `SideDoor.rename`."""
        self.root.rename(source, target)

    def link(self, path: str, target: str) -> None:
        """As `SideDoor.link`."""
        self.root.symlink(target, path)

    def special(self, path: str, kind: SpecialKind) -> None:
        """As `SideDoor.special`."""
        self.root.special(path, kind)

    def undecodable(self) -> bool:
        """As `SideDoor.undecodable`."""
        return False

    def tree(self) -> dict[str, bytes | str]:
        """As `SideDoor.tree`."""
        found: dict[str, bytes | str] = {}
        for path, value in self.root.nodes.items():
            kind = self.root.stat(path).kind
            if path:
                found[path] = value if isinstance(value, bytes) else kind
        return found

    def outside(self) -> object:
        """As `SideDoor.outside`."""
        try:
            secret = self.above.open("secret", "read")
        except VfsNotFoundError:
            return None
        return self.above.names("", after=None, limit=99), secret.read_at(0, 99)

    def place(self) -> str:
        """As `SideDoor.place`."""
        return ""


def _seen(path: Path) -> bytes | str:
    if path.is_symlink():
        return "symlink"
    if path.is_dir():
        return "directory"
    return path.read_bytes() if path.is_file() else "special"
