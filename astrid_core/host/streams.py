"""Host functions of `astrid:io/error@1.0.0` and `astrid:io/streams@1.0.0`. Spec: host-abi 9.2."""

from __future__ import annotations

from astrid_core.host.handlers import HostPackage, handles
from astrid_core.host.instance import Waited
from astrid_core.host.pollable import Pollable
from astrid_core.host.stream import (
    MAX_PERMIT_BYTES,
    MAX_TRANSFER_BYTES,
    ErrorResource,
    InputStream,
    OutputStream,
)
from astrid_hookspecs.cancel import WaitSource
from astrid_hookspecs.engines import WitError


class ErrorHost(HostPackage):
    """The method of `error`."""

    interface = "astrid:io/error@1.0.0"

    @handles("[method]error.to-debug-string")
    def to_debug_string(self, error: ErrorResource) -> str:
        """What happened, for people."""
        return error.text


class StreamsHost(HostPackage):
    """The methods of `input-stream` and `output-stream`."""

    interface = "astrid:io/streams@1.0.0"
    denied_case = "closed"
    quota_case = "closed"

    @handles("[method]input-stream.read")
    def read(self, stream: InputStream, length: int) -> bytes:
        """What is there now."""
        return stream.read(length)

    @handles("[method]input-stream.blocking-read")
    def blocking_read(self, stream: InputStream, length: int) -> bytes:
        """Wait for at least one byte."""
        while True:
            data = stream.read(length)
            if data or length == 0:
                return data
            self._wait(stream)

    @handles("[method]input-stream.skip")
    def skip(self, stream: InputStream, length: int) -> int:
        """As `read`, without handing the bytes over."""
        return len(stream.read(length))

    @handles("[method]input-stream.blocking-skip")
    def blocking_skip(self, stream: InputStream, length: int) -> int:
        """As `blocking-read`, without handing the bytes over."""
        return len(self.blocking_read(stream, length))

    @handles("[method]input-stream.subscribe")
    def subscribe_input(self, stream: InputStream) -> Pollable:
        """Ready when `read` would bring bytes or `closed`."""
        return stream.subscribe()

    @handles("[method]output-stream.check-write")
    def check_write(self, stream: OutputStream) -> int:
        """The permit for the next `write`."""
        return stream.check_write()

    @handles("[method]output-stream.write")
    def write(self, stream: OutputStream, contents: bytes) -> None:
        """Write within the permit; more traps."""
        stream.write(contents)

    @handles("[method]output-stream.blocking-write-and-flush")
    def blocking_write_and_flush(self, stream: OutputStream, contents: bytes) -> None:
        """Write any number of bytes and wait until they are delivered."""
        rest = memoryview(contents)
        while rest:
            permit = self._wait_for_permit(stream)
            stream.write(bytes(rest[:permit]))
            rest = rest[permit:]
        self.blocking_flush(stream)

    @handles("[method]output-stream.flush")
    def flush(self, stream: OutputStream) -> None:
        """Start to deliver."""
        stream.flush()

    @handles("[method]output-stream.blocking-flush")
    def blocking_flush(self, stream: OutputStream) -> None:
        """Deliver, and wait for it."""
        stream.flush()
        while not stream.is_flushed():
            self._wait(stream.flushed())

    @handles("[method]output-stream.subscribe")
    def subscribe_output(self, stream: OutputStream) -> Pollable:
        """Ready when `check-write` would permit something, or the stream is closed."""
        return stream.subscribe()

    @handles("[method]output-stream.write-zeroes")
    def write_zeroes(self, stream: OutputStream, length: int) -> None:
        """Write zero bytes within the permit; more traps."""
        stream.write_zeroes(length)

    @handles("[method]output-stream.blocking-write-zeroes-and-flush")
    def blocking_write_zeroes_and_flush(self, stream: OutputStream, length: int) -> None:
        """Write any number of zero bytes, in pieces, and wait until they are delivered."""
        while length:
            piece = min(self._wait_for_permit(stream), length, MAX_PERMIT_BYTES)
            stream.write(bytes(piece))
            length -= piece
        self.blocking_flush(stream)

    @handles("[method]output-stream.splice")
    def splice(self, stream: OutputStream, source: InputStream, length: int) -> int:
        """Move what is there and fits, inside the host."""
        data = source.read(min(length, stream.check_write(), MAX_TRANSFER_BYTES))
        if data:
            stream.write(data)
        return len(data)

    @handles("[method]output-stream.blocking-splice")
    def blocking_splice(self, stream: OutputStream, source: InputStream, length: int) -> int:
        """Wait for data and for space, then move once."""
        while length:
            self._wait_for_permit(stream)
            moved = self.splice(stream, source, length)
            if moved:
                return moved
            self._wait(source)
        return 0

    def _wait_for_permit(self, stream: OutputStream) -> int:
        while True:
            permit = stream.check_write()
            if permit:
                return permit
            self._wait(stream)

    def _wait(self, source: WaitSource) -> None:
        if self.instance.wait((source,), timeout_s=None) is not Waited.READY:
            raise WitError("closed")
