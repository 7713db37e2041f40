"""What the checks of file systems work on, and how they reach what is stored besides the API."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from astrid_conformance.check import CheckList, breach, require, require_equal, require_raises
from astrid_conformance.checks.vfs_doors import DiskDoor, SideDoor
from astrid_hookspecs.errors import DeniedError, PathEscapeError, VfsError
from astrid_hookspecs.vfs import NodeStat, VfsDirectory
from astrid_hookspecs.vfs_paths import VFS_CODES

EVERYTHING: Final = 20_000
"""More names than any check makes in one directory."""


@dataclass
class VfsSubject:
    """A directory of a file system.

    Attributes:
        root: The directory, empty.
        side_door: The way to what is stored without the API; None when there is none.
        writes_through: Whether what the API wrote is at the side door at once. An overlay keeps it
            to itself.
    """

    root: VfsDirectory
    side_door: SideDoor | None
    writes_through: bool = True

    @property
    def stored(self) -> SideDoor | None:
        """The side door where it shows what the API did, otherwise None."""
        return self.side_door if self.writes_through else None

    def plant_link(self, path: str, target: str) -> bool:
        """Make a symbolic link by whatever way there is; False without any."""
        if self.side_door is not None:
            self.side_door.link(path, target)
            return True
        try:
            self.root.symlink(target, path)
        except (VfsError, DeniedError):
            return False
        return True


@contextlib.contextmanager
def vfs_subject(factory: Callable[[str], VfsDirectory], directory: Path) -> Iterator[VfsSubject]:
    """A subject for one check, made by giving the factory a path on the disk.

    A file beside the root plays the secret that nobody may reach.
    """
    inside = directory / "root"
    inside.mkdir()
    (directory / "secret").write_bytes(b"outside")
    root = factory(str(inside))
    try:
        yield VfsSubject(root, DiskDoor(inside))
    finally:
        root.close()


VFS_BACKEND: Final = CheckList[VfsSubject]()


def write(root: VfsDirectory, path: str, data: bytes) -> None:
    """Create a file, or empty it, and write it."""
    file = root.open(path, "write")
    try:
        require_equal(file.write_at(0, data), len(data), "write_at")
    finally:
        file.close()


def read(root: VfsDirectory, path: str) -> bytes:
    """The content of a file."""
    file = root.open(path, "read")
    try:
        return file.read_at(0, 1 << 24)
    finally:
        file.close()


def names(root: VfsDirectory, path: str = "") -> list[str]:
    """All names in a directory."""
    return root.names(path, after=None, limit=EVERYTHING)


def tree(root: VfsDirectory, path: str = "") -> dict[str, bytes | str]:
    """Everything below a directory: contents of files, otherwise the kind."""
    found: dict[str, bytes | str] = {}
    for name in names(root, path):
        place = f"{path}/{name}" if path else name
        kind = root.stat(place).kind
        found[place] = read(root, place) if kind == "regular" else kind
        if kind == "directory":
            found |= tree(root, place)
    return found


def require_kind(found: NodeStat, kind: str, what: str) -> None:
    """Compare what a `stat` says a node is."""
    require_equal(found.kind, kind, f"kind of {what}")


def require_code(codes: str | tuple[str, ...], call: Callable[[], object], what: str) -> None:
    """Insist on a `VfsError` with one of the codes, given without `vfs.`."""
    wanted = (codes,) if isinstance(codes, str) else codes
    error = require_raises(VfsError, call, what)
    found = getattr(error, "code", "")
    short = found.removeprefix("vfs.")
    if short not in wanted:
        breach(f"{what}: expected {' or '.join(f'vfs.{code}' for code in wanted)}, got {found}")


def require_refused(call: Callable[[], object], what: str) -> BaseException:
    """Insist on a typed refusal with a code of the contract, and return it."""
    error = require_raises((DeniedError, VfsError), call, what)
    if isinstance(error, VfsError):
        require(error.code in VFS_CODES, f"{what}: {error.code!r} is no code of the contract")
    return error


def require_no_path(call: Callable[[], object], what: str) -> None:
    """Insist that a path is refused for its form, whatever is there."""
    error = require_raises((PathEscapeError, VfsError), call, what)
    if isinstance(error, VfsError):
        require(error.code == "vfs.invalid-path", f"{what}: refused as {error.code}, not as a path")
