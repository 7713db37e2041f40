"""Copies of entries for audit sinks, on a thread of their own.

Trusted with nothing: the log is what counts. A sink that is slow or broken loses copies and says so
in the kernel's log; it never holds up or changes what is recorded.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Sequence
from typing import Final

from loguru import logger

from astrid_core.domain.failure_text import failure_text
from astrid_hookspecs.audit import AuditEntry, AuditSink

MAX_WAITING: Final = 10_000
CLOSE_S: Final = 5.0


class SinkFeeder:
    """Feeds sinks. `put` may be called from any thread.

    Args:
        sinks: Owned; without any, nothing is started.
    """

    def __init__(self, sinks: Sequence[AuditSink]) -> None:
        self._sinks = tuple(sinks)
        self._waiting: queue.Queue[list[AuditEntry] | None] = queue.Queue(MAX_WAITING)
        self._lost = 0
        self._thread: threading.Thread | None = None
        if self._sinks:
            self._thread = threading.Thread(target=self._feed, name="audit-sinks", daemon=True)
            self._thread.start()

    def put(self, entries: list[AuditEntry]) -> None:
        """Hand entries over, in order; drops them when the sinks are too far behind."""
        if self._thread is None:
            return
        try:
            self._waiting.put_nowait(entries)
        except queue.Full:
            self._lost += len(entries)

    def close(self) -> None:
        """Let the sinks take what waits, for a bounded time, and close them."""
        if self._thread is None:
            return
        deadline = time.monotonic() + CLOSE_S
        with contextlib.suppress(queue.Full):  # a sink hangs; it is not waited for
            self._waiting.put(None, timeout=CLOSE_S)
        self._thread.join(max(0.0, deadline - time.monotonic()))
        for sink in self._sinks:
            try:
                sink.close()
            except Exception as error:  # noqa: BLE001 - a plugin's object
                logger.warning("an audit sink could not be closed: {}", failure_text(error))

    def _feed(self) -> None:
        while (entries := self._waiting.get()) is not None:
            lost, self._lost = self._lost, 0
            if lost:
                logger.warning("audit sinks are too slow: {} copies were dropped", lost)
            for entry in entries:
                for sink in self._sinks:
                    try:
                        sink.write(entry)
                    except Exception as error:  # noqa: BLE001 - a plugin's object
                        logger.warning("an audit sink failed: {}", failure_text(error))
