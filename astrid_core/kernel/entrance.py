"""Accepting clients at a local socket, and how many may be between connecting and their token.

Trusted with the bound that keeps one client from shutting out another, for the daemon's socket and
for those of capsules. Spec: kernel-and-security 3.3, 16 D-11.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from loguru import logger

MAX_HALF_OPEN: Final = 32
CROWDED_GRACE_S: Final = 0.1
"""How long a client may take for its handshake when others wait in line."""
ACCEPT_PAUSE_S: Final = 0.1
"""After the system refused a connection, for instance because too many files are open."""
_BATCH: Final = 16
ClientT = TypeVar("ClientT", bound=Hashable)


class Entrance(ABC, Generic[ClientT]):
    """Accepts at one socket; what a client is, and how to wait, is the subclass's.

    Args:
        listener: Listening and not blocking; owned.
        now: Seconds that never go back.

    Attributes:
        listener: As given.
        half_open: Clients that have not said the token yet, and since when; oldest first.
    """

    def __init__(self, listener: socket.socket, *, now: Callable[[], float]) -> None:
        self.listener = listener
        self.half_open: dict[ClientT, float] = {}
        self._now = now

    def accept(self) -> None:
        """Take who waits in line, as far as there is room; called when somebody does."""
        for _ in range(_BATCH):
            if self._waits_for_room():
                return
            try:
                sock, _ = self.listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                logger.warning("no connection could be accepted: {}", error.strerror)
                self.pause(ACCEPT_PAUSE_S)
                return
            self.take(sock)

    def came(self, client: ClientT) -> None:
        """Count a client until it has said the token or has gone."""
        self.half_open[client] = self._now()

    @abstractmethod
    def take(self, sock: socket.socket) -> None:
        """Here is who connected; blocking as the system makes it."""

    @abstractmethod
    def pause(self, seconds: float) -> None:
        """Accept nobody for a while."""

    @abstractmethod
    def send_away(self, client: ClientT) -> None:
        """End one that has had its chance; it is half open no more on return."""

    def _waits_for_room(self) -> bool:
        """Whether accepting has to wait; else there is room for one more.

        The oldest one gives way, once it has had its chance: a silent client keeps nobody out.
        """
        if len(self.half_open) < MAX_HALF_OPEN:
            return False
        oldest, since = next(iter(self.half_open.items()))
        left_s = since + CROWDED_GRACE_S - self._now()
        if left_s > 0:
            self.pause(left_s)
            return True
        self.send_away(oldest)
        return False
