"""What takes more than one file system operation: remove and make trees, copy files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from astrid_core.host.fs_target import Target
from astrid_hookspecs.errors import QuotaExceededError, VfsError, VfsNotFoundError
from astrid_hookspecs.vfs import VfsFile

PIECE_BYTES: Final = 1024 * 1024
PAGE: Final = 1024
"""Names of a directory that are looked at before those below are gone."""

Stopped = Callable[[], bool]


class TreeRemoval:
    """Removes a directory with everything in it, without following a link.

    Args:
        stopped: Asked before every step.

    Attributes:
        removed: Entries removed so far, also by an attempt that failed.
    """

    def __init__(self, *, stopped: Stopped) -> None:
        self._stopped = stopped
        self.removed = 0

    def remove(self, top: Target) -> None:
        """Remove the directory. What others remove meanwhile is not counted.

        Raises:
            VfsError: `vfs.not-directory`, `vfs.failed` when stopped, or what the backend says.
        """
        if top.stat().kind != "directory":
            raise VfsError("a directory was needed", code="vfs.not-directory")
        stack = [(top, False)]
        while stack:
            _check_running(self._stopped)
            here, is_empty = stack.pop()
            if is_empty:
                here.rmdir()
                self.removed += 1
                continue
            names = here.names(limit=PAGE)
            stack.append((here, len(names) < PAGE))
            for name in names:
                inner = here.below(name)
                if self._take(inner):
                    stack.append((inner, False))

    def _take(self, inner: Target) -> bool:
        """Remove anything but a directory; whether it is one."""
        try:
            if inner.stat().kind == "directory":
                return True
            inner.unlink()
        except VfsNotFoundError:
            return False
        self.removed += 1
        return False


def make_directories(target: Target) -> None:
    """Make a directory and those above it.

    Raises:
        VfsError: `vfs.already-exists` when something else has the name; what the backend says.
    """
    if target.checked.place.parts:
        target.mkdir_parents()
        try:
            target.mkdir()
        except VfsError as error:
            if error.code != "vfs.already-exists" or target.stat().kind != "directory":
                raise


def copy_file(source: Target, target: Target, *, limit_bytes: int, stopped: Stopped) -> None:
    """Replace the target's content by the source's; a new file also gets its permission bits.

    Raises:
        QuotaExceededError: The source is longer than `limit_bytes`.
        VfsError: Either is a directory; what the backend says.
    """
    file = source.open("read")
    try:
        node = file.stat()
        if source.is_same(target):
            return
        _check_room(node.size, limit_bytes)
        mode = None if _kind(target) == "regular" else node.mode & 0o777
        target.replace(_pieces(file, limit_bytes=limit_bytes, stopped=stopped), mode=mode)
    finally:
        file.close()


def _kind(target: Target) -> str | None:
    try:
        return target.stat().kind
    except VfsNotFoundError:
        return None


def _pieces(file: VfsFile, *, limit_bytes: int, stopped: Stopped) -> Iterator[bytes]:
    position = 0
    while True:
        _check_running(stopped)
        piece = file.read_at(position, PIECE_BYTES)
        if not piece:
            return
        position += len(piece)
        _check_room(position, limit_bytes)  # it may grow while it is read
        yield piece


def _check_room(size: int, limit_bytes: int) -> None:
    if size > limit_bytes:
        raise QuotaExceededError(
            f"a copy of {size} bytes is above the storage limit", rule="max_storage_bytes"
        )


def _check_running(stopped: Stopped) -> None:
    if stopped():
        raise VfsError("the call was stopped", code="vfs.failed")
