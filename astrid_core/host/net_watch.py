"""Waiting for sockets together with everything else that a host function waits for.

One thread for all sockets of the process; it runs only once somebody waits.
"""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import socket
import threading
import time
from typing import Final

from astrid_core.host.threads import started_thread
from astrid_hookspecs.errors import QuotaExceededError

READ: Final = selectors.EVENT_READ
WRITE: Final = selectors.EVENT_WRITE
_PAUSE_S: Final = 0.001
_POLLED: Final = {READ: select.POLLIN, WRITE: select.POLLOUT}


class SocketWatcher:
    """Sets events when sockets become ready. Safe from any thread.

    Raises:
        QuotaExceededError: The system has no thread left for it; nothing stays open.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._waiters: dict[int, list[tuple[int, threading.Event]]] = {}
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, READ)
        try:
            started_thread(self._run, name="astrid-sockets", rule="net.threads")
        except QuotaExceededError:
            self._selector.close()
            os.close(self._wake_read)
            os.close(self._wake_write)
            raise

    def add(self, descriptor: int, mask: int, event: threading.Event) -> None:
        """Set the event whenever the socket is ready, until it is removed."""
        with self._lock:
            self._waiters.setdefault(descriptor, []).append((mask, event))
            self._apply(descriptor)

    def remove(self, descriptor: int, event: threading.Event) -> None:
        """Forget the event; forgetting an unknown one is not an error."""
        with self._lock:
            left = [one for one in self._waiters.get(descriptor, ()) if one[1] is not event]
            self._waiters[descriptor] = left
            self._apply(descriptor)

    def forget(self, descriptor: int) -> None:
        """The socket is about to be closed: whoever waits for it is woken."""
        with self._lock:
            waiters, self._waiters[descriptor] = self._waiters.get(descriptor, []), []
            self._apply(descriptor)
        for _, event in waiters:
            event.set()

    def _apply(self, descriptor: int) -> None:
        mask = 0
        for wanted, _ in self._waiters[descriptor]:
            mask |= wanted
        with contextlib.suppress(KeyError):
            self._selector.unregister(descriptor)
        if mask:
            self._selector.register(descriptor, mask)
            with contextlib.suppress(BlockingIOError):  # full: it wakes up anyway
                os.write(self._wake_write, b"x")
        else:
            del self._waiters[descriptor]

    def _run(self) -> None:
        while True:
            ready = self._selector.select()
            with self._lock:
                for key, mask in ready:
                    if key.fd == self._wake_read:
                        with contextlib.suppress(BlockingIOError):
                            os.read(self._wake_read, 4096)
                    for wanted, event in self._waiters.get(key.fd, ()):
                        if wanted & mask:
                            event.set()
            # What is ready stays so until its waiter has taken it: look again, but do not spin.
            time.sleep(_PAUSE_S)


_making: Final = threading.Lock()
_made: Final[list[SocketWatcher]] = []


def watcher() -> SocketWatcher:
    """The watcher of this process, made at the first use.

    Raises:
        QuotaExceededError: The system has no thread left for it.
    """
    with _making:
        if not _made:
            _made.append(SocketWatcher())
        return _made[0]


class SocketReady:
    """A socket that can be read or written. Implements `astrid_hookspecs.cancel.WaitSource`.

    Args:
        sock: Not blocking; a closed one is ready.
        mask: `READ` or `WRITE`.
    """

    def __init__(self, sock: socket.socket, mask: int) -> None:
        self._sock = sock
        self._mask = mask

    def is_ready(self) -> bool:
        """Whether the next call would not have to wait."""
        descriptor = self._sock.fileno()
        if descriptor < 0:
            return True
        poller = select.poll()
        poller.register(descriptor, _POLLED[self._mask])
        return bool(poller.poll(0))

    def add_waiter(self, event: threading.Event) -> None:
        """As `WaitSource.add_waiter`."""
        descriptor = self._sock.fileno()
        if descriptor < 0:
            event.set()
        else:
            watcher().add(descriptor, self._mask, event)

    def remove_waiter(self, event: threading.Event) -> None:
        """As `WaitSource.remove_waiter`."""
        descriptor = self._sock.fileno()
        if descriptor >= 0 and _made:
            watcher().remove(descriptor, event)


def close_socket(sock: socket.socket) -> None:
    """Close a socket that may be waited for. Closing twice is not an error."""
    descriptor = sock.fileno()
    if descriptor >= 0:
        if _made:  # else nobody waits for any
            watcher().forget(descriptor)
        sock.close()
