"""Host functions of `astrid:fs@1.0.0` that work on open files.

Trusted with what a handle may be used for: what the gate allowed when it was opened, by the same
principal. Opening and every change are recorded before they happen; what was read is summed up when
the handle is dropped. Spec: host-abi 5.4.
"""

from __future__ import annotations

from typing import Final

from astrid_core.host.fs_access import FsAccess, Leases, Want
from astrid_core.host.fs_audit import Deed
from astrid_core.host.fs_errors import error_answer
from astrid_core.host.fs_handle import MAX_TRANSFER_BYTES, FileHandle
from astrid_core.host.fs_records import FileStatRecord, stat_record
from astrid_core.host.fs_target import Target
from astrid_core.host.handlers import HostPackage, handles
from astrid_core.host.instance import Instance
from astrid_core.security.checked import FileAccess
from astrid_hookspecs.engines import WitError
from astrid_hookspecs.errors import QuotaExceededError
from astrid_hookspecs.vfs import OpenMode

MAX_HANDLES: Final = 16
_OPEN_ACCESS: Final[dict[OpenMode, FileAccess]] = {
    "read": "read",
    "write": "write",
    "append": "write",
    "read-write": "read-write",
}


class FsHandleHost(HostPackage):
    """`fs-open` and the methods of `file-handle`."""

    interface = "astrid:fs/host@1.0.0"

    def __init__(self, instance: Instance) -> None:
        super().__init__(instance)
        self._access = FsAccess(instance)
        self._handles: set[FileHandle] = set()

    @classmethod
    def foreseen(cls, error: Exception) -> WitError | None:
        """As `HostPackage.foreseen`."""
        return error_answer(error)

    @handles("fs-open")
    def open(self, path: str, mode: OpenMode) -> FileHandle:
        """Open a file; the mount stays leased until the handle is dropped."""

        def action(leases: Leases, targets: tuple[Target, ...]) -> FileHandle:
            (target,) = targets
            if len(self._handles) >= MAX_HANDLES:
                raise QuotaExceededError(
                    f"a capsule holds at most {MAX_HANDLES} open files", rule="fs.open-handles"
                )
            lease = leases.lease(target.mount.scheme)
            try:
                file = target.open(mode)
            except BaseException:
                lease.close()
                raise
            principal = self.instance.principal
            handle = FileHandle(
                file,
                target=target,
                mode=mode,
                principal=principal,
                lease=lease,
                dropped=self._forget,
            )
            self._handles.add(handle)
            self.instance.hold(handle)
            return handle

        return self._access.perform("fs-open", (Want(path, _OPEN_ACCESS[mode]),), action)

    @handles("[method]file-handle.read-at")
    def read_at(self, handle: FileHandle, offset: int, max_bytes: int) -> bytes:
        """Read at a position. The audit log has the sum when the handle is dropped."""
        handle.check_use(self.instance.principal, writes=False)
        return handle.read_at(offset, max_bytes)

    @handles("[method]file-handle.write-at")
    def write_at(self, handle: FileHandle, offset: int, data: bytes) -> int:
        """Write at a position, or at the end."""
        if len(data) > MAX_TRANSFER_BYTES:
            raise WitError("too-large")
        handle.check_use(self.instance.principal, writes=True)
        limit = self._storage_limit
        deed = _handle_deed("write-at", handle, len(data))
        return self._access.act(deed, lambda: handle.write_at(offset, data, limit_bytes=limit))

    @handles("[method]file-handle.set-len")
    def set_len(self, handle: FileHandle, size: int) -> None:
        """Cut or extend."""
        handle.check_use(self.instance.principal, writes=True)
        limit = self._storage_limit
        deed = _handle_deed("set-len", handle, size)
        self._access.act(deed, lambda: handle.set_length(size, limit_bytes=limit))

    @handles("[method]file-handle.sync-data")
    def sync_data(self, handle: FileHandle) -> None:
        """Make the content durable."""
        handle.check_use(self.instance.principal)
        handle.sync(metadata=False)

    @handles("[method]file-handle.sync-all")
    def sync_all(self, handle: FileHandle) -> None:
        """Make content and metadata durable."""
        handle.check_use(self.instance.principal)
        handle.sync(metadata=True)

    @handles("[method]file-handle.stat")
    def stat_handle(self, handle: FileHandle) -> FileStatRecord:
        """Metadata of the open file."""
        handle.check_use(self.instance.principal)
        return stat_record(handle.stat())

    @property
    def _storage_limit(self) -> int:
        return self.instance.services.profiles.quotas(self.instance.principal).max_storage_bytes

    def _forget(self, handle: FileHandle) -> None:
        self._handles.discard(handle)
        self.instance.release(handle)
        if handle.bytes_read:
            deed = _handle_deed("read-at", handle, handle.bytes_read)
            self._access.audit.transferred(deed, principal=handle.principal)


def _handle_deed(function: str, handle: FileHandle, size: int) -> Deed:
    target = handle.target
    detail = {"path": target.text, "bytes": str(size)}
    return Deed(function, target.text, target.checked.rule, detail)
