"""File errors: what the host answers, as the exceptions Python programs catch anyway.

Each is an `FsError`, belongs to its kind (`CapabilityDeniedError`, `QuotaError`, ...) where other
interfaces have that kind too, and is the built-in exception of its errno.
"""

from __future__ import annotations

import errno
from typing import Final

from astrid_sdk.errors import (
    CapabilityDeniedError,
    ClosedError,
    OsHostError,
    QuotaError,
    TooLargeError,
    UnavailableError,
    own_errors,
)


class FsError(OsHostError):
    """A file operation failed. An `OSError`: `errno`, `strerror` and `filename` are set.

    Attributes:
        filename: The path as the capsule wrote it.
    """

    def at(self, path: str, other: str | None = None, *, hint: str | None = None) -> FsError:
        """This error, naming the path or paths it is about, and what would help."""
        self.filename = path
        if other is not None:
            self.filename2 = other
        if hint is not None:
            self.helped(hint)
        return self


class FsNotFoundError(FsError, FileNotFoundError):
    """There is no such file or directory."""

    number = errno.ENOENT


class FsAccessError(FsError, PermissionError):
    """The file system refuses, or the file was opened for something else."""

    number = errno.EACCES


class FsCapabilityDeniedError(FsError, CapabilityDeniedError, PermissionError):
    """No entry of `fs_read` or `fs_write` in Capsule.toml covers the path."""

    number = errno.EPERM


class FsBoundaryEscapeError(FsError, PermissionError):
    """The path leads out of the workspace, the home or the temporary directory."""

    number = errno.EPERM


class FsInvalidPathError(FsError, ValueError):
    """The text is no path: an unknown scheme, a control character, not NFC, too long."""

    number = errno.EINVAL


class FsIsADirectoryError(FsError, IsADirectoryError):
    """A file was needed."""

    number = errno.EISDIR


class FsNotADirectoryError(FsError, NotADirectoryError):
    """A directory was needed."""

    number = errno.ENOTDIR


class FsNotEmptyError(FsError):
    """The directory has entries."""

    number = errno.ENOTEMPTY


class FsTooLargeError(FsError, TooLargeError):
    """More than one call may move, or a directory may list."""

    number = errno.EFBIG


class FsQuotaError(FsError, QuotaError):
    """The storage limit is used up, or too many files are open."""

    number = errno.EDQUOT


class FsCrossVfsError(FsError):
    """The two paths have different roots."""

    number = errno.EXDEV


class FsExistsError(FsError, FileExistsError):
    """Something of that name is there."""

    number = errno.EEXIST


class FsClosedError(FsError, ClosedError):
    """The file is no longer usable: closed, or committed or rolled back meanwhile."""

    number = errno.EBADF


class FsWouldBlockError(FsError, BlockingIOError):
    """The operation would have to wait."""

    number = errno.EAGAIN


class FsUnavailableError(FsError, UnavailableError):
    """The host failed, for a reason that the interface has no case for."""


FS_ERRORS: Final[dict[str, type[FsError]]] = {
    "not-found": FsNotFoundError,
    "access": FsAccessError,
    "capability-denied": FsCapabilityDeniedError,
    "boundary-escape": FsBoundaryEscapeError,
    "invalid-path": FsInvalidPathError,
    "would-block": FsWouldBlockError,
    "is-directory": FsIsADirectoryError,
    "not-directory": FsNotADirectoryError,
    "not-empty": FsNotEmptyError,
    "too-large": FsTooLargeError,
    "quota": FsQuotaError,
    "cross-vfs": FsCrossVfsError,
    "already-exists": FsExistsError,
    "closed": FsClosedError,
    "unknown": FsUnavailableError,
}
"""Exception of each case of `astrid:fs@1.0.0` `error-code`."""
own_errors("fs", base=FsError, cases=FS_ERRORS)
