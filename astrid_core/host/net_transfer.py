"""Functions that move bytes of a `tcp-stream`: frames, raw bytes, streams. Spec: host-abi 12.3."""

from __future__ import annotations

from typing import Final

from astrid_core.host.handlers import handles
from astrid_core.host.net_access import NetPackage
from astrid_core.host.net_stream import (
    HEADER_BYTES,
    MAX_FRAME_BYTES,
    TcpSink,
    TcpSource,
    TcpStream,
)
from astrid_core.host.pollable import Pollable
from astrid_core.host.stream import InputStream, OutputStream
from astrid_hookspecs.engines import WitError

HEADER_S: Final = 0.05
BODY_S: Final = 5.0


class TransferHost(NetPackage):
    """The methods of `tcp-stream` that read and write."""

    @handles("[method]tcp-stream.read")
    def read(self, stream: TcpStream) -> tuple[str, bytes | None]:
        """One frame. What came of its header stays for the next call. Spec: host-abi H-27."""
        try:
            if not self._has(stream, HEADER_BYTES, HEADER_S):
                return ("pending", None)
            length = int.from_bytes(stream.received[:HEADER_BYTES], "big")
            is_whole = length <= MAX_FRAME_BYTES and self._has(
                stream, HEADER_BYTES + length, BODY_S + length / 1024 / 1000
            )
        except (OSError, WitError):
            return ("closed", None)
        if not is_whole:
            stream.close()
            raise WitError("unknown", "the frame is too long, or came too late")
        frame = bytes(stream.received[HEADER_BYTES : HEADER_BYTES + length])
        del stream.received[: HEADER_BYTES + length]
        return ("data", frame)

    @handles("[method]tcp-stream.write")
    def write(self, stream: TcpStream, data: bytes) -> None:
        """One frame, whole."""
        if len(data) > MAX_FRAME_BYTES:
            raise WitError("unknown", f"a frame has at most {MAX_FRAME_BYTES} bytes")
        rest = memoryview(len(data).to_bytes(HEADER_BYTES, "big") + data)
        total = len(rest)
        while rest:
            sent = self._send(stream, rest)
            if sent is None:
                if len(rest) < total:  # the peer has a part of it, and nothing else can follow
                    stream.close()
                raise WitError("would-block")
            rest = rest[sent:]

    @handles("[method]tcp-stream.read-bytes")
    def read_bytes(self, stream: TcpStream, max_bytes: int) -> bytes:
        """At least one byte; none at the end."""
        return self._taken(stream, max_bytes, keep=False)

    @handles("[method]tcp-stream.peek")
    def peek(self, stream: TcpStream, max_bytes: int) -> bytes:
        """As `read-bytes`, without taking them; of TCP connections only."""
        if stream.is_local:
            raise WitError("not-tcp")
        return self._taken(stream, max_bytes, keep=True)

    @handles("[method]tcp-stream.write-bytes")
    def write_bytes(self, stream: TcpStream, data: bytes) -> int:
        """Some of them, at least one."""
        if not data:
            return 0
        sent = self._send(stream, memoryview(data))
        if sent is None:
            raise WitError("would-block")
        return sent

    @handles("[method]tcp-stream.subscribe-readable")
    def subscribe_readable(self, stream: TcpStream) -> Pollable:
        """Ready when reading would return at once."""
        return Pollable(stream.readable)

    @handles("[method]tcp-stream.read-stream")
    def read_stream(self, stream: TcpStream) -> InputStream:
        """The incoming bytes."""
        return InputStream(TcpSource(stream))

    @handles("[method]tcp-stream.write-stream")
    def write_stream(self, stream: TcpStream) -> OutputStream:
        """The outgoing bytes."""
        return OutputStream(TcpSink(stream))

    def _has(self, stream: TcpStream, wanted: int, timeout_s: float) -> bool:
        def attempt() -> bool | None:
            return stream.receive(wanted) or None

        found = self._access.until(attempt, stream.arriving, timeout_s=timeout_s)
        if len(stream.received) >= wanted:
            return True
        if found:
            raise WitError("closed")  # that was all
        return False

    def _taken(self, stream: TcpStream, max_bytes: int, *, keep: bool) -> bytes:
        data = self._access.until(
            lambda: stream.take(max_bytes, keep=keep),
            stream.readable,
            timeout_s=_seconds(stream.read_timeout_ms),
        )
        if data is None:
            raise WitError("would-block")
        return data

    def _send(self, stream: TcpStream, data: memoryview) -> int | None:
        return self._access.until(
            lambda: stream.send(data),
            stream.writable,
            timeout_s=_seconds(stream.write_timeout_ms),
        )


def _seconds(timeout_ms: int | None) -> float | None:
    return None if timeout_ms is None else timeout_ms / 1000
