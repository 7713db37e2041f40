"""Opens canonical paths below a directory, following no symbolic link, in either of two ways.

Trusted with confinement. `KernelWalk` leaves the whole walk to one `openat2`; `StepWalk` opens one
name after the other with `O_NOFOLLOW`. Neither looks at a path first and uses it afterwards.
"""

from __future__ import annotations

import errno
import functools
import os
import stat
from typing import Final, Protocol

from astrid_core.builtin.host_vfs import syscalls

_RESOLVE: Final = (
    syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS
)
_PATH_ONLY: Final = getattr(os, "O_PATH", os.O_RDONLY)
DIRECTORY_FLAGS: Final = _PATH_ONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_TRIES: Final = 64


class Beneath(Protocol):
    """A way to open a path below a directory."""

    def open(self, root: int, path: str, flags: int, mode: int = 0) -> int:
        """Open a canonical path; the empty one is the directory itself.

        Args:
            root: Descriptor of the directory.
            path: As `astrid_hookspecs.vfs_paths.path_parts` accepts it.
            flags: `O_*`; `O_NOFOLLOW` and `O_CLOEXEC` are added.
            mode: Permission bits of a file that is created.

        Raises:
            OSError: As the system answers; `ELOOP` when a part of the path is a symbolic link.
        """
        ...


class KernelWalk:
    """Implements `Beneath` with one system call."""

    def open(self, root: int, path: str, flags: int, mode: int = 0) -> int:
        """As `Beneath.open`."""
        name = os.fsencode(path) or b"."
        wanted = flags | os.O_NOFOLLOW | os.O_CLOEXEC
        mode = mode if flags & os.O_CREAT else 0  # anything else is EINVAL
        for _ in range(_MAX_TRIES):
            try:
                return syscalls.openat2(root, name, flags=wanted, mode=mode, resolve=_RESOLVE)
            except OSError as error:
                # EAGAIN: something was renamed during the walk, so the answer would be a guess.
                if error.errno != errno.EAGAIN:
                    raise
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


class StepWalk:
    """Implements `Beneath` with one `openat` per name."""

    def open(self, root: int, path: str, flags: int, mode: int = 0) -> int:
        """As `Beneath.open`."""
        wanted = flags | os.O_NOFOLLOW | os.O_CLOEXEC
        *above, last = path.split("/")
        directory = root
        try:
            for name in above:
                found = _open_step(directory, name, DIRECTORY_FLAGS, 0)
                if directory != root:
                    os.close(directory)
                directory = found
            return _open_step(directory, last or ".", wanted, mode)
        finally:
            if directory != root:
                os.close(directory)


def _open_step(directory: int, name: str, flags: int, mode: int) -> int:
    try:
        return os.open(name, flags, mode, dir_fd=directory)
    except OSError as error:
        # Systems answer ENOTDIR or EMLINK for a link where a directory or no link was asked for.
        if error.errno in (errno.ENOTDIR, errno.EMLINK) and _is_link(directory, name):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from error
        raise


def _is_link(directory: int, name: str) -> bool:
    """Only words the refusal: whatever the answer, nothing was opened."""
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except OSError:
        return False


@functools.cache
def best_beneath() -> Beneath:
    """The single system call where it works; some kernels and some sandboxes refuse it."""
    walk = KernelWalk()
    root = os.open("/", DIRECTORY_FLAGS)
    try:
        os.close(walk.open(root, "", os.O_RDONLY | os.O_DIRECTORY))
    except OSError:
        return StepWalk()
    finally:
        os.close(root)
    return walk
