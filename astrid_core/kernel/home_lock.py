"""The exclusive claim of one process on a runtime home.

Trusted with keeping a second kernel away from the stores of the first. Spec: kernel-and-security 16
D-01.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from astrid_hookspecs.errors import AstridError, ConfigError


class HomeLockedError(AstridError):
    """Another process holds the home.

    Args:
        pid: The holder, or None when it has not written its id yet.
    """

    default_code = "home.locked"

    def __init__(self, path: Path, *, pid: int | None) -> None:
        holder = f"process {pid}" if pid is not None else "another process"
        super().__init__(
            f"{holder} is using the runtime home {path}",
            hint="wait until it is done, or choose another home with ASTRID_HOME",
        )
        self.pid = pid


def lock_holder(path: Path) -> int | None:
    """Which process holds the lock file `path`; None when nobody does, or it cannot be told.

    Only looks: taking the lock for a moment would make a daemon that starts just now fail.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = os.pread(descriptor, 32, 0).strip()
        inode = os.fstat(descriptor).st_ino
    except OSError:  # no regular file: who wants the lock is told so
        return None
    finally:
        os.close(descriptor)
    if not text.isdigit() or not is_alive(int(text)):
        return None  # who holds it writes its number there, and takes it away at the end
    return int(text) if _is_locked(inode) else None


def _is_locked(inode: int) -> bool:
    """Whether somebody holds a lock on a file; taken for granted where the system does not tell."""
    if sys.platform != "linux":
        return True
    try:
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return True
    return any("FLOCK" in line and f":{inode} " in line for line in lines)


def is_alive(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _opened(path: Path) -> int:
    """A descriptor of the lock file, which is made if nothing is there.

    Raises:
        ConfigError, OSError: As `HomeLock.acquire`.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno not in {errno.ELOOP, errno.EISDIR, errno.ENXIO}:
            raise
        raise _no_lock(path) from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        os.close(descriptor)
        raise _no_lock(path)
    return descriptor


def _no_lock(path: Path) -> ConfigError:
    return ConfigError(
        f"{path} is no regular file of this user",
        code="home.lock",
        hint="look at what it is; without a daemon that runs it can be removed",
    )


class HomeLock:
    """The exclusive claim on a home; held until `close` or the end of the process."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def acquire(cls, path: Path, *, home: Path) -> Self:
        """Claim the home whose lock file is `path`, without waiting.

        Raises:
            HomeLockedError: Another process holds it.
            ConfigError: `home.lock`: what is there is no lock file of this user.
            OSError: It cannot be made or written.
        """
        descriptor = _opened(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError as error:
            text = os.pread(descriptor, 32, 0).strip()
            os.close(descriptor)
            raise HomeLockedError(home, pid=int(text) if text.isdigit() else None) from error
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor)

    def close(self) -> None:
        """Give the home up. The file stays: removing it would let two processes hold 'the' lock."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
