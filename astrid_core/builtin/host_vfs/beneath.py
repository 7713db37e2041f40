"""Opening a path below a directory without following a single link: two strategies.

Trusted with confinement: every path of a guest that reaches the disk goes through `Beneath.open`.
Both strategies resolve and open in one go, on descriptors; neither looks at a path first and uses
it later. `KernelWalk` leaves the whole path to `openat2`. `StepWalk` opens component by component,
each relative to the descriptor before it and none through a link, for systems without that call.
"""

from __future__ import annotations

import errno
import functools
import os
import stat
from typing import Final, Protocol

from astrid_core.builtin.host_vfs.syscalls import (
    O_PATH,
    RESOLVE_BENEATH,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    OpenHow,
    openat2,
)

DIRECTORY: Final = O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
"""Flags for a descriptor that only serves to name what is in a directory."""

_ATTEMPTS: Final = 64
_RESOLVE: Final = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS


class Beneath(Protocol):
    """How paths are opened. Safe from any thread."""

    def open(self, directory: int, path: bytes, flags: int, mode: int = 0) -> int:
        """Open a path below `directory`.

        Args:
            directory: Descriptor.
            path: Canonical (`astrid_hookspecs.vfs_paths`), or `.` for the directory itself.
            flags: Of `os.open`; always with `O_CLOEXEC`.
            mode: Permission bits of a file that `O_CREAT` makes, before the umask.

        Returns:
            A descriptor that the caller closes.

        Raises:
            OSError: `ELOOP` when any part of the path, the last one included, is a symbolic link.
        """
        ...


class KernelWalk:
    """Implements `Beneath` with `openat2`: one system call, whatever the depth."""

    def __init__(self) -> None:
        self._hows: dict[tuple[int, int], OpenHow] = {}

    def open(self, directory: int, path: bytes, flags: int, mode: int = 0) -> int:
        """As `Beneath.open`."""
        how = self._hows.get((flags, mode))
        if how is None:
            how = self._hows.setdefault((flags, mode), OpenHow(flags, mode, _RESOLVE))
        for _ in range(_ATTEMPTS):
            try:
                return openat2(directory, path, how)
            except BlockingIOError:  # the tree changed during the walk; the kernel says: again
                continue
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


class StepWalk:
    """Implements `Beneath` with one `openat` per component, none of which follows a link."""

    def open(self, directory: int, path: bytes, flags: int, mode: int = 0) -> int:
        """As `Beneath.open`."""
        *parents, name = path.split(b"/")
        current = directory
        try:
            for parent in parents:
                below = _step(current, parent, DIRECTORY, 0)
                if current != directory:
                    os.close(current)
                current = below
            return _step(current, name, flags, mode)
        finally:
            if current != directory:
                os.close(current)


def _step(directory: int, name: bytes, flags: int, mode: int) -> int:
    try:
        return os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=directory)
    except NotADirectoryError as error:
        # With O_DIRECTORY a link is refused as "not a directory". Look only to word the refusal.
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from error
        raise


@functools.cache
def best_beneath() -> Beneath:
    """The best strategy that works here, found out once by trying it.

    A kernel before 5.6 lacks the call, and an old seccomp filter may forbid it; any failure to open
    the file system's root with it means that it cannot be relied on.
    """
    strategy = KernelWalk()
    root = os.open("/", DIRECTORY)
    try:
        os.close(strategy.open(root, b".", DIRECTORY))
    except OSError:
        return StepWalk()
    finally:
        os.close(root)
    return strategy
