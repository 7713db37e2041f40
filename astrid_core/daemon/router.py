"""Decides what a client's frame means and answers it.

Trusted with whom a frame acts for: the connection's principal, or one that it names and may speak
for. Frames that are no messages end the connection; everything else that is wrong is an error
answer with a stable code. Runs on the event loop.
Spec: kernel-and-security 3.5, 4, 16 D-12, D-13, D-14, D-17.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from astrid_core.daemon.answering import Answering
from astrid_core.daemon.connection import Connection
from astrid_core.daemon.deadlines import Deadlines
from astrid_core.daemon.requests import Requests
from astrid_core.daemon.tool_call import ClientCall
from astrid_core.daemon.unread import address_of, check_effort
from astrid_core.domain.kernel_request import (
    KernelRequest,
    Reply,
    RequestError,
    client_frame,
    error_answer,
    parse_request,
    request_id_of,
    response_topic,
    text_param,
)
from astrid_core.domain.payload import PayloadError
from astrid_core.domain.payload_message import WireMessage, format_timestamp, parse_message
from astrid_core.domain.request_topics import REQUEST_PREFIX
from astrid_core.domain.topic import check_publish_topic, is_admin_request
from astrid_core.kernel.clients import ClientAccess
from astrid_core.kernel.failures import for_client
from astrid_hookspecs.buses import Attribution, Envelope
from astrid_hookspecs.errors import AstridError, QuotaExceededError, RemoteProtocolError
from astrid_hookspecs.values import NIL_SOURCE, Principal, parse_principal

MAX_SUBSCRIPTIONS: Final = 128
CLOSE_TIMEOUT_S: Final = 10.0
ResultT = TypeVar("ResultT")


class _Subscription(NamedTuple):
    """Key of a subscription on its connection."""

    principal: Principal
    pattern: str


class _Presence:
    """Ends long work at its next report once the client that asked for it has gone."""

    def __init__(self) -> None:
        self._is_over = False

    def end(self) -> None:
        """The client has gone."""
        self._is_over = True

    def __call__(self, step: str, fraction: float | None) -> None:  # noqa: ARG002 - the contract
        """As `astrid_hookspecs.engines.Progress`."""
        if self._is_over:
            raise RequestError(f"the client went away while {step}", code="request.abandoned")


class Router:
    """Handles the frames of authenticated connections.

    Args:
        clients: Checks and acts.
        requests: Does what kernel requests ask for.
        answering: Authorises them; closed by the caller.
        source_id: Under which the kernel answers.
    """

    def __init__(
        self,
        clients: ClientAccess,
        requests: Requests,
        answering: Answering,
        *,
        source_id: str = NIL_SOURCE,
    ) -> None:
        self._clients = clients
        self._requests = requests
        self._answering = answering
        self._source_id = source_id
        self._loop = asyncio.get_running_loop()
        self._deadlines = Deadlines(self._loop)
        self._tasks: set[asyncio.Task[None]] = set()

    def handle(self, connection: Connection, body: bytes) -> None:
        """Act on a frame.

        Raises:
            RemoteProtocolError: It is no message.
        """
        try:
            check_effort(body)
            message = parse_message(body, now=format_timestamp(time.time_ns()))
        except (PayloadError, QuotaExceededError) as error:
            self._refuse(connection, body, error)
            return
        if connection.is_left and _is_request(message.topic):
            return  # up to a pipe full of them would be worked for nobody; messages need no answer
        if self._clients.may_wait:
            connection.hold()
            self._begin(connection, self._act_aside(connection, message))
        else:
            self._act(connection, message)

    def _act(self, connection: Connection, message: WireMessage) -> None:
        topic = response_topic(message.topic)
        try:
            check_publish_topic(message.topic)
            principal, attribution = self._attributed(connection, message)
            if message.topic.startswith(REQUEST_PREFIX):
                request = parse_request(message.kind, message.payload)
                if request.method == "CallTool":
                    self._call(connection, topic, request).start(
                        self._clients, principal, attribution
                    )
                else:
                    self._begin(connection, self._serve(connection, topic, principal, request))
            elif is_admin_request(message.topic):
                self._begin(connection, self._manage(connection, topic, principal, message))
            else:
                self._publish(connection, message, principal, attribution)
        except Exception as error:  # noqa: BLE001 - one frame must not end the daemon
            self._fail(connection, message, error)

    async def _act_aside(self, connection: Connection, message: WireMessage) -> None:
        """As `_act`, but what may wait for a policy waits on a thread.

        The connection is held meanwhile, so that its frames are decided in their order.
        """
        topic, aside = response_topic(message.topic), self._answering.in_thread
        try:
            check_publish_topic(message.topic)
            principal, attribution = await aside(self._attributed, connection, message)
            if message.topic.startswith(REQUEST_PREFIX):
                request = parse_request(message.kind, message.payload)
                if request.method == "CallTool":
                    await self._call(connection, topic, request).start_aside(
                        self._answering, self._clients, principal, attribution
                    )
                else:
                    self._begin(connection, self._serve(connection, topic, principal, request))
            elif is_admin_request(message.topic):
                self._begin(connection, self._manage(connection, topic, principal, message))
            else:
                await aside(self._publish, connection, message, principal, attribution)
        except Exception as error:  # noqa: BLE001 - one frame must not end the daemon
            self._fail(connection, message, error)
        finally:
            connection.done()
            connection.release()

    def _call(self, connection: Connection, topic: str, request: KernelRequest) -> ClientCall:
        return ClientCall(
            connection, topic, request, deadlines=self._deadlines, source_id=self._source_id
        )

    def _publish(
        self,
        connection: Connection,
        message: WireMessage,
        principal: Principal,
        attribution: Attribution,
    ) -> None:
        self._clients.publish(
            message.topic,
            kind=message.kind,
            payload=message.payload,
            principal=principal,
            source_id=connection.source_id,
            attribution=attribution,
        )

    def _fail(self, connection: Connection, message: WireMessage, error: Exception) -> None:
        request_id = request_id_of(message.kind, message.payload)
        refusal = error_answer(for_client(error), request_id=request_id)
        self._send(connection, _safe(response_topic(message.topic)), refusal)

    def _refuse(self, connection: Connection, body: bytes, problem: AstridError) -> None:
        """Answer a frame that is no message, if it says at least where the answer goes."""
        topic, request_id = address_of(body)
        if topic is None:
            raise RemoteProtocolError(f"a frame is no message: {problem.message}") from problem
        answer = error_answer(problem, request_id=request_id)
        self._send(connection, _safe(response_topic(topic)), answer)

    async def close(self) -> None:
        """Wait for the requests that are under way, and give up those that take too long."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_TIMEOUT_S)
        for task in self._tasks:
            task.cancel()

    def _attributed(
        self, connection: Connection, message: WireMessage
    ) -> tuple[Principal, Attribution]:
        """For whom the frame is; a name that the connection may not use is refused."""
        if message.principal is None:
            return connection.principal, Attribution.VERIFIED
        named = parse_principal(message.principal)
        return named, self._clients.attribute(connection.principal, named)

    def _begin(self, connection: Connection, work: Coroutine[Any, Any, None]) -> None:
        connection.begin()
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _manage(
        self, connection: Connection, topic: str, principal: Principal, message: WireMessage
    ) -> None:
        payload = await self._answering.manage(principal, message.kind, message.payload)
        self._send(connection, topic, payload)
        connection.done()

    async def _serve(
        self, connection: Connection, topic: str, principal: Principal, request: KernelRequest
    ) -> None:
        payload = await self._answering.answer(
            principal, request, lambda: self._reply(connection, principal, request)
        )
        self._send(connection, topic, payload)
        connection.done()

    async def _reply(
        self, connection: Connection, principal: Principal, request: KernelRequest
    ) -> Reply:
        if request.method == "Subscribe":
            pattern = text_param(request.params, "pattern")
            return await self._subscribe(connection, principal, pattern)
        if request.method == "Unsubscribe":
            pattern = text_param(request.params, "pattern")
            end = connection.take_back(_Subscription(principal, pattern))
            if end is not None:
                end()
            return Reply("Success", {"unsubscribed": pattern, "was_subscribed": end is not None})
        presence = _Presence()
        connection.at_end(presence, presence.end)
        try:
            return await self._requests.handle(principal, request, progress=presence)
        finally:
            connection.take_back(presence)

    async def _subscribe(self, connection: Connection, principal: Principal, pattern: str) -> Reply:
        _check_room(connection)

        def deliver(envelope: Envelope) -> None:
            connection.deliver(
                client_frame(envelope.topic, envelope.payload, source_id=envelope.source_id)
            )

        subscribe = partial(self._clients.subscribe, principal=principal, deliver=deliver)
        stop = await self._answering.in_thread(subscribe, pattern)
        before = connection.take_back(_Subscription(principal, pattern))
        if before is not None:
            before()
        try:
            _check_room(connection)  # others of the same client were decided about meanwhile
        except QuotaExceededError:
            stop()
            raise
        connection.at_end(_Subscription(principal, pattern), stop)
        return Reply("Success", {"subscribed": pattern})

    def _send(self, connection: Connection, topic: str, payload: bytes) -> None:
        connection.send(client_frame(topic, payload, source_id=self._source_id))


def _check_room(connection: Connection) -> None:
    """Refuse one subscription more than a connection may have."""
    if connection.at_end_count(_Subscription) >= MAX_SUBSCRIPTIONS:
        raise QuotaExceededError(
            f"a connection has at most {MAX_SUBSCRIPTIONS} subscriptions",
            rule="subscriptions",
            hint="unsubscribe from one, or subscribe to a wider pattern",
        )


def _is_request(topic: str) -> bool:
    return topic.startswith(REQUEST_PREFIX) or is_admin_request(topic)


def _safe(topic: str) -> str:
    """The response topic, or the general one where the request's own was malformed."""
    try:
        check_publish_topic(topic)
    except AstridError:
        return response_topic("")
    return topic
