"""From a canonical path to a name in an open directory, and from system errors to typed ones.

Trusted with keeping a directory open while something is done to a name in it, so that both stay the
same whatever happens to the path meanwhile.
"""

from __future__ import annotations

import errno
import os
from types import TracebackType
from typing import Final, Self

from astrid_core.builtin.host_vfs.beneath import Opener
from astrid_core.builtin.host_vfs.file import Descriptor
from astrid_hookspecs.errors import AstridError, VfsError
from astrid_hookspecs.vfs_paths import vfs_error

_NO_CONTENT: Final = frozenset({errno.ENXIO, errno.ENODEV})
"""What opening a socket, or a pipe without a reader, or a device without a driver answers."""


def open_error(error: OSError) -> VfsError:
    """As `vfs_error`, for opening a file."""
    if error.errno in _NO_CONTENT:
        return VfsError("it is a device, pipe or socket, not a regular file", code="vfs.access")
    return vfs_error(error)


class Translated:
    """A context manager that turns what the system answers into the contract's errors."""

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, OSError) and not isinstance(error, AstridError):
            raise vfs_error(error) from error


class Place:
    """A name in a directory that is held open: what the calls ending in `at` work on.

    A context manager; errors of the system that happen inside become the contract's.

    Args:
        open_parent: Opens the directory.
        root: Where the path begins.
        path: Not empty.

    Attributes:
        directory: Number of the directory's descriptor.
        name: Last part of the path.
    """

    __slots__ = ("_held", "_owned", "directory", "name")

    def __init__(self, open_parent: Opener, root: Descriptor, path: bytes) -> None:
        parent, _, self.name = path.rpartition(b"/")
        self._held = root
        self._owned = bool(parent)
        if not parent:
            self.directory = root.number
            return
        try:
            self.directory = open_parent(root.number, parent)
        except OSError as error:
            raise vfs_error(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._owned:
            os.close(self.directory)
        if isinstance(error, OSError) and not isinstance(error, AstridError):
            raise vfs_error(error) from error
