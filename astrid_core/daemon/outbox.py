"""What goes out on one connection: written by whoever has it, kept only as far as there is room.

Trusted with never making anybody wait for a client. A frame goes to the socket at once, on the
thread that made it; what does not fit waits in a bounded queue that the event loop empties; who
lets the queue overflow has lost the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

MAX_QUEUED_BYTES: Final = 4 * 1024 * 1024
"""A single frame may be longer; it may not wait behind others then."""


class Outbox:
    """Sends frames in order. `send` may be called from any thread, the rest on the loop.

    Args:
        sock: Non-blocking and connected; owned from now on.
        loop: Empties the queue.
        overflow: Called on the loop, once, when the client is too slow.
        drained: Called on the loop whenever the queue has been emptied.
        limit: How many bytes may wait.
    """

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        *,
        overflow: Callable[[], None],
        drained: Callable[[], None],
        limit: int = MAX_QUEUED_BYTES,
    ) -> None:
        self._socket = sock
        self._loop = loop
        self._overflow = overflow
        self._drained = drained
        self._limit = limit
        self._lock = threading.Lock()
        self._queue: deque[memoryview] = deque()
        self._queued = 0
        self._is_closed = False
        self._is_watched = False
        self._is_broken = False

    @property
    def queued_bytes(self) -> int:
        """How much the client has still to take."""
        return self._queued

    @property
    def is_broken(self) -> bool:
        """Whether the client was found to have gone, which the reading side may hear of later."""
        return self._is_broken

    def is_hung_up(self) -> bool:
        """Whether the client has closed its end altogether; does not wait, and reads nothing."""
        with self._lock:
            if self._is_closed:
                return True
            poll = select.poll()
            poll.register(self._socket, 0)
            return any(events & select.POLLHUP for _, events in poll.poll(0))

    def send(self, frame: bytes) -> bool:
        """Send a frame, or queue what does not fit.

        Returns:
            False when it will not arrive: the connection is closed, or the client too slow.
        """
        with self._lock:
            if self._is_closed:
                return False
            if self._queue and self._queued + len(frame) > self._limit:
                self._is_closed = True
                self._on_loop(self._overflow)
                return False
            was_empty = not self._queue
            sent = self._write(frame) if was_empty else 0
            if sent < len(frame):
                self._queue.append(memoryview(frame)[sent:])
                self._queued += len(frame) - sent
                if was_empty:
                    self._on_loop(self._watch)
            return True

    def close(self) -> None:
        """Send nothing more; what is queued is dropped."""
        with self._lock:
            self._is_closed = True
            self._unwatch()
            self._queue.clear()
            self._queued = 0
            self._socket.close()

    def _write(self, data: bytes | memoryview) -> int:
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:  # the client has gone: the reading side hears of it and tidies up
            self._is_broken = True
            return len(data)

    def _watch(self) -> None:
        with self._lock:
            if not self._is_closed and not self._is_watched and self._queue:
                self._is_watched = True
                self._loop.add_writer(self._socket.fileno(), self._flush)

    def _unwatch(self) -> None:
        if self._is_watched:
            self._is_watched = False
            self._loop.remove_writer(self._socket.fileno())

    def _flush(self) -> None:
        with self._lock:
            while self._queue and not self._is_closed:
                part = self._queue[0]
                sent = self._write(part)
                self._queued -= sent
                if sent < len(part):
                    self._queue[0] = part[sent:]
                    break
                self._queue.popleft()
            is_done = not self._queue or self._is_closed
            if is_done:
                self._unwatch()
        if is_done:
            self._drained()

    def _on_loop(self, callback: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and so is everything else
            self._loop.call_soon_threadsafe(callback)
