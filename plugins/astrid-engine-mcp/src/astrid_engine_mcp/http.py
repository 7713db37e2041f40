"""A server elsewhere, spoken to over streamable HTTP.

Trusted with where the kernel's own process connects to: every connection goes to an address that
the kernel judged for it, so that a name cannot lead into the machine or its network. The
token goes to the one origin that it was configured for, and is in no log and no error.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import anyio
import httpx2
from anyio.streams.memory import MemoryObjectSendStream
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage

from astrid_engine_mcp import bounds
from astrid_engine_mcp.stdio import Ended, Log, Streams
from astrid_hookspecs.errors import AstridError

_TIMEOUT: Final = httpx2.Timeout(30.0, read=300.0)
_UNPACKED: Final = {"Accept-Encoding": "identity"}


LookUp = Callable[[], Awaitable[str]]


class Incoming(Protocol):
    """Where messages of the SDK's transport come from."""

    async def receive(self) -> SessionMessage | Exception:
        """The next message; raises `anyio.EndOfStream` at the end."""
        ...


class CheckedTransport(httpx2.AsyncBaseTransport):
    """Connects to the addresses of one host, and only to those that it may.

    Args:
        host: The only host that requests may name.
        address: Gives a judged address for it.
    """

    def __init__(self, host: str, *, address: LookUp) -> None:
        self._host = host
        self._address = address
        self._inner = httpx2.AsyncHTTPTransport(retries=0, trust_env=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request to a checked address, for the name that it was made for.

        Raises:
            httpx2.ConnectError: The host is another one, or its address is not allowed.
        """
        url = request.url
        if url.host != self._host:
            raise httpx2.ConnectError("the request names another host", request=request)
        try:
            address = await self._address()
        except AstridError as error:
            raise httpx2.ConnectError(error.message, request=request) from error
        request.extensions = {**request.extensions, "sni_hostname": self._host}
        request.url = url.copy_with(host=address)
        response = await self._inner.handle_async_request(request)
        request.url = url
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


@asynccontextmanager
async def http_streams(
    url: str, *, token: str | None, address: LookUp, ended: Ended, log: Log
) -> AsyncIterator[Streams]:
    """The streams of a server elsewhere.

    Args:
        url: As the gate agreed to.
        token: Sent as a bearer token; None for none.
        address: Gives a judged address of the host, before each connection.
        ended: Told when the other side is gone.
        log: Gets what went wrong.

    Raises:
        ServerError: `engine.server.address`: the host has none.
        DeniedError: It may not be reached.
    """
    del log
    parts = urlsplit(url)
    await address()
    headers = dict(_UNPACKED)
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    flow = bounds.Flow()
    checked = CheckedTransport(parts.hostname or "", address=address)
    client = httpx2.AsyncClient(
        transport=_Bounded(checked, ended=ended, flow=flow),
        headers=headers,
        timeout=_TIMEOUT,
        trust_env=False,
        follow_redirects=False,
    )
    async with (
        client,
        streamable_http_client(
            url, http_client=client, max_sse_event_size=bounds.MESSAGE_BYTES
        ) as (incoming, outgoing),
    ):
        to_session, from_server = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        pump = asyncio.create_task(_pump(incoming, to_session, ended=ended, flow=flow))
        watch = asyncio.create_task(_close_when(ended, to_session))
        try:
            yield from_server, outgoing
        finally:
            for task in (pump, watch):
                task.cancel()
            await asyncio.gather(pump, watch, return_exceptions=True)
            to_session.close()
            from_server.close()


async def _pump(
    incoming: Incoming,
    to_session: MemoryObjectSendStream[SessionMessage | Exception],
    *,
    ended: Ended,
    flow: bounds.Flow,
) -> None:
    """Pass messages on; one piece of a stream may hold thousands, so they are counted here."""
    with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
        while True:
            try:
                message = await incoming.receive()
            except anyio.EndOfStream:
                break
            fault = flow.fault(size_bytes=0, is_garbage=isinstance(message, Exception))
            if fault is not None:
                ended.set(fault)
                break
            await to_session.send(message)
    await to_session.aclose()


async def _close_when(
    ended: Ended, to_session: MemoryObjectSendStream[SessionMessage | Exception]
) -> None:
    """Let who waits for an answer know that none will come."""
    await ended.event.wait()
    await to_session.aclose()


class _Bounded(httpx2.AsyncBaseTransport):
    """Ends the connection when an answer is larger than any message may be, or comes too fast.

    What is counted has to be what is read, so an answer that is to be unpacked first is refused.
    """

    def __init__(
        self, inner: httpx2.AsyncBaseTransport, *, ended: Ended, flow: bounds.Flow
    ) -> None:
        self._inner = inner
        self._ended = ended
        self._flow = flow

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """As the transport inside.

        Raises:
            httpx2.ReadError: The answer is compressed.
        """
        if request.method == "POST":
            self._flow.asked()
        try:
            response = await self._inner.handle_async_request(request)
        except httpx2.ConnectError:
            self._ended.set("it cannot be reached")
            raise
        if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
            await response.aclose()
            self._ended.set("it compresses its answers, and was asked not to")
            raise httpx2.ReadError("the answer is compressed", request=request)
        is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
        response.stream = _BoundedStream(
            response.stream, ended=self._ended, total=None if is_stream else bounds.MESSAGE_BYTES
        )
        return response

    async def aclose(self) -> None:
        """As the transport inside."""
        await self._inner.aclose()


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, inner: Any, *, ended: Ended, total: int | None) -> None:
        self._inner = inner
        self._ended = ended
        self._total = total
        self._seen = 0
        self._flow = bounds.Flow()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            self._seen += len(chunk)
            fault = self._flow.fault(size_bytes=len(chunk), is_garbage=False)
            if self._total is not None and self._seen > self._total:
                fault = f"it sent a message of more than {bounds.MESSAGE_BYTES // bounds.MIB} MiB"
            if fault is not None:
                self._ended.set(fault)
                raise httpx2.ReadError(fault)
            yield chunk

    async def aclose(self) -> None:
        """As the stream inside."""
        await self._inner.aclose()
