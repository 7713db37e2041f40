"""An open file as Python programs know it. Made by `fs.open`.

Spec: astrid:fs@1.0.0 file-handle.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

from astrid_sdk.bindings import guarded
from astrid_sdk.fs_errors import FsError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

MAX_TRANSFER_BYTES: Final = 512 * 1024
"""Most bytes that one call of a handle moves. The host would take twice as many, and need three
times as long for each: so many values at once outgrow the memory that it keeps for them."""


class RawFile(io.RawIOBase):
    """Reads and writes an open file of the host at a position of its own.

    Args:
        handle: The generated resource; dropped with this object.
        mode: `read`, `write`, `append` or `read-write`.
        name: The path it was opened by.
    """

    def __init__(self, handle: Any, mode: str, name: str) -> None:
        super().__init__()
        self._handle = handle
        self._mode = mode
        self._position = 0
        self.name = name
        if mode == "append":
            self._position = self._size()

    def readable(self) -> bool:
        """Whether it was opened to read."""
        return self._mode in {"read", "read-write"}

    def writable(self) -> bool:
        """Whether it was opened to write."""
        return self._mode != "read"

    def seekable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read into a buffer, at most 512 KiB; 0 at the end.

        Raises:
            FsError: `FsAccessError` when it was not opened to read, `FsClosedError`.
        """
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), MAX_TRANSFER_BYTES)
        data: bytes = self._call("read_at", self._position, wanted)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def write(self, data: ReadableBuffer) -> int:
        """Write at most 512 KiB; the number of bytes written.

        Raises:
            FsError: `FsAccessError` when it was not opened to write, `FsQuotaError`,
                `FsClosedError`.
        """
        piece = bytes(memoryview(data).cast("B")[:MAX_TRANSFER_BYTES])
        written: int = self._call("write_at", self._position, piece)
        self._position = self._size() if self._mode == "append" else self._position + written
        return written

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position; the new one."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position}.get(whence)
        if base is None:
            if whence != io.SEEK_END:
                raise ValueError(f"invalid whence: {whence}")
            base = self._size()
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """The position."""
        self._check_open()
        return self._position

    def truncate(self, size: int | None = None) -> int:
        """Cut, or extend with zeros; the position stays."""
        new = self._position if size is None else size
        self._call("set_len", new)
        return new

    def sync(self) -> None:
        """Return when content and metadata are durable.

        Raises:
            FsError: `FsClosedError`.
        """
        self._call("sync_all")

    def close(self) -> None:
        """Release the handle; closing twice is not an error."""
        if not self.closed:
            super().close()
            self._handle.__exit__(None, None, None)

    def _size(self) -> int:
        size: int = self._call("stat").size
        return size

    def _call(self, name: str, *arguments: object) -> Any:
        self._check_open()
        try:
            return guarded("fs", name, getattr(self._handle, name), *arguments)
        except FsError as error:
            raise error.at(self.name) from None

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the file is closed")
