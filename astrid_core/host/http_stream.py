"""The resources `http-stream` and `http-upload`. Spec: host-abi 7.1, 7.2, H-10, H-24."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from astrid_core.host.byte_pipe import BytePipe
from astrid_core.host.pollable import Pollable
from astrid_core.host.stream import InputStream, OutputStream

if TYPE_CHECKING:
    from astrid_core.host.http_exchange import Exchange


class HttpStream:
    """An answer whose body is read piece by piece.

    Args:
        exchange: Answered.
        dropped: Called when its slot is free.
    """

    def __init__(self, exchange: Exchange, *, dropped: Callable[[HttpStream], None]) -> None:
        self.exchange = exchange
        self.is_closed = False
        self.is_over = False
        self._dropped = dropped
        self._has_stream = False

    def subscribe(self) -> Pollable:
        """Ready when a piece, the end, a failure or the closing is there."""
        return Pollable.always_ready() if self.is_closed else Pollable(self.exchange.body.source)

    def body_stream(self) -> InputStream:
        """The body as a stream, once; after that, one that is closed."""
        if self.is_closed or self._has_stream:
            return InputStream.closed()
        self._has_stream = True
        return InputStream(self.exchange.body.source)

    def close(self) -> None:
        """Give the connection and the slot back. Closing twice is not an error."""
        if not self.is_closed:
            self.is_closed = True
            self.exchange.abort()
            self._dropped(self)

    def drop(self) -> None:
        """As `HostResource.drop`."""
        self.close()


class HttpUpload:
    """A request whose body is still being written.

    Args:
        exchange: Started.
        pipe: What the guest writes, the exchange reads.
        dropped: Called when it is given up; not when it became a stream.
    """

    def __init__(
        self, exchange: Exchange, pipe: BytePipe, *, dropped: Callable[[HttpUpload], None]
    ) -> None:
        self.exchange = exchange
        self._pipe = pipe
        self._dropped = dropped
        self._has_sink = False
        self.is_finished = False

    def body_sink(self) -> OutputStream:
        """Where the body goes, once; after that, a stream that is closed."""
        if self._has_sink or self.is_finished:
            return OutputStream.closed()
        self._has_sink = True
        return OutputStream(self._pipe.sink)

    def subscribe(self) -> Pollable:
        """Ready when there is room, or nobody takes any more."""
        return Pollable(self._pipe.sink)

    def finish(self) -> None:
        """That was all of the body."""
        self.is_finished = True
        self._pipe.sink.close()

    def drop(self) -> None:
        """As `HostResource.drop`; without `finish` the request is given up."""
        if not self.is_finished:
            self.is_finished = True
            self.exchange.abort()
            self._dropped(self)
