"""An open segment: whole batches are appended, or nothing is.

Trusted with never leaving half a batch behind something that counts: what a failed write left is
cut off before the next one.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final

from astrid_core.kernel.durable import fsync_directory

_APPEND: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class SegmentFile:
    """A segment that is written to. One thread appends at a time; any thread may sync.

    Args:
        path: Created, mode 0600, when it does not exist.
        size: How many of its bytes count; what is behind them is cut off.

    Attributes:
        size: The same, with what was appended.
        is_lost: The system could not make data durable. It says so once and may forget the data, so
            that a later success means nothing: only a new start can tell.

    Raises:
        OSError: It cannot be opened, or is shorter than `size`.
    """

    def __init__(self, path: Path, *, size: int) -> None:
        self._descriptor = os.open(path, _APPEND, 0o600)
        self._directory = path.parent
        self._sync_lock = threading.Lock()
        self._is_new = size == 0
        self._is_closed = False
        self._is_clean = False
        self.size = size
        self.is_lost = False
        try:
            self._clean()
        except BaseException:
            os.close(self._descriptor)
            raise

    def append(self, data: bytes) -> None:
        """Add `data` to the end.

        Raises:
            OSError: It is not there.
        """
        self._clean()
        self._is_clean = False  # until all of it is written, whatever happens on the way
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            self._clean()
            raise
        self.size += len(data)
        self._is_clean = True

    def retract(self, size_bytes: int) -> None:
        """Take back the last bytes that were appended; what is not cut off now is cut off later.

        Raises:
            OSError: They are still there; the next append cuts them off, or fails.
        """
        self.size -= size_bytes
        self._is_clean = False
        self._clean()

    def sync(self) -> None:
        """Make everything that was appended before the call durable.

        Raises:
            OSError: It may not be durable.
        """
        with self._sync_lock:
            if self._is_closed:
                return  # `close` has done it
            self._sync()

    def close(self) -> None:
        """Make it durable and close it.

        Raises:
            OSError: It may not be durable; it is closed all the same.
        """
        with self._sync_lock:
            if self._is_closed:
                return
            self._is_closed = True
            try:
                self._sync()
            finally:
                os.close(self._descriptor)

    def _sync(self) -> None:
        try:
            os.fdatasync(self._descriptor)
        except OSError:
            self.is_lost = True
            raise
        if self._is_new:
            fsync_directory(self._directory)
            fsync_directory(self._directory.parent)
            fsync_directory(self._directory.parent.parent)
            self._is_new = False

    def _clean(self) -> None:
        """Cut off what does not count."""
        if not self._is_clean:
            if os.fstat(self._descriptor).st_size < self.size:
                raise OSError(f"a segment of {self._directory} was shortened")
            os.ftruncate(self._descriptor, self.size)
            self._is_clean = True
