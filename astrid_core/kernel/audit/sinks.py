"""Copies of entries for audit sinks, each sink on a thread of its own.

Trusted with nothing: the log is what counts. A sink that is slow or broken loses copies and says so
in the kernel's log; it never holds up or changes what is recorded, nor what other sinks get.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from loguru import logger

from astrid_core.domain.failure_text import failure_text
from astrid_hookspecs.audit import AuditEntry, AuditSink

MAX_WAITING: Final = 10_000
CLOSE_S: Final = 5.0


class SinkFeeder:
    """Feeds sinks. `put` may be called from any thread.

    Args:
        sinks: By the name that the log calls them by; owned. Without any, nothing is started.
        close_s: How long `close` waits for all of them together.
    """

    def __init__(self, sinks: Mapping[str, AuditSink], *, close_s: float = CLOSE_S) -> None:
        self._close_s = close_s
        self._feeds = [_Feed(name, sink) for name, sink in sinks.items()]

    def put(self, entries: list[AuditEntry]) -> None:
        """Hand entries over, in order; drops them for a sink that is too far behind."""
        for feed in self._feeds:
            feed.put(entries)

    def close(self) -> None:
        """Let the sinks take what waits, for a bounded time, and close them."""
        deadline = time.monotonic() + self._close_s
        for feed in self._feeds:
            feed.end()
        for feed in self._feeds:
            feed.join(deadline=deadline)


class _Feed:
    """One sink, with its thread: nobody else calls it, so nobody else waits for it."""

    def __init__(self, name: str, sink: AuditSink) -> None:
        self._name = name
        self._sink = sink
        self._waiting: queue.Queue[list[AuditEntry]] = queue.Queue(MAX_WAITING)
        self._ending = threading.Event()
        self._lost = 0
        self._thread = threading.Thread(target=self._feed, name=f"sink-{name}", daemon=True)
        self._thread.start()

    def put(self, entries: list[AuditEntry]) -> None:
        try:
            self._waiting.put_nowait(entries)
        except queue.Full:
            self._lost += len(entries)

    def end(self) -> None:
        self._ending.set()
        with contextlib.suppress(queue.Full):  # then there is enough to wake it
            self._waiting.put_nowait([])

    def join(self, *, deadline: float) -> None:
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            logger.warning("the {} hangs; what it did not take yet is lost to it", self._name)

    def _feed(self) -> None:
        while not (self._ending.is_set() and self._waiting.empty()):
            entries = self._waiting.get()
            lost, self._lost = self._lost, 0
            if lost:
                logger.warning("the {} is too slow: {} copies were dropped", self._name, lost)
            for entry in entries:
                self._guarded("failed", self._sink.write, entry)
        self._guarded("could not be closed", self._sink.close)

    def _guarded(self, what: str, call: Callable[..., object], *arguments: AuditEntry) -> None:
        try:
            call(*arguments)
        except BaseException as error:  # noqa: BLE001 - exit() in a plugin's object ends no thread
            logger.warning("the {} {}: {}", self._name, what, failure_text(error))
