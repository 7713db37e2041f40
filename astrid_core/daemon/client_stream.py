"""Frames on a blocking socket, with time limits: the client's end of a connection.

Trusted with never waiting past a deadline, and with reading while it writes: a daemon that is busy
sending to this client takes nothing from it until that has arrived. One thread at a time.
Spec: kernel-and-security 3.3.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from typing import Final

from astrid_core.daemon.client_errors import AnswerTimeoutError, ConnectionLostError
from astrid_core.domain.framing import (
    MAX_FRAME_BYTES,
    MAX_HANDSHAKE_BYTES,
    MAX_REPLY_BYTES,
    FrameReader,
    encode_frame,
)

_CHUNK: Final = 256 * 1024
_ENDED: Final = getattr(select, "POLLRDHUP", 0)
"""Asks for the end of the other side alone; where the system lacks it, the hang-up that poll always
reports has to do."""


class FrameStream:
    """Sends and receives frames.

    Args:
        sock: Connected; owned by the stream from now on.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._reader = FrameReader(limit=MAX_HANDSHAKE_BYTES)
        self._poll = select.poll()
        self._is_over = False

    def authenticated(self) -> None:
        """Accept long frames from now on."""
        self._reader.limit = MAX_REPLY_BYTES

    def send(self, body: bytes, *, deadline: float) -> None:
        """Send one frame.

        Args:
            body: JSON text.
            deadline: On the monotonic clock, seconds.

        Raises:
            LocalProtocolError: `protocol.frame-too-long`.
            AnswerTimeoutError: The other side did not take it in time; the connection is unusable.
            ConnectionLostError: The connection is closed.
        """
        left = memoryview(encode_frame(body, limit=MAX_FRAME_BYTES))
        while left:
            try:
                left = left[self._sock.send(left) :]
            except BlockingIOError:
                self._wait(select.POLLIN | select.POLLOUT, deadline)
                self._read()
            except OSError as error:
                raise _lost() from error

    def receive(self, *, deadline: float | None) -> bytes:
        """The next frame.

        Args:
            deadline: On the monotonic clock, seconds; None waits for ever.

        Raises:
            AnswerTimeoutError: None came in time; what arrived of one is kept.
            ConnectionLostError: The connection is closed.
            RemoteProtocolError: What arrived are no frames.
        """
        while (body := self._reader.next_frame()) is None:
            if self._is_over:
                raise _lost()
            if not self._read():
                self._wait(select.POLLIN, deadline)
        return body

    def close(self) -> None:
        """End the connection; whatever this client asked for is stopped. Harmless when closed."""
        self._is_over = True
        self._sock.close()

    def cut(self) -> None:
        """End the connection from another thread: whoever waits on it is told that it is lost."""
        with contextlib.suppress(OSError):  # it is gone already
            self._sock.shutdown(socket.SHUT_RDWR)

    def is_lost(self) -> bool:
        """Whether nothing can be asked any more; what has arrived may still be read."""
        if self._is_over:
            return True
        self._poll.register(self._sock, _ENDED)
        return bool(self._poll.poll(0))

    def _read(self) -> bool:
        """Take what is there, without waiting; False when nothing was.

        Frames are taken apart one by one when they are asked for: the limit of the next may differ.
        """
        try:
            data = self._sock.recv(_CHUNK)
        except BlockingIOError:
            return False
        except OSError as error:
            raise _lost() from error
        if not data:
            self._is_over = True
        self._reader.feed(data)
        return True

    def _wait(self, events: int, deadline: float | None) -> None:
        left_ms = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        self._poll.register(self._sock, events)
        if not self._poll.poll(left_ms):
            raise AnswerTimeoutError("the daemon did not answer in time")


def _lost() -> ConnectionLostError:
    return ConnectionLostError(
        "the connection to the daemon ended", hint="see whether it still runs: astrid status"
    )
