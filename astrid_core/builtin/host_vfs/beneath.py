"""Opening a path below a directory without following a single link: two strategies.

Trusted with confinement: every path of a guest that reaches the disk goes through an `Opener`.
Both strategies resolve and open in one go, on descriptors; neither looks at a path first and uses
it later. `KernelWalk` leaves the whole path to `openat2`. `StepWalk` opens component by component,
each relative to the descriptor before it and none through a link, for systems without that call.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import stat
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from astrid_core.builtin.host_vfs.syscalls import (
    HOW_SIZE,
    O_PATH,
    OPENAT2,
    RESOLVE_BENEATH,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    OpenHow,
    last_error,
    syscall,
)

DIRECTORY: Final = O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
"""Flags for a descriptor that only serves to name what is in a directory."""

_ATTEMPTS: Final = range(64)
_CHANGED: Final = (errno.EAGAIN, errno.EXDEV)
_RESOLVE: Final = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS


Opener: TypeAlias = Callable[[int, bytes], int]
"""Opens a path below a directory.

Called with the directory's descriptor and a canonical path (`astrid_hookspecs.vfs_paths`), or `.`
for the directory itself. Returns a descriptor that the caller closes. Raises `OSError`, with
`ELOOP` when any part of the path, the last one included, is a symbolic link. Safe from any thread.
"""


class Beneath(Protocol):
    """A strategy: how paths are opened."""

    def opener(self, flags: int, mode: int = 0) -> Opener:
        """Prepare opening in one way, which is done once and used often.

        Args:
            flags: Of `os.open`; always with `O_CLOEXEC`.
            mode: Permission bits of a file that `O_CREAT` makes, before the umask.
        """
        ...


class KernelWalk:
    """Implements `Beneath` with `openat2`: one system call, whatever the depth."""

    def opener(self, flags: int, mode: int = 0) -> Opener:
        """As `Beneath.opener`."""
        allowed = mode if flags & os.O_CREAT else 0  # anything else is refused
        how = ctypes.byref(OpenHow(flags, allowed, _RESOLVE))

        def open_beneath(directory: int, path: bytes) -> int:
            for _ in _ATTEMPTS:
                descriptor = syscall(OPENAT2, directory, path, how, HOW_SIZE)
                if descriptor >= 0:
                    return descriptor
                error = last_error()
                # EAGAIN: the tree changed during the walk, so the kernel does not guess. EXDEV: a
                # directory left the tree during the walk; the path itself has no way out.
                if error.errno not in _CHANGED:
                    raise error
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))  # resolve the path again

        return open_beneath


class StepWalk:
    """Implements `Beneath` with one `openat` per component, none of which follows a link."""

    def opener(self, flags: int, mode: int = 0) -> Opener:
        """As `Beneath.opener`."""

        def open_beneath(directory: int, path: bytes) -> int:
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

        return open_beneath


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
        os.close(strategy.opener(DIRECTORY)(root, b"."))
    except OSError:
        return StepWalk()
    finally:
        os.close(root)
    return strategy
