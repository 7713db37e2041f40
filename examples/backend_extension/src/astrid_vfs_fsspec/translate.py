"""The errors of fsspec, and of Python, as those of the contract."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from astrid_hookspecs.errors import AstridError, ReadOnlyError, VfsError, VfsNotFoundError
from astrid_hookspecs.vfs_paths import vfs_error

_CODES = (
    (FileExistsError, "already-exists"),
    (PermissionError, "access"),
    (IsADirectoryError, "is-directory"),
    (NotADirectoryError, "not-directory"),
)


@contextmanager
def translated() -> Iterator[None]:
    """Give the errors of a block their type; the messages of fsspec name paths and stay inside."""
    try:
        yield
    except AstridError:
        raise
    except FileNotFoundError as error:
        raise VfsNotFoundError("there is no such file or directory") from error
    except NotImplementedError as error:
        raise ReadOnlyError("this file system accepts no such change") from error
    except OSError as error:
        for kind, code in _CODES:
            if isinstance(error, kind):
                raise VfsError(f"the file system refuses: {code}", code=f"vfs.{code}") from error
        raise vfs_error(error) from error
