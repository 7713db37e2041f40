"""Host functions of `astrid:http@1.0.0` and `@1.1.0`.

Trusted with the order of checks: the request, the slots, and then, on the thread of the exchange,
the gate, the addresses, the audit log and the wire; every redirect goes through the latter again.
Spec: host-abi 7, H-21 to H-25.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from astrid_core.domain.http_message import HttpRequestError, OutgoingRequest, parse_request
from astrid_core.host.byte_pipe import BytePipe
from astrid_core.host.handlers import HostPackage, handles
from astrid_core.host.http_authorize import Hops
from astrid_core.host.http_bounds import Bounds, HttpError
from astrid_core.host.http_records import (
    MetaRecord,
    OptionsRecord,
    RequestRecord,
    Response11Record,
    ResponseRecord,
    buffered_bounds,
    old_answer,
    stream_bounds,
)
from astrid_core.host.http_stream import HttpStream, HttpUpload
from astrid_core.host.instance import Instance, Waited
from astrid_core.host.pollable import Pollable
from astrid_core.host.stream import InputStream, OutputStream
from astrid_hookspecs.cancel import WaitSource
from astrid_hookspecs.engines import WitError
from astrid_hookspecs.errors import QuotaExceededError

if TYPE_CHECKING:
    from astrid_core.host.http_exchange import Exchange

MAX_STREAMS: Final = 4
CHUNK_BYTES: Final = 256 * 1024
_TEXT_CASES: Final = frozenset({"protocol", "unknown"})


class Slots:
    """The streams and uploads of an instance, of both versions together.

    Args:
        instance: What they end with.
    """

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._live: set[HttpStream | HttpUpload] = set()

    def check(self) -> None:
        """Make sure that there is a slot.

        Raises:
            QuotaExceededError: All are taken.
        """
        if len(self._live) >= MAX_STREAMS:
            raise QuotaExceededError(
                f"a capsule has at most {MAX_STREAMS} requests open", rule="http.streams"
            )

    def take(self, resource: HttpStream | HttpUpload) -> None:
        """Count it, and drop it at the end of the instance."""
        self._live.add(resource)
        self._instance.hold(resource)

    def give_back(self, resource: HttpStream | HttpUpload) -> None:
        """It is gone."""
        self._live.discard(resource)
        self._instance.release(resource)


class HttpHost(HostPackage):
    """The functions of `astrid:http/host@1.0.0`."""

    interface = "astrid:http/host@1.0.0"
    decodes = False

    def __init__(self, instance: Instance) -> None:
        super().__init__(instance)
        self._slots = instance.package(Slots)

    @handles("http-request")
    def http_request(self, request: RequestRecord) -> object:
        """Send a request and wait for all of the answer."""
        exchange, body = self._fetched(request, buffered_bounds(None, decodes=self.decodes))
        return ResponseRecord(exchange.status, exchange.headers, body)

    @handles("http-stream-start")
    def http_stream_start(self, request: RequestRecord) -> HttpStream:
        """Send a request and wait for the head of the answer."""
        return self._opened(request, stream_bounds(None, decodes=self.decodes))

    @handles("[method]http-stream.status")
    def status(self, stream: HttpStream) -> int:
        """Of the answer; 0 once it is closed."""
        return 0 if stream.is_closed else stream.exchange.status

    @handles("[method]http-stream.headers")
    def headers(self, stream: HttpStream) -> list[tuple[str, str]]:
        """Of the answer; none once it is closed."""
        return [] if stream.is_closed else stream.exchange.headers

    @handles("[method]http-stream.read-chunk")
    def read_chunk(self, stream: HttpStream) -> bytes:
        """The next piece; empty at the end, and at each call after it."""
        if stream.is_closed:
            raise WitError("closed")
        if stream.is_over:
            return b""
        exchange = stream.exchange
        while True:
            data = self._read(exchange)
            if data is None:
                stream.is_over = True
                return b""
            if data:
                return data
            self._wait(exchange, exchange.body.source, bound_s=exchange.bounds.gap_s)

    @handles("[method]http-stream.close")
    def close(self, stream: HttpStream) -> None:
        """Free the slot; always succeeds."""
        stream.close()

    @handles("[method]http-stream.subscribe-readable")
    def subscribe_readable(self, stream: HttpStream) -> Pollable:
        """Ready when `read-chunk` would not wait."""
        return stream.subscribe()

    @handles("[method]http-stream.body-stream")
    def body_stream(self, stream: HttpStream) -> InputStream:
        """The body as a stream, over the same cursor."""
        return stream.body_stream()

    def _error(self, error: HttpError) -> WitError:
        """The answer of a failed request; 1.0 has fewer cases."""
        return old_answer(error)

    def _fetched(self, request: RequestRecord, bounds: Bounds) -> tuple[Exchange, bytes]:
        exchange = self._begin(self._parse(request), bounds)
        try:
            self._await_answer(exchange, bounds)
            body = bytearray()
            while (data := self._read(exchange)) is not None:
                body += data
                if not data:
                    self._wait(exchange, exchange.body.source, bound_s=None)
            return exchange, bytes(body)
        finally:
            exchange.abort()

    def _opened(self, request: RequestRecord, bounds: Bounds) -> HttpStream:
        outgoing = self._parse(request)
        self._slots.check()
        exchange = self._begin(outgoing, bounds)
        self._await_answer(exchange, bounds)
        return self._stream(exchange)

    def _stream(self, exchange: Exchange) -> HttpStream:
        stream = HttpStream(exchange, dropped=self._slots.give_back)
        self._slots.take(stream)
        return stream

    def _parse(self, request: RequestRecord, *, with_body: bool = True) -> OutgoingRequest:
        url, method, headers, body = request
        try:
            return parse_request(url, method, headers, body if with_body else None)
        except HttpRequestError as error:
            raise self._error(HttpError(error.case, str(error))) from error

    def _begin(
        self, request: OutgoingRequest, bounds: Bounds, *, upload: BytePipe | None = None
    ) -> Exchange:
        # The client library is loaded with the first request and not with the kernel.
        from astrid_core.host.http_exchange import Exchange  # noqa: PLC0415 - as above

        hops = Hops(self.instance)
        network = self.instance.services.network
        exchange = Exchange(
            request,
            bounds=bounds,
            hops=hops,
            network=network,
            ended=network.begin_request(self.instance.context.id, self.instance.principal),
            upload=None if upload is None else upload.source,
        )
        exchange.start()
        return exchange

    def _await_answer(self, exchange: Exchange, bounds: Bounds) -> None:
        self._wait(exchange, exchange.answered, bound_s=bounds.connect_s + bounds.first_byte_s)
        if exchange.failure is not None and not exchange.status:
            raise self._error(exchange.failure)

    def _read(self, exchange: Exchange) -> bytes | None:
        try:
            return exchange.body.source.read(CHUNK_BYTES)
        except OSError as error:
            raise self._error(exchange.failure or HttpError("closed")) from error

    def _wait(self, exchange: Exchange, source: WaitSource, *, bound_s: float | None) -> None:
        left_s = exchange.left_s()
        bounds = [bound for bound in (left_s, bound_s) if bound is not None]
        waited = self.instance.wait((source,), timeout_s=min(bounds, default=None))
        if waited is not Waited.READY:
            case = "timeout" if waited is Waited.TIMEOUT else "closed"
            exchange.abort(case)
            raise WitError(case)


class HttpHost11(HttpHost):
    """The functions of `astrid:http/host@1.1.0`."""

    interface = "astrid:http/host@1.1.0"
    decodes = True

    @handles("http-request")
    def http_request(self, request: RequestRecord) -> Response11Record:
        """As with options that say nothing."""
        return self.http_request_opts(request, None)

    @handles("http-request-opts")
    def http_request_opts(
        self, request: RequestRecord, options: OptionsRecord | None
    ) -> Response11Record:
        """Send a request and wait for all of the answer."""
        exchange, body = self._fetched(request, buffered_bounds(options, decodes=True))
        meta = MetaRecord(
            exchange.target.href, exchange.hops, exchange.elapsed_ms, exchange.wire_bytes
        )
        return Response11Record(exchange.status, exchange.headers, body, meta)

    @handles("http-stream-start-opts")
    def http_stream_start_opts(self, request: RequestRecord, options: OptionsRecord) -> HttpStream:
        """Send a request and wait for the head of the answer."""
        return self._opened(request, stream_bounds(options, decodes=True))

    @handles("http-upload-start")
    def http_upload_start(self, request: RequestRecord, options: OptionsRecord) -> HttpUpload:
        """Begin a request whose body is written afterwards."""
        bounds = stream_bounds(options, decodes=True)
        outgoing = self._parse(request, with_body=False)
        self._slots.check()
        pipe = BytePipe()
        exchange = self._begin(outgoing, bounds, upload=pipe)
        upload = HttpUpload(exchange, pipe, dropped=self._slots.give_back)
        self._slots.take(upload)
        return upload

    @handles("[method]http-upload.body-sink")
    def body_sink(self, upload: HttpUpload) -> OutputStream:
        """Where the body is written to."""
        return upload.body_sink()

    @handles("[method]http-upload.subscribe-writable")
    def subscribe_writable(self, upload: HttpUpload) -> Pollable:
        """Ready when the sink takes bytes, or never will."""
        return upload.subscribe()

    @handles("[method]http-upload.finish")
    def finish(self, upload: HttpUpload) -> HttpStream:
        """End the body and wait for the head of the answer."""
        if upload.is_finished:
            raise WitError("closed")
        upload.finish()
        self._slots.give_back(upload)
        exchange = upload.exchange
        self._await_answer(exchange, exchange.bounds)
        return self._stream(exchange)

    @handles("[method]http-stream.trailers")
    def trailers(self, stream: HttpStream) -> None:
        """None: the client library does not keep them. Before the end there is no telling."""
        if not stream.is_over:
            raise WitError("protocol", "the body is not over")

    def _error(self, error: HttpError) -> WitError:
        if error.case in _TEXT_CASES:
            return WitError(error.case, error.text)
        return WitError(error.case)
