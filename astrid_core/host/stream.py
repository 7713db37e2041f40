"""The resources of `astrid:io/streams@1.0.0`: byte streams over any source or sink.

The state machine: an open stream fails once (`last-operation-failed`, with an error resource) and
is closed from then on; the end of the data and a departed peer are `closed` at once.

Spec: host-abi 9.2.
"""

from __future__ import annotations

import threading
from typing import Final, Protocol

from astrid_core.host.pollable import Pollable
from astrid_hookspecs.cancel import WaitSource
from astrid_hookspecs.engines import HostTrap, WitError

MAX_TRANSFER_BYTES: Final = 1024 * 1024
"""Most bytes that one call moves."""
MAX_PERMIT_BYTES: Final = 64 * 1024


class ByteSource(WaitSource, Protocol):
    """Where an input stream reads. Ready when data, the end or an error is there."""

    def read(self, max_bytes: int) -> bytes | None:
        """What is there now; empty for nothing yet, None at the end.

        Raises:
            OSError: Reading failed; the message may be shown to the guest.
        """
        ...

    def close(self) -> None:
        """Nobody reads any more. Closing twice is not an error; never raises."""
        ...


class ByteSink(WaitSource, Protocol):
    """Where an output stream writes. Ready when it takes bytes, or will never do so again.

    Waiters are woken by every change, also when the last byte was delivered.
    """

    def capacity(self) -> int:
        """How many bytes `write` takes now.

        Raises:
            BrokenPipeError: The other side is gone.
            OSError: Writing failed; the message may be shown to the guest.
        """
        ...

    def write(self, data: bytes) -> None:
        """Take at most `capacity` bytes; errors as there."""
        ...

    def is_flushed(self) -> bool:
        """Whether everything taken was delivered; errors as `capacity`."""
        ...

    def close(self) -> None:
        """Nobody writes any more. Closing twice is not an error; never raises."""
        ...


