"""A TCP connection, and what accepts one. Made by `net`.

Spec: astrid:net@1.0.0 tcp-stream, tcp-listener, unix-listener.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Generic, Literal, TypeVar, cast, overload

from astrid_sdk.bindings import host_type
from astrid_sdk.net_calls import Address, Socket, parse_address
from astrid_sdk.net_errors import NetWouldBlockError
from astrid_sdk.poll import Pollable
from astrid_sdk.times import milliseconds, seconds

PIECE_BYTES: Final = 1024 * 1024
"""Most bytes that one call of a handle moves here."""
_READ_BYTES: Final = 64 * 1024
_T = TypeVar("_T")


def _same(value: Any) -> Any:
    return value


class _Option(Generic[_T]):
    """An option of a connection, as an attribute."""

    def __init__(
        self, name: str, *, lower: Callable[[Any], Any] = _same, lift: Callable[[Any], Any] = _same
    ) -> None:
        self._name = name
        self._lower = lower
        self._lift = lift

    @overload
    def __get__(self, stream: None, owner: type) -> _Option[_T]: ...
    @overload
    def __get__(self, stream: TcpStream, owner: type) -> _T: ...

    def __get__(self, stream: TcpStream | None, owner: type) -> _Option[_T] | _T:
        if stream is None:
            return self
        return cast("_T", self._lift(stream.ask(self._name)))

    def __set__(self, stream: TcpStream, value: _T) -> None:
        stream.ask(f"set_{self._name}", self._lower(value))


class TcpStream(Socket):
    """A connection. Use either frames or bytes, not a mixture.

    Attributes:
        nodelay: Whether small pieces are sent at once.
        read_timeout: Seconds that reading waits; None for ever, 0 not at all.
        write_timeout: The same for writing.
        hop_limit: How many routers a packet may pass, 1 to 255.
        keepalive: Seconds after which an idle connection is probed, None for never.
        linger: Seconds that unsent bytes may take after closing, None for the usual.
        reuse_address: Whether the local address may be used again soon.
    """

    nodelay = _Option[bool]("nodelay")
    read_timeout = _Option[float | None]("read_timeout", lower=milliseconds, lift=seconds)
    write_timeout = _Option[float | None]("write_timeout", lower=milliseconds, lift=seconds)
    hop_limit = _Option[int]("hop_limit")
    keepalive = _Option[int | None]("keepalive")
    linger = _Option[float | None]("linger", lower=milliseconds, lift=seconds)
    reuse_address = _Option[bool]("reuseaddr")

    def read(self, max_bytes: int = _READ_BYTES) -> bytes:
        """At least one byte, as soon as there is one; empty when the peer is done.

        Raises:
            NetError: `NetWouldBlockError` after `read_timeout`, `ConnectionResetError`.
        """
        data: bytes = self._call("read_bytes", min(max_bytes, PIECE_BYTES))
        return data

    def read_exactly(self, count: int) -> bytes:
        """So many bytes.

        Raises:
            EOFError: The peer was done before.
            NetError: As `read`; what came until then is lost.
        """
        found = bytearray()
        while len(found) < count:
            piece = self.read(count - len(found))
            if not piece:
                raise EOFError(f"the peer ended after {len(found)} of {count} bytes")
            found += piece
        return bytes(found)

    def peek(self, max_bytes: int = _READ_BYTES) -> bytes:
        """As `read`; the bytes stay for the next one. Raises as `read`."""
        data: bytes = self._call("peek", min(max_bytes, PIECE_BYTES))
        return data

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of it.

        Raises:
            NetError: `NetWouldBlockError` after `write_timeout`, when a part of it may be sent;
                `ConnectionResetError`.
        """
        rest = memoryview(data).cast("B")
        while rest:
            sent: int = self._call("write_bytes", bytes(rest[:PIECE_BYTES]))
            rest = rest[sent:]

    def read_frame(self, *, wait: bool = True) -> bytes | None:
        """What the peer sent as one frame; None at the end. A frame is its length, then itself.

        Args:
            wait: For a frame to begin; otherwise there is an error after 50 ms.

        Raises:
            NetError: `NetWouldBlockError`; `NetUnavailableError` for a frame that is too long or
                does not end, after which the connection is closed.
            PollError: `CancelledError` when the host stops the capsule.
        """
        while True:
            status = self._call("read")
            case = type(status).__name__.rpartition("_")[2]
            if case == "Data":
                data: bytes = status.value
                return data
            if case == "Closed":
                return None
            if not wait:
                raise NetWouldBlockError("net", "read", "would-block")
            with self.ready() as pollable:
                pollable.block()

    def write_frame(self, data: bytes) -> None:
        """Send one frame of at most 2.6 MB; raises as `write`."""
        self._call("write", data)

    def shutdown(self, how: Literal["receive", "send", "both"] = "both") -> None:
        """End a direction; the peer then reads to its end. Again is no error.

        Raises:
            NetError: `NetClosedError`.
        """
        self._call("shutdown", host_type("net", "ShutdownHow")[how.upper()])

    @property
    def peer(self) -> Address:
        """Where the peer is."""
        return parse_address(self._call("peer_addr"))

    @property
    def local(self) -> Address:
        """Where this side is."""
        return parse_address(self._call("local_addr"))

    def ask(self, name: str, *arguments: object) -> Any:
        """Call a method of the resource; for the attributes."""
        return self._call(name, *arguments)


class Listener(Socket):
    """Takes connections."""

    def accept(self, timeout: float | None = None) -> TcpStream | None:
        """The next connection.

        Args:
            timeout: Seconds, at most a minute; None waits until somebody comes.

        Returns:
            None when nobody came in time, or the capsule has as many connections as it may.

        Raises:
            NetError: `NetQuotaError` without a time-out, `NetClosedError`.
        """
        if timeout is None:
            return TcpStream(self._call("accept"))
        found = self._call("poll_accept", milliseconds(timeout))
        return None if found is None else TcpStream(found)

    def ready(self) -> Pollable:
        """As `Socket.ready`."""
        return Pollable(self._call("subscribe_readiness"))


class TcpListener(Listener):
    """A listening TCP socket."""

    @property
    def local(self) -> Address:
        """Where it listens, with the port that it got."""
        return parse_address(self._call("local_addr"))
