"""The resource `file-handle`: an open file in a guest's hands. Spec: host-abi 5.4."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from astrid_core.host.fs_target import Target
from astrid_core.host.mount import MountLease
from astrid_hookspecs.errors import QuotaExceededError, VfsError
from astrid_hookspecs.values import Principal
from astrid_hookspecs.vfs import NodeStat, OpenMode, VfsFile

MAX_TRANSFER_BYTES: Final = 1024 * 1024
MAX_OFFSET: Final = 2**63 - 1 - MAX_TRANSFER_BYTES
"""Positions that operating systems can address."""


class FileHandle:
    """An open file, with what it was opened for and by whom.

    Args:
        file: Owned.
        target: The checked place it was opened at.
        mode: What the gate allowed.
        principal: For whom; nobody else uses the handle.
        lease: Keeps the mount open; owned.
        dropped: Told when the guest is done with it.
    """

    def __init__(
        self,
        file: VfsFile,
        *,
        target: Target,
        mode: OpenMode,
        principal: Principal,
        lease: MountLease,
        dropped: Callable[[FileHandle], None],
    ) -> None:
        self.target = target
        self.principal = principal
        self.bytes_read = 0
        self.bytes_written = 0
        self._file = file
        self._mode = mode
        self._lease = lease
        self._dropped = dropped
        self._open = True

    def check_use(self, principal: Principal, *, writes: bool | None = None) -> None:
        """Whether the handle serves this.

        Args:
            principal: Effective principal now; a run loop serves many.
            writes: True to write, False to read, None for neither.

        Raises:
            VfsError: `vfs.closed`, `vfs.access`.
        """
        if not self._open:
            raise VfsError("the handle is closed", code="vfs.closed")
        if principal != self.principal:
            raise VfsError("the handle belongs to another principal", code="vfs.access")
        if writes is not None:
            useless: OpenMode = "read" if writes else "write"
            if self._mode == useless or (not writes and self._mode == "append"):
                raise VfsError("the handle was opened for something else", code="vfs.access")

    def read_at(self, offset: int, max_bytes: int) -> bytes:
        """At most 1 MiB; empty at the end and behind it."""
        if offset > MAX_OFFSET:
            return b""
        data = self._file.read_at(offset, min(max_bytes, MAX_TRANSFER_BYTES))
        self.bytes_read += len(data)
        return data

    def write_at(self, offset: int, data: bytes, *, limit_bytes: int) -> int:
        """Write all of it.

        Raises:
            QuotaExceededError: The file would become longer than `limit_bytes`.
        """
        start = self._file.stat().size if self._mode == "append" else offset
        _check_length(start + len(data), limit_bytes)
        written = self._file.write_at(0 if self._mode == "append" else offset, data)
        self.bytes_written += written
        return written

    def set_length(self, size: int, *, limit_bytes: int) -> None:
        """Cut or extend.

        Raises:
            QuotaExceededError: `size` is above `limit_bytes`.
        """
        _check_length(size, limit_bytes)
        self._file.truncate(size)

    def sync(self, *, metadata: bool) -> None:
        """Make it durable."""
        self._file.sync(metadata=metadata)

    def stat(self) -> NodeStat:
        """Metadata of the open file."""
        return self._file.stat()

    def drop(self) -> None:
        """As `HostResource.drop`."""
        if not self._open:
            return
        self._open = False
        try:
            self._file.close()
        finally:
            self._lease.close()
            self._dropped(self)


def _check_length(size: int, limit_bytes: int) -> None:
    if size > limit_bytes:
        raise QuotaExceededError(
            f"a file of {size} bytes is above the storage limit", rule="max_storage_bytes"
        )
