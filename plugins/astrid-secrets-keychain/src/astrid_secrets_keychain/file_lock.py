"""One writer at a time among threads and processes, and files that are whole or not there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from astrid_hookspecs.errors import SecretError

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


class FileLock:
    """A lock that threads and other processes respect.

    Args:
        path: Created, mode 0600.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold it.

        Raises:
            OSError: The file cannot be opened.
        """
        with self._lock:
            descriptor = os.open(
                self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)

    @contextlib.contextmanager
    def held_for(self, what: str) -> Iterator[None]:
        """Hold it, on behalf of what people know.

        Raises:
            SecretError: The file cannot be opened, or the work under the lock met the same.
        """
        try:
            with self.held():
                yield
        except OSError as error:
            raise SecretError(f"{what} cannot be locked: {error.strerror}") from error


def write_private(path: Path, data: bytes) -> None:
    """Put a file in its place: durable, mode 0600, the old one or the new one and nothing between.

    Raises:
        OSError: It could not be written; the old one is there.
    """
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, _NEW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
