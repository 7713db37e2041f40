"""Answers the requests that capsules publish on the bus, with the rights of those they act for.

Which capsule may publish which request was decided when it was published; here it is the principal
of the message that needs the right, as a client would. A message of nobody has none. Trusted with
bounds: who asks faster than the kernel answers loses requests, and only its own.
Spec: kernel-and-security 4, 16 D-12; capsules-and-bus 6.9.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from loguru import logger

from astrid_core.daemon.answering import Answering
from astrid_core.daemon.requests import Requests
from astrid_core.domain.kernel_request import (
    METHODS,
    error_answer,
    parse_request,
    request_id_of,
    response_topic,
)
from astrid_core.domain.payload import RAW_JSON
from astrid_core.domain.payload_message import format_timestamp
from astrid_core.domain.request_topics import ADMIN_PREFIX, REQUEST_PREFIX
from astrid_core.domain.topic import MAX_CAUSAL_DEPTH, WILDCARD, is_admin_request
from astrid_core.kernel.failures import for_client
from astrid_core.kernel.kernel import Kernel
from astrid_hookspecs.buses import Attribution, Envelope
from astrid_hookspecs.errors import CapabilityDeniedError
from astrid_hookspecs.values import Principal

MAX_OF_ONE: Final = 32
"""Requests of one principal that wait or are under way."""
MAX_OF_ALL: Final = 512
BUS_METHODS: Final = frozenset(METHODS) - {
    "CallTool",
    "ConfigureCapsule",
    "Subscribe",
    "Unsubscribe",
}
"""The others make sense on a connection only; capsules have functions of their own for them, and
what configures may be a secret, which others on the bus would see."""


class BusRequests:
    """Hears requests and publishes the answers. Made, started and closed on the event loop.

    Args:
        kernel: Whose bus it is.
        requests: Does what is asked for.
        answering: Authorises.
        source_id: Under which the kernel answers.
    """

    def __init__(
        self, kernel: Kernel, requests: Requests, answering: Answering, *, source_id: str
    ) -> None:
        self._kernel = kernel
        self._requests = requests
        self._answering = answering
        self._source_id = source_id
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._pending: Counter[Principal | None] = Counter()
        self._lost = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._stops: list[Callable[[], None]] = []

    @property
    def lost(self) -> int:
        """Requests that were not answered, because too many were waiting."""
        return self._lost

    def start(self) -> None:
        """Begin to hear."""
        self._stops = [
            self._kernel.clients.listen(prefix + WILDCARD, self._hear)
            for prefix in (REQUEST_PREFIX, ADMIN_PREFIX)
        ]

    async def close(self, *, timeout_s: float) -> None:
        """Hear nothing more, and wait for what is under way."""
        while self._stops:
            self._stops.pop()()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)
        for task in self._tasks:
            task.cancel()

    def _hear(self, envelope: Envelope) -> None:
        """Take a request; in its publisher's thread."""
        is_request = envelope.topic.startswith(REQUEST_PREFIX) or is_admin_request(envelope.topic)
        if not is_request or envelope.depth >= MAX_CAUSAL_DEPTH:
            return
        with self._lock:
            is_full = (
                self._pending[envelope.principal] >= MAX_OF_ONE
                or self._pending.total() >= MAX_OF_ALL
            )
            if is_full:
                self._lost += 1
                return
            self._pending[envelope.principal] += 1
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody answers any more
            self._loop.call_soon_threadsafe(self._begin, envelope)

    def _begin(self, envelope: Envelope) -> None:
        task = self._loop.create_task(self._serve(envelope))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, envelope: Envelope) -> None:
        try:
            payload = await self._answer(envelope)
        except Exception as error:  # noqa: BLE001 - one request must not end the daemon
            request_id = request_id_of(envelope.kind, envelope.payload)
            payload = error_answer(for_client(error), request_id=request_id)
        finally:
            with self._lock:
                self._pending[envelope.principal] -= 1
                self._pending += Counter()  # forgets those who wait for nothing
        self._kernel.publish(
            Envelope(
                response_topic(envelope.topic),
                payload,
                RAW_JSON,
                source_id=self._source_id,
                principal=envelope.principal,
                attribution=Attribution.SYSTEM
                if envelope.principal is None
                else Attribution.VERIFIED,
                timestamp=format_timestamp(time.time_ns()),
                depth=envelope.depth + 1,
            )
        )

    async def _answer(self, envelope: Envelope) -> bytes:
        principal = envelope.principal
        if principal is None:
            logger.warning("a request of nobody on {} was refused", envelope.topic)
            raise CapabilityDeniedError(
                "a request of nobody has no rights",
                rule="request.principal",
                hint="publish it for a principal",
            )
        if is_admin_request(envelope.topic):
            return await self._answering.manage(principal, envelope.kind, envelope.payload)
        request = parse_request(envelope.kind, envelope.payload, methods=BUS_METHODS)
        return await self._answering.answer(
            principal, request, lambda: self._requests.handle(principal, request)
        )
