"""Length-prefixed messages, with descriptors, between the kernel and its compiling helper.

Trusted with bounds: a peer can neither send more than `MAX_FRAME_BYTES` nor leave a reader with a
half message. Four bytes big-endian length, then that many bytes; descriptors travel with the
length.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Final

MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
_LENGTH: Final = struct.Struct(">I")


class FrameError(Exception):
    """The peer broke the framing or went away in the middle of a message."""


def send_frame(peer: socket.socket, payload: bytes, *, descriptors: tuple[int, ...] = ()) -> None:
    """Send one message.

    Raises:
        OSError: The peer is gone.
        FrameError: The message is too long.
    """
    _check_length(len(payload))
    header = _LENGTH.pack(len(payload))
    if descriptors:
        sent = socket.send_fds(peer, [header], descriptors)
        header = header[sent:]
    peer.sendall(header + payload)


def receive_frame(peer: socket.socket, *, descriptors: int = 0) -> tuple[bytes, tuple[int, ...]]:
    """Receive one message.

    Args:
        peer: A connected stream socket.
        descriptors: How many descriptors may come with it; more are closed by the system.

    Returns:
        The payload and the descriptors, which now belong to the caller.

    Raises:
        EOFError: The peer closed between two messages.
        FrameError: It closed within a message, or the message is too long.
        OSError: The connection failed.
    """
    header, received = _receive_header(peer, descriptors)
    try:
        (length,) = _LENGTH.unpack(header)
        _check_length(length)
        return _receive_exactly(peer, length), tuple(received)
    except BaseException:
        for descriptor in received:
            os.close(descriptor)
        raise


def _receive_header(peer: socket.socket, descriptors: int) -> tuple[bytes, list[int]]:
    """The length and the descriptors, which travel with its first byte."""
    if descriptors:
        header, received, _flags, _address = socket.recv_fds(peer, _LENGTH.size, descriptors)
    else:
        header, received = peer.recv(_LENGTH.size), []
    if not header:
        raise EOFError
    try:
        return header + _receive_exactly(peer, _LENGTH.size - len(header)), received
    except BaseException:
        for descriptor in received:
            os.close(descriptor)
        raise


def _check_length(length: int) -> None:
    if length > MAX_FRAME_BYTES:
        raise FrameError("message too long")


def _receive_exactly(peer: socket.socket, size: int) -> bytes:
    payload = bytearray()
    while len(payload) < size:
        part = peer.recv(size - len(payload))
        if not part:
            raise FrameError("cut off")
        payload += part
    return bytes(payload)
