"""A bounded in-memory pipe: the sink of one stream and the source of another."""

from __future__ import annotations

import threading
from typing import Final

DEFAULT_CAPACITY: Final = 64 * 1024


class BytePipe:
    """Joins a writer and a reader, on one thread or two.

    Args:
        capacity: Bytes that may be on their way; the writer waits for space.
    """

    def __init__(self, *, capacity: int = DEFAULT_CAPACITY) -> None:
        self.capacity = capacity
        self.lock = threading.Lock()
        self.buffer = bytearray()
        self.writer_gone = False
        self.reader_gone = False
        self.failure: OSError | None = None
        self.waiters: set[threading.Event] = set()
        self.source = PipeSource(self)
        self.sink = PipeSink(self)

    def fail(self, error: OSError) -> None:
        """Make the next call of either side fail with the error."""
        with self.lock:
            self.failure = error
        self.wake()

    def wake(self) -> None:
        """Tell both sides that something changed."""
        with self.lock:
            waiters = tuple(self.waiters)
        for event in waiters:
            event.set()


class _PipeEnd:
    def __init__(self, pipe: BytePipe) -> None:
        self._pipe = pipe

    def add_waiter(self, event: threading.Event) -> None:
        """As `WaitSource.add_waiter`."""
        with self._pipe.lock:
            self._pipe.waiters.add(event)
        event.set()  # the state may have changed before; a spurious wake-up is allowed

    def remove_waiter(self, event: threading.Event) -> None:
        """As `WaitSource.remove_waiter`."""
        with self._pipe.lock:
            self._pipe.waiters.discard(event)

    def _check(self) -> None:
        if self._pipe.failure is not None:
            raise self._pipe.failure


class PipeSource(_PipeEnd):
    """The reading end. Implements `astrid_core.host.stream.ByteSource`."""

    def is_ready(self) -> bool:
        """Whether data, the end or a failure is there."""
        pipe = self._pipe
        with pipe.lock:
            return bool(pipe.buffer) or pipe.writer_gone or pipe.failure is not None

    def read(self, max_bytes: int) -> bytes | None:
        """As `ByteSource.read`."""
        pipe = self._pipe
        with pipe.lock:
            self._check()
            data = bytes(pipe.buffer[:max_bytes])
            del pipe.buffer[:max_bytes]
            ended = not data and pipe.writer_gone
        if data:
            pipe.wake()
        return None if ended else data

    def close(self) -> None:
        """As `ByteSource.close`."""
        with self._pipe.lock:
            self._pipe.reader_gone = True
        self._pipe.wake()


class PipeSink(_PipeEnd):
    """The writing end. Implements `astrid_core.host.stream.ByteSink`."""

    def is_ready(self) -> bool:
        """Whether there is space, or nobody will make any."""
        pipe = self._pipe
        with pipe.lock:
            has_space = len(pipe.buffer) < pipe.capacity
            return has_space or pipe.reader_gone or pipe.failure is not None

    def capacity(self) -> int:
        """As `ByteSink.capacity`."""
        with self._pipe.lock:
            self._check()
            return self._pipe.capacity - len(self._pipe.buffer)

    def write(self, data: bytes) -> None:
        """As `ByteSink.write`."""
        with self._pipe.lock:
            self._check()
            self._pipe.buffer += data
        self._pipe.wake()

    def is_flushed(self) -> bool:
        """As `ByteSink.is_flushed`: whether the reader has taken everything."""
        with self._pipe.lock:
            self._check()
            return not self._pipe.buffer

    def close(self) -> None:
        """As `ByteSink.close`."""
        with self._pipe.lock:
            self._pipe.writer_gone = True
        self._pipe.wake()

    def _check(self) -> None:
        super()._check()
        if self._pipe.reader_gone:
            raise BrokenPipeError(32, "the reader is gone")
