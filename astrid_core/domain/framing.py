"""Frames of local sockets: a length of four bytes, big-endian, then so many bytes of JSON.

Does no I/O and looks at no content. Trusted with two bounds: it never keeps more than the announced
frame plus what arrived with it, and it refuses an announcement above its limit before the body.
Spec: kernel-and-security 3.3, 16 D-86.
"""

from __future__ import annotations

import struct
from typing import Final

from astrid_hookspecs.errors import LocalProtocolError, RemoteProtocolError

PROTOCOL_VERSION: Final = 1
MAX_HANDSHAKE_BYTES: Final = 4096
MAX_FRAME_BYTES: Final = 10 * 1024 * 1024
"""Longest frame that a client may send."""
MAX_REPLY_BYTES: Final = 50 * 1024 * 1024
"""Longest frame that clients accept."""
PREFIX: Final = struct.Struct(">I")


def encode_frame(body: bytes, *, limit: int = MAX_REPLY_BYTES) -> bytes:
    """The frame that carries `body`.

    Args:
        body: JSON text in UTF-8.
        limit: Longest body the other side accepts.

    Raises:
        LocalProtocolError: `protocol.frame-too-long`.
    """
    if len(body) > limit:
        raise LocalProtocolError(
            f"a frame of {len(body)} bytes cannot be sent; at most {limit} are accepted",
            code="protocol.frame-too-long",
        )
    return PREFIX.pack(len(body)) + body


class FrameReader:
    """Takes bytes as they arrive and gives whole frames, whatever the pieces were.

    Args:
        limit: Longest body; may be changed between frames.

    Attributes:
        limit: As given.
    """

    __slots__ = ("_buffer", "_wanted", "limit")

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        self._buffer = bytearray()
        self._wanted: int | None = None

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        self._buffer += data

    def next_frame(self) -> bytes | None:
        """The next whole body; None when more bytes are needed.

        Raises:
            RemoteProtocolError: `protocol.frame-too-long`: the announced length is above the limit.
                The stream cannot be read any further.
        """
        buffer = self._buffer
        if self._wanted is None:
            if len(buffer) < PREFIX.size:
                return None
            (length,) = PREFIX.unpack_from(buffer)
            if length > self.limit:
                raise RemoteProtocolError(
                    f"a frame of {length} bytes was announced; at most {self.limit} are accepted",
                    code="protocol.frame-too-long",
                )
            self._wanted = length
        end = PREFIX.size + self._wanted
        if len(buffer) < end:
            return None
        body = bytes(buffer[PREFIX.size : end])
        del buffer[:end]
        self._wanted = None
        return body

    @property
    def is_partial(self) -> bool:
        """Whether part of a frame is here and the rest is not."""
        return bool(self._buffer)

    @property
    def held_bytes(self) -> int:
        """How much is here and was not given out."""
        return len(self._buffer)

    @property
    def missing(self) -> int:
        """How many bytes are missing of the prefix or, once that was looked at, of the body.

        Who receives no more than this keeps nothing of what follows the frame.
        """
        wanted = PREFIX.size if self._wanted is None else PREFIX.size + self._wanted
        return max(0, wanted - len(self._buffer))

    @property
    def announced(self) -> int:
        """Length of the body that is being received, 0 before its prefix is complete."""
        return self._wanted or 0