class ErrorResource:
    """The resource `error`: why a stream operation failed, in free text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def drop(self) -> None:
        """Nothing to release."""


class _Stream:
    """What both directions share: the open and closed states, and failing once."""

    def __init__(self, end: ByteSource | ByteSink | None) -> None:
        self._end = end
        self._pollables = 0

    @property
    def is_open(self) -> bool:
        """Whether calls still reach the source or sink."""
        return self._end is not None

    def is_ready(self) -> bool:
        """Whether the next call would do something else than wait."""
        return self._end is None or self._end.is_ready()

    def add_waiter(self, event: threading.Event) -> None:
        """As `WaitSource.add_waiter`."""
        if self._end is None:
            event.set()
        else:
            self._end.add_waiter(event)

    def remove_waiter(self, event: threading.Event) -> None:
        """As `WaitSource.remove_waiter`."""
        if self._end is not None:
            self._end.remove_waiter(event)

    def subscribe(self) -> Pollable:
        """A pollable that follows the stream; the guest has to drop it first."""
        self._pollables += 1
        return Pollable(self, dropped=self._forget_pollable)

    def drop(self) -> None:
        """As `HostResource.drop`; the source or sink is released in either case.

        Raises:
            HostTrap: A pollable of the stream is still alive. Spec: host-abi 2.5.
        """
        self._close()
        if self._pollables:
            raise HostTrap("a stream was dropped before its pollables")

    def _forget_pollable(self) -> None:
        self._pollables -= 1

    def _close(self) -> None:
        if self._end is not None:
            self._end.close()
            self._end = None

    def _fail(self, error: OSError) -> WitError:
        """Close the stream and make the answer of the call that failed."""
        self._close()
        if isinstance(error, BrokenPipeError):
            return WitError("closed")
        return WitError("last-operation-failed", ErrorResource(error.strerror or "i/o error"))


class InputStream(_Stream):
    """The resource `input-stream`.

    Args:
        source: What it reads, owned; None for a stream that is closed from the start.
    """

    def __init__(self, source: ByteSource | None) -> None:
        super().__init__(source)
        self._source = source

    @classmethod
    def closed(cls) -> InputStream:
        """A stream that answers `closed`."""
        return cls(None)

    def read(self, length: int) -> bytes:
        """At most `length` bytes, never more than 1 MiB; empty when nothing is there yet.

        Raises:
            WitError: `closed` at the end; `last-operation-failed` once after a failure.
        """
        if self._source is None or not self.is_open:
            raise WitError("closed")
        if length == 0:
            return b""
        try:
            data = self._source.read(min(length, MAX_TRANSFER_BYTES))
        except OSError as error:
            raise self._fail(error) from error
        if data is None:
            self._close()
            raise WitError("closed")
        return data


class OutputStream(_Stream):
    """The resource `output-stream`.

    Args:
        sink: What it writes to, owned; None for a stream that is closed from the start.
    """

    def __init__(self, sink: ByteSink | None) -> None:
        super().__init__(sink)
        self._sink = sink
        self._permit = 0
        self._flushing = False

    @classmethod
    def closed(cls) -> OutputStream:
        """A stream that answers `closed`."""
        return cls(None)

    def check_write(self) -> int:
        """How many bytes the next `write` may bring; 0 while it must wait.

        Raises:
            WitError: `closed`, `last-operation-failed`.
        """
        sink = self._open_sink()
        try:
            if self._flushing and not sink.is_flushed():
                self._permit = 0
                return 0
            self._flushing = False
            self._permit = min(sink.capacity(), MAX_PERMIT_BYTES)
        except OSError as error:
            raise self._fail(error) from error
        return self._permit

    def write(self, contents: bytes) -> None:
        """Write within the permit, and use it up.

        Raises:
            HostTrap: More than the last `check_write` permitted.
            WitError: `closed`, `last-operation-failed`.
        """
        self._use_permit(len(contents))
        sink = self._open_sink()
        try:
            sink.write(contents)
        except OSError as error:
            raise self._fail(error) from error

    def write_zeroes(self, length: int) -> None:
        """As `write`, with that many zero bytes; they are made when they may be written."""
        self._open_sink()
        if length > self._permit:
            self._use_permit(length)
        self.write(bytes(length))

    def flush(self) -> None:
        """Start to deliver what was written; errors show in the next call.

        Raises:
            WitError: `closed`.
        """
        self._open_sink()
        self._flushing = True

    def is_flushed(self) -> bool:
        """Whether everything written was delivered.

        Raises:
            WitError: `closed`, `last-operation-failed`.
        """
        sink = self._open_sink()
        try:
            return sink.is_flushed()
        except OSError as error:
            raise self._fail(error) from error

    def is_ready(self) -> bool:
        """Whether `check_write` would permit something, or the stream is closed."""
        if not super().is_ready():
            return False
        return not self._flushing or self.flushed().is_ready()

    def flushed(self) -> WaitSource:
        """Ready when everything was delivered, or never will be."""
        return _Flushed(self)

    def sink_is_flushed(self) -> bool:
        """As `is_flushed`, with a failure counting as the end of waiting."""
        if self._sink is None or not self.is_open:
            return True
        try:
            return self._sink.is_flushed()
        except OSError:
            return True

    def _use_permit(self, length: int) -> None:
        permit, self._permit = self._permit, 0
        if length > permit and self.is_open:
            raise HostTrap(f"write of {length} bytes exceeds the permit of {permit}")

    def _open_sink(self) -> ByteSink:
        if self._sink is None or not self.is_open:
            raise WitError("closed")
        return self._sink


class _Flushed:
    """Waits for delivery instead of space."""

    def __init__(self, stream: OutputStream) -> None:
        self._stream = stream

    def is_ready(self) -> bool:
        return self._stream.sink_is_flushed()

    def add_waiter(self, event: threading.Event) -> None:
        self._stream.add_waiter(event)

    def remove_waiter(self, event: threading.Event) -> None:
        self._stream.remove_waiter(event)
