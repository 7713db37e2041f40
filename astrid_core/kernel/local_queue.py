"""Clients of a capsule that were let in and wait to be taken. Safe from any thread."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

MAX_WAITING: Final = 16
"""Clients for one principal that were let in and that the capsule has not taken."""


class ClientQueue:
    """Clients for one principal, oldest first.

    Attributes:
        shares: How many listeners take from it.
    """

    def __init__(self) -> None:
        self.shares = 0
        self._lock = threading.Lock()
        self._clients: deque[socket.socket] = deque()
        self._waiters: set[threading.Event] = set()
        self._is_closed = False

    def has_room(self) -> bool:
        """Whether one more may wait; who has gone meanwhile makes room."""
        with self._lock:
            self._forget_gone()
            return not self._is_closed and len(self._clients) < MAX_WAITING

    def put(self, client: socket.socket) -> None:
        """Add a client; closed where nobody takes it any more."""
        with self._lock:
            if self._is_closed:
                client.close()
                return
            self._clients.append(client)
            self._wake()

    def take(self) -> socket.socket | None:
        """The oldest client that is still there; None when there is none.

        Raises:
            OSError: EBADF: the queue is closed.
        """
        with self._lock:
            if self._is_closed:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            self._forget_gone()
            return self._clients.popleft() if self._clients else None

    def close(self) -> None:
        """Send everybody away; again is no error."""
        with self._lock:
            self._is_closed = True
            while self._clients:
                self._clients.popleft().close()
            self._wake()

    def is_ready(self) -> bool:
        """Whether `take` would say something other than None."""
        with self._lock:
            self._forget_gone()
            return self._is_closed or bool(self._clients)

    def add_waiter(self, event: threading.Event) -> None:
        """As `WaitSource.add_waiter`."""
        with self._lock:
            self._waiters.add(event)
            self._forget_gone()
            if self._is_closed or self._clients:
                event.set()

    def remove_waiter(self, event: threading.Event) -> None:
        """As `WaitSource.remove_waiter`."""
        with self._lock:
            self._waiters.discard(event)

    def _wake(self) -> None:
        for event in self._waiters:
            event.set()

    def _forget_gone(self) -> None:
        there = deque[socket.socket]()
        for client in self._clients:
            if _has_gone(client):
                client.close()
            else:
                there.append(client)
        self._clients = there


class QueueListener:
    """Implements `astrid_core.host.local_socket.LocalListener`.

    Args:
        queue: What it takes from.
        closed: Called once, when it is given up.
    """

    def __init__(self, queue: ClientQueue, closed: Callable[[], None]) -> None:
        self._closed: Callable[[], None] | None = closed
        self.take = queue.take
        self.is_ready = queue.is_ready
        self.add_waiter = queue.add_waiter
        self.remove_waiter = queue.remove_waiter

    def close(self) -> None:
        """As `LocalListener.close`."""
        closed, self._closed = self._closed, None
        if closed is not None:
            closed()


def _has_gone(client: socket.socket) -> bool:
    """Whether the other end is closed and has left nothing to read."""
    poller = select.poll()
    poller.register(client, select.POLLIN)
    if not any(events & (select.POLLHUP | select.POLLERR) for _, events in poller.poll(0)):
        return False
    with contextlib.suppress(OSError):
        return not client.recv(1, socket.MSG_PEEK)
    return True
