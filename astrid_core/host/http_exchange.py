"""One request and its answer, redirects included, on a thread of its own.

Trusted with bounds: the guest waits as long as it likes, the thread ends at the latest when the
line is cut, and what it holds of a body is one piece or what the caller allows. Every hop is
authorised anew, and connects to the addresses that were checked. Spec: host-abi 7.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import httpcore2

from astrid_core.domain.http_integrity import IntegrityText
from astrid_core.domain.http_message import (
    REDIRECTS,
    HttpRequestError,
    OutgoingRequest,
    Target,
    redirected,
)
from astrid_core.host.byte_pipe import BytePipe, PipeSource
from astrid_core.host.http_authorize import Hops
from astrid_core.host.http_bounds import LEAST_S, Bounds, HttpError
from astrid_core.host.http_decode import ACCEPTED, BombError, DecodeError, Decoder, decoder_for
from astrid_core.host.http_dialer import CheckedDialer
from astrid_core.host.http_failures import denied, foreseen
from astrid_core.host.http_network import Line, Network
from astrid_core.host.signal_flag import SignalFlag
from astrid_core.host.threads import started_thread
from astrid_hookspecs.errors import AuditError, DeniedError, QuotaExceededError

PIPE_BYTES: Final = 256 * 1024
_LOOK_S: Final = 0.5
_GIVEN_UP: Final = "closed"
_numbers: Final = itertools.count(1)


class Exchange:
    """Starts with `start`; everything else may be asked from any thread.

    Args:
        request: What is sent.
        bounds: Of all of it.
        hops: Authorises and records each hop, on the thread of the exchange.
        network: Certificates.
        ended: Called when its thread ends.
        upload: Where the body comes from; None sends that of the request.

    Attributes:
        answered: Ready when there is a head, or a failure instead.
        body: What the server sends, decoded.
        status: Of the answer; 0 before.
        headers: Names in lower case, in order, duplicates kept.
        target: Of the hop that was answered.
        hops: Redirects that were followed.
        wire_bytes: Of the body, so far.
        bounds: As given.
        failure: Why it ended early; None while it has not.
    """

    def __init__(
        self,
        request: OutgoingRequest,
        *,
        bounds: Bounds,
        hops: Hops,
        network: Network,
        ended: Callable[[], None],
        upload: PipeSource | None = None,
    ) -> None:
        self.answered = SignalFlag()
        self.body = BytePipe(capacity=PIPE_BYTES)
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.target: Target = request.target
        self.hops = 0
        self.wire_bytes = 0
        self.failure: HttpError | None = None
        self._request = request
        self.bounds = bounds
        self._gates = hops
        self._network = network
        self._ended = ended
        self._upload = upload
        self._integrity = None if bounds.integrity is None else IntegrityText(bounds.integrity)
        self._line = Line()
        self._began = time.monotonic()
        self._timeouts: dict[str, float] = {}

    def start(self) -> None:
        """Send it, on a new thread.

        Raises:
            QuotaExceededError: The system has no more threads.
        """
        name = f"astrid-http-{next(_numbers)}"
        try:
            started_thread(self._run, name=name, rule="http.threads")
        except QuotaExceededError:
            self._ended()
            raise

    def abort(self, case: str = _GIVEN_UP) -> None:
        """Give up: who waits for the exchange hears why, the thread ends soon."""
        self._fail(HttpError(case))
        self._line.cut()

    def left_s(self) -> float | None:
        """What is left of the total time."""
        if self.bounds.total_s is None:
            return None
        return max(0.0, self._began + self.bounds.total_s - time.monotonic())

    @property
    def elapsed_ms(self) -> int:
        """Since it began."""
        return int((time.monotonic() - self._began) * 1000)

    # Below: on the thread of the exchange.

    def _run(self) -> None:
        try:
            self._follow(self._request)
        except HttpError as error:
            self._fail(error)
        except AuditError:
            self._fail(HttpError("unknown", "it could not be recorded"))
        except Exception as error:  # noqa: BLE001 - the guest gets a typed answer, whatever it was
            self._fail(foreseen(error, is_answered=self.answered.is_ready()))
        finally:
            self.body.sink.close()
            if self._upload is not None:
                self._upload.close()
            self._ended()

    def _follow(self, request: OutgoingRequest) -> None:
        while True:
            if self.bounds.https_only and request.target.scheme != "https":
                raise HttpError("scheme-denied")
            with self._sent(request) as response:
                following = self._redirect(request, response)
                if following is None:
                    self._answer(request, response)
                    return
            request = following

    @contextlib.contextmanager
    def _sent(self, request: OutgoingRequest) -> Iterator[httpcore2.Response]:
        """Authorise, connect, send, and read the head of the answer."""
        try:
            addresses = self._gates.authorize(request)
        except DeniedError as error:
            raise denied(error, is_redirect=self.hops > 0) from error
        target = request.target
        uploads = self._upload is not None and self.hops == 0
        headers = request.wire_headers(is_streamed=uploads)
        names = {name.lower() for name, _ in headers}
        if self.bounds.decodes and b"accept-encoding" not in names:
            headers.append((b"Accept-Encoding", ACCEPTED.encode()))
        bounds = self.bounds
        self._timeouts = {
            "connect": self._within(bounds.connect_s),
            "read": self._within(bounds.first_byte_s),
            "write": self._within(bounds.first_byte_s),
        }
        connection = httpcore2.HTTPConnection(
            httpcore2.Origin(target.scheme.encode(), target.host.encode(), target.port),
            ssl_context=self._network.tls() if target.scheme == "https" else None,
            network_backend=CheckedDialer(addresses, self._line),
        )
        try:
            yield connection.handle_request(
                httpcore2.Request(
                    request.method.encode(),
                    httpcore2.URL(
                        scheme=target.scheme,
                        host=target.host,
                        port=target.port,
                        target=target.path.encode(),
                    ),
                    headers=headers,
                    content=self._uploaded() if uploads else request.body,
                    extensions={"timeout": self._timeouts},
                )
            )
        finally:
            connection.close()
            self._line.release()

    def _within(self, bound_s: float) -> float:
        left = self.left_s()
        if left is not None and left <= 0:
            raise HttpError("timeout")
        return max(LEAST_S, bound_s if left is None else min(bound_s, left))

    def _redirect(
        self, request: OutgoingRequest, response: httpcore2.Response
    ) -> OutgoingRequest | None:
        location = _first(response.headers, b"location")
        if response.status not in REDIRECTS or location is None:
            return None
        if self.bounds.redirect == "manual":
            return None
        if self.bounds.redirect == "error":
            raise HttpError("redirect-blocked")
        if self.hops >= self.bounds.max_redirects:
            raise HttpError("too-many-redirects")
        self.hops += 1
        try:
            following = redirected(request, response.status, location)
        except HttpRequestError as error:
            raise HttpError(error.case, str(error)) from error
        if self._upload is not None and following.method == request.method:
            raise HttpError("protocol", "a body that was streamed cannot be sent again")
        return following

    def _answer(self, request: OutgoingRequest, response: httpcore2.Response) -> None:
        headers = [
            (name.decode("latin-1").lower(), value.decode("latin-1"))
            for name, value in response.headers
        ]
        decoder = self._decoder(headers)
        if decoder is not None:
            removed = {"content-encoding", "content-length"}
            headers = [pair for pair in headers if pair[0] not in removed]
        self.headers, self.target, self.status = headers, request.target, response.status
        self._timeouts["read"] = self._within(self.bounds.gap_s)
        self._gates.answered(request, response.status)
        self.answered.set()
        self._receive(response.iter_stream(), decoder)

    def _decoder(self, headers: Sequence[tuple[str, str]]) -> Decoder | None:
        if not self.bounds.decodes:
            return None
        codings = [
            coding.strip().lower()
            for name, value in headers
            if name == "content-encoding"
            for coding in value.split(",")
        ]
        try:
            return decoder_for([coding for coding in codings if coding], look=self._look)
        except DecodeError as error:
            raise HttpError("protocol", str(error)) from error

    def _receive(self, chunks: Iterator[bytes], decoder: Decoder | None) -> None:
        limit, decoded = self.bounds.body_bytes, 0
        try:
            for chunk in chunks:
                self.wire_bytes += len(chunk)
                if limit is not None and self.wire_bytes > limit:
                    raise HttpError("body-too-large")
                for piece in (chunk,) if decoder is None else decoder.feed(chunk):
                    decoded += len(piece)
                    if decoder is not None and decoded > self.bounds.decoded_bytes:
                        raise HttpError("decompression-bomb")
                    self._deliver(piece)
                self._timeouts["read"] = self._within(self.bounds.gap_s)
            if decoder is not None:
                decoder.finish()
        except BombError as error:
            raise HttpError("decompression-bomb") from error
        except DecodeError as error:
            raise HttpError("protocol", f"the body cannot be decoded: {error}") from error
        if self._integrity is not None and not self._integrity.matches():
            raise HttpError("integrity-mismatch")

    def _look(self) -> None:
        """Whether there is still somebody to decode for, and time."""
        if self._line.is_cut:
            raise HttpError(_GIVEN_UP)
        self._within(self.bounds.gap_s)

    def _deliver(self, piece: bytes) -> None:
        """Hand a piece over as soon as there is room."""
        if self._integrity is not None:
            self._integrity.feed(piece)
        sink = self.body.sink
        changed = threading.Event()
        sink.add_waiter(changed)
        try:
            while sink.capacity() <= 0:
                changed.wait(_LOOK_S)
                changed.clear()
                self._within(self.bounds.gap_s)
            sink.write(piece)
        except OSError as error:  # the guest has gone
            raise HttpError("closed") from error
        finally:
            sink.remove_waiter(changed)

    def _uploaded(self) -> Iterator[bytes]:
        """What the guest writes, until it says that this was all."""
        source = self._upload
        changed = threading.Event()
        if source is None:
            return
        source.add_waiter(changed)
        try:
            while (data := source.read(PIPE_BYTES)) is not None:
                if data:
                    yield data
                elif self._line.is_cut:
                    raise HttpError("closed")
                else:
                    changed.wait(_LOOK_S)
                    changed.clear()
        finally:
            source.remove_waiter(changed)

    def _fail(self, error: HttpError) -> None:
        """The first failure counts, and none after the end of the body."""
        if self.failure is None and not self.body.writer_gone:
            self.failure = error
            if error.case != _GIVEN_UP:
                self._gates.failed(self._request, error.case)
            self.body.fail(OSError(0, error.case))
        self.answered.set()


def _first(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> str | None:
    found = next((value for key, value in headers if key.lower() == name), None)
    return None if found is None else found.decode("latin-1")
