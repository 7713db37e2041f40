"""Contents of the upper layer: one flat file each, counted to the byte.

Trusted with the principal's storage budget: it charges growth before it happens, and gives back
what is gone.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from blake3 import blake3

from astrid_hookspecs.errors import VfsError
from astrid_hookspecs.vfs import VfsMeter
from astrid_hookspecs.vfs_paths import vfs_error
from astrid_vfs_overlay.database import damaged

_CHUNK: Final = 1024 * 1024
_FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW


class Budget:
    """The bytes a store holds. Safe from any thread.

    Args:
        meter: Of the principal.
    """

    def __init__(self, meter: VfsMeter) -> None:
        self._meter = meter
        self._lock = threading.Lock()
        self.used = 0

    def grow(self, size: int) -> None:
        """Take up bytes, or give them back when negative.

        Raises:
            QuotaExceededError: They do not fit; nothing was taken.
        """
        if size:
            self._meter.charge(size)
            with self._lock:
                self.used += size


class Blobs:
    """The directory `data` of a store. Safe from any thread.

    Args:
        store: The store.
        budget: Charged.

    Raises:
        IntegrityError: `overlay.damaged`: there is something else where the directory should be.
    """

    def __init__(self, store: Path, budget: Budget) -> None:
        self.budget = budget
        path = store / "data"
        try:
            path.mkdir(mode=0o700, exist_ok=True)
            self._directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _FLAGS)
        except OSError as error:
            raise damaged("its data directory is none") from error

    def open(self, blob: int, *, create: bool = False) -> int:
        """A descriptor to read and write a content; `create` makes it, empty.

        Raises:
            VfsError: As the operating system answered.
        """
        flags = os.O_RDWR | _FLAGS | (os.O_CREAT | os.O_EXCL if create else 0)
        try:
            return os.open(str(blob), flags, 0o600, dir_fd=self._number())
        except OSError as error:
            raise vfs_error(error) from error

    def remove(self, blob: int, size: int) -> None:
        """Delete a content of `size` bytes and give them back.

        Raises:
            VfsError: `vfs.closed`.
            OSError: It cannot be deleted.
        """
        os.unlink(str(blob), dir_fd=self._number())
        self.budget.grow(-size)

    def stat(self, blob: int) -> os.stat_result:
        """Metadata of a content."""
        return os.stat(str(blob), dir_fd=self._directory, follow_symlinks=False)

    def keep_only(self, blobs: Iterable[int]) -> None:
        """Delete everything else: contents whose transaction was never completed."""
        wanted = {str(blob) for blob in blobs}
        with os.scandir(self._directory) as found:
            for entry in found:
                if entry.name.isdecimal() and entry.name not in wanted:
                    with contextlib.suppress(OSError):
                        os.unlink(entry.name, dir_fd=self._directory)

    def sync(self) -> None:
        """Make names of contents durable.

        Raises:
            VfsError: As the operating system answered.
        """
        try:
            os.fsync(self._number())
        except OSError as error:
            raise vfs_error(error) from error

    def close(self) -> None:
        """Release; closing twice is not an error."""
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1

    def _number(self) -> int:
        if self._directory < 0:
            raise VfsError("it is closed", code="vfs.closed")
        return self._directory


class BlobWriter:
    """Writes a new content and charges it piece by piece.

    Args:
        blobs: Where.
        blob: Its number, new.

    Attributes:
        number: That.
        size: Bytes so far.

    Raises:
        VfsError: As the operating system answered.
    """

    def __init__(self, blobs: Blobs, blob: int) -> None:
        self._blobs = blobs
        self._hasher = blake3()
        self._file = blobs.open(blob, create=True)
        self.number = blob
        self.size = 0

    def write(self, data: bytes) -> None:
        """Add a piece.

        Raises:
            QuotaExceededError: It does not fit.
            VfsError: As the operating system answered.
        """
        self._blobs.budget.grow(len(data))
        self.size += len(data)
        write_all(self._file, self.size - len(data), data)
        self._hasher.update(data)

    def digest(self) -> bytes:
        """BLAKE3 of what was written so far."""
        return self._hasher.digest()

    def finish(self, *, modified_ns: int | None = None, durable: bool = False) -> None:
        """No more pieces.

        Args:
            modified_ns: Time of the last change to keep.
            durable: Wait for the disk. The name is made durable by the transaction that uses it.
        """
        try:
            if modified_ns is not None:
                os.utime(self._file, ns=(modified_ns, modified_ns))
            if durable:
                os.fsync(self._file)
        except OSError as error:
            raise vfs_error(error) from error
        os.close(self._file)
        self._file = -1

    def discard(self) -> None:
        """Forget the content."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        # What cannot be deleted now is collected when the store is opened the next time.
        with contextlib.suppress(OSError, VfsError):
            self._blobs.remove(self.number, self.size)


def write_all(file: int, offset: int, data: bytes) -> None:
    """Write at a place, however many calls it takes.

    Raises:
        VfsError: As the operating system answered; a part may be written.
    """
    view = memoryview(data)
    try:
        while view:
            done = os.pwrite(file, view, offset)
            view = view[done:]
            offset += done
    except OSError as error:
        raise vfs_error(error) from error


def read_all(file: int, offset: int, size: int) -> bytes:
    """Read from a place; fewer than `size` bytes only at the end.

    Raises:
        VfsError: As the operating system answered.
    """
    try:
        if size > _CHUNK:  # a read allocates its buffer first: ask for no more than there is
            size = min(size, max(0, os.fstat(file).st_size - offset))
        data = os.pread(file, size, offset)
        while data and len(data) < size:
            more = os.pread(file, size - len(data), offset + len(data))
            if not more:
                break
            data += more
    except OSError as error:
        raise vfs_error(error) from error
    except (OverflowError, MemoryError) as error:
        raise VfsError("there are no such places in a file", code="vfs.too-large") from error
    return data


def resize(file: int, size: int) -> None:
    """Cut, or extend with zeros.

    Raises:
        VfsError: As the operating system answered.
    """
    try:
        os.ftruncate(file, size)
    except OSError as error:
        raise vfs_error(error) from error
    except OverflowError as error:
        raise VfsError("there are no such places in a file", code="vfs.too-large") from error
