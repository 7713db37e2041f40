"""The resource `tcp-stream`: one connection and what has been received of it.

Nothing here waits: what cannot be done at once is None, and the caller waits. Spec: host-abi 12.3.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Final

from astrid_core.host.net_errors import shown
from astrid_core.host.net_watch import READ, WRITE, SocketReady, close_socket

MAX_FRAME_BYTES: Final = 10 * 1024 * 1024
"""Longest frame, and most that one call reads."""
HEADER_BYTES: Final = 4
_CHUNK_BYTES: Final = 64 * 1024
_NO_LINGER: Final = struct.pack("ii", 0, 0)
_SHUTDOWN: Final = {
    "receive": socket.SHUT_RD,
    "send": socket.SHUT_WR,
    "both": socket.SHUT_RDWR,
}


class TcpStream:
    """A connection. Also the source and the sink of its streams, and of its pollables.

    Args:
        sock: Connected; owned.
        dropped: Called once when the slot is free.

    Attributes:
        is_local: Whether it is a client of a local socket, and no TCP connection.
    """

    def __init__(self, sock: socket.socket, *, dropped: Callable[[TcpStream], None]) -> None:
        sock.setblocking(False)
        self.socket = sock
        self.read_timeout_ms: int | None = None
        self.write_timeout_ms: int | None = None
        self.lingers = False
        self.is_local = sock.family == socket.AF_UNIX
        self.peer_addr = shown(sock.getpeername())
        self.local_addr = shown(sock.getsockname())
        self.arriving = SocketReady(sock, READ)
        self.readable = _Readable(self)
        self.writable = SocketReady(sock, WRITE)
        self.received = bytearray()
        self.is_over = False
        self._unsent = memoryview(b"")
        self._dropped = dropped

    @property
    def is_closed(self) -> bool:
        """Whether it was closed on this side."""
        return self.socket.fileno() < 0

    def receive(self, wanted: int) -> bool:
        """Receive until there are that many bytes, or as many as there are now.

        Returns:
            Whether that is all one can get without waiting for more: enough, or the end.

        Raises:
            OSError: The connection failed, or is closed on this side.
        """
        while len(self.received) < wanted and not self.is_over:
            try:
                data = self.socket.recv(min(wanted - len(self.received), _CHUNK_BYTES))
            except BlockingIOError:
                return False
            self.received += data
            self.is_over = not data
        return True

    def take(self, max_bytes: int, *, keep: bool = False) -> bytes | None:
        """At least one byte; empty at the end, None when there is nothing yet.

        Args:
            max_bytes: At most; none takes nothing.
            keep: Leave them where they are.

        Raises:
            OSError: As `receive`.
        """
        most = min(max_bytes, MAX_FRAME_BYTES)
        if self.is_closed:
            raise OSError(9, "closed")
        try:
            self.receive(most)
        except OSError:
            if not self.received:  # what came before the failure is not lost
                raise
        data = bytes(self.received[:most])
        if not keep:
            del self.received[:most]
        return data if data or self.is_over or most == 0 else None

    def send(self, data: memoryview) -> int | None:
        """Send some of it; None when nothing can be sent yet.

        Raises:
            OSError: The connection failed, or is closed on this side.
        """
        if not self.flush():
            return None
        try:
            return self.socket.send(data[:MAX_FRAME_BYTES])
        except BlockingIOError:
            return None

    def flush(self) -> bool:
        """Send what the stream took; whether nothing is left. Raises as `send`."""
        while self._unsent:
            try:
                sent = self.socket.send(self._unsent)
            except BlockingIOError:
                return False
            self._unsent = self._unsent[sent:]
        return True

    def queue(self, data: bytes) -> None:
        """Take bytes that are sent when the connection takes them; only after `flush`."""
        self._unsent = memoryview(data)
        self.flush()

    def shutdown(self, how: str) -> None:
        """End a direction; again is no error."""
        with contextlib.suppress(OSError):  # the peer was faster
            self.socket.shutdown(_SHUTDOWN[how])

    def close(self) -> None:
        """Close it; reading and writing say so from now on. Closing twice is not an error."""
        if self.is_closed:
            return
        with contextlib.suppress(OSError):
            self.flush()
        if self.lingers:  # closing would wait for what is unsent; the system sends it without us
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        close_socket(self.socket)

    def drop(self) -> None:
        """As `HostResource.drop`."""
        self.close()
        dropped, self._dropped = self._dropped, _nobody
        dropped(self)


def _nobody(_stream: TcpStream) -> None:
    pass


class _Readable:
    """Ready when reading would return at once."""

    def __init__(self, stream: TcpStream) -> None:
        self._stream = stream
        self._socket = stream.arriving

    def is_ready(self) -> bool:
        stream = self._stream
        return bool(stream.received) or stream.is_over or self._socket.is_ready()

    def add_waiter(self, event: threading.Event) -> None:
        self._socket.add_waiter(event)

    def remove_waiter(self, event: threading.Event) -> None:
        self._socket.remove_waiter(event)


class TcpSource:
    """The incoming bytes. Implements `astrid_core.host.stream.ByteSource`.

    Args:
        stream: Whose; it stays open when this is closed.
    """

    def __init__(self, stream: TcpStream) -> None:
        self._stream = stream
        self.is_ready = stream.readable.is_ready
        self.add_waiter = stream.readable.add_waiter
        self.remove_waiter = stream.readable.remove_waiter

    def read(self, max_bytes: int) -> bytes | None:
        """As `ByteSource.read`."""
        if self._stream.is_closed:
            return None
        data = self._stream.take(max_bytes)
        return b"" if data is None else data or None

    def close(self) -> None:
        """As `ByteSource.close`."""


class TcpSink:
    """The outgoing bytes. Implements `astrid_core.host.stream.ByteSink`.

    Args:
        stream: Whose; it stays open when this is closed.
    """

    def __init__(self, stream: TcpStream) -> None:
        self._stream = stream
        self.is_ready = stream.writable.is_ready
        self.add_waiter = stream.writable.add_waiter
        self.remove_waiter = stream.writable.remove_waiter

    def capacity(self) -> int:
        """As `ByteSink.capacity`."""
        if self._stream.is_closed:
            raise BrokenPipeError(32, "closed")
        if not self._stream.flush() or not self._stream.writable.is_ready():
            return 0
        return _CHUNK_BYTES

    def write(self, data: bytes) -> None:
        """As `ByteSink.write`."""
        if self._stream.is_closed:
            raise BrokenPipeError(32, "closed")
        self._stream.queue(data)

    def is_flushed(self) -> bool:
        """As `ByteSink.is_flushed`: whether the system has taken everything."""
        return self._stream.is_closed or self._stream.flush()

    def close(self) -> None:
        """As `ByteSink.close`."""
