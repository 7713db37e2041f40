"""Connections to the daemon: one per call under way, kept for the next call afterwards.

Cutting the connection of a call is how it is stopped; nothing else shares it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Final

from astrid_core.cli.attending import TOPICS
from astrid_core.daemon.client import DaemonClient

MAX_KEPT: Final = 8


class Lines:
    """A pool of connections for one principal. Safe from any thread.

    Args:
        connect: Makes one.
    """

    def __init__(self, connect: Callable[[], DaemonClient]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._free: list[DaemonClient] = []
        self._is_closed = False

    def take(self) -> DaemonClient:
        """A connection that hears what calls ask.

        A kept one whose daemon has gone is not given out: a call on it would be lost, and cannot
        be made again by itself, since nobody knows whether it was begun.

        Raises:
            DaemonError: The daemon cannot be reached.
        """
        while (kept := self._kept()) is not None:
            if not kept.is_lost():
                return kept
            kept.close()
        client = self._connect()
        try:
            for topic in TOPICS:
                client.subscribe(topic)
        except BaseException:
            client.close()
            raise
        return client

    def _kept(self) -> DaemonClient | None:
        with self._lock:
            return self._free.pop() if self._free else None

    def give_back(self, client: DaemonClient) -> None:
        """Its call was answered: keep it."""
        with self._lock:
            if not self._is_closed and len(self._free) < MAX_KEPT:
                self._free.append(client)
                return
        client.close()

    def close(self) -> None:
        """Close what is free; what is under way is closed when it is given back."""
        with self._lock:
            self._is_closed = True
            free, self._free = self._free, []
        for client in free:
            with contextlib.suppress(OSError):
                client.close()
