"""A bounded buffer of output that knows how much went through it. Not safe from several threads."""

from __future__ import annotations

from typing import Final

from astrid_core.host.process_service import Chunk

_SLACK: Final = 64 * 1024
"""Old bytes are cut off in pieces, as cutting moves all others."""


class Ring:
    """The newest bytes of a stream.

    Args:
        size: How many are kept.

    Attributes:
        end: How many went in.
        lost: How many were pushed out before anybody took them.
        is_ended: Whether none follow.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._data = bytearray()
        self._skip = 0
        self.end = 0
        self.lost = 0
        self.is_ended = False

    def __len__(self) -> int:
        return len(self._data) - self._skip

    @property
    def space(self) -> int:
        """How many bytes fit without pushing others out."""
        return self._size - len(self)

    def append(self, data: bytes) -> None:
        """Add bytes; the oldest go where there is no room."""
        self._data += data
        self.end += len(data)
        excess = len(self) - self._size
        if excess > 0:
            self.lost += excess
            self._skip += excess
        if self._skip > _SLACK:
            del self._data[: self._skip]
            self._skip = 0

    def take(self) -> bytes:
        """Everything, which leaves it empty."""
        data = bytes(self._data[self._skip :])
        self._data.clear()
        self._skip = 0
        return data

    def since(self, position: int, *, max_bytes: int) -> Chunk:
        """Bytes from a position on, or from the oldest that is kept."""
        oldest = self.end - len(self)
        start = min(max(position, oldest), self.end)
        at = self._skip + start - oldest
        data = bytes(self._data[at : at + max_bytes])
        return Chunk(data, start, self.is_ended and start + len(data) == self.end)
