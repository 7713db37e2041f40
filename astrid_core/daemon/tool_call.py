"""One tool call of a client, from the frame that asks to the frame that answers.

Trusted with answering exactly once: the answer, the time limit and the end of the connection race
for it. The answer is written by the thread that has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from astrid_core.daemon.answering import Answering
from astrid_core.daemon.connection import Connection
from astrid_core.daemon.deadlines import Deadlines
from astrid_core.domain.kernel_request import (
    KernelRequest,
    RequestError,
    answer,
    client_frame,
    error_answer,
    text_param,
)
from astrid_core.domain.payload import PayloadError, parse_json
from astrid_core.domain.tool_filter import EVERYTHING, ToolFilter
from astrid_core.domain.topic import TOOL_PREFIX
from astrid_core.kernel.clients import ClientAccess
from astrid_core.kernel.failures import for_client
from astrid_core.kernel.tools import Outcome, StartedCall, ToolResult
from astrid_hookspecs.buses import Attribution, Envelope
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.errors import ToolError
from astrid_hookspecs.values import Principal


class ClientCall:
    """A call under way. `start` runs on the loop.

    Args:
        connection: Who asked.
        topic: Where the answer goes.
        request: A `CallTool`.
        deadlines: Of the running loop.
        source_id: Under which the kernel answers.
    """

    def __init__(
        self,
        connection: Connection,
        topic: str,
        request: KernelRequest,
        *,
        deadlines: Deadlines,
        source_id: str,
    ) -> None:
        self._connection = connection
        self._topic = topic
        self._request = request
        self._cancel = CancelToken()
        self._deadlines = deadlines
        self._source_id = source_id
        self._timer: asyncio.TimerHandle | None = None
        self._forget: Callable[[], None] = _nothing
        self._hush: Callable[[], None] = _nothing
        self._call_id: str | None = None
        self._is_done = False

    def start(self, clients: ClientAccess, principal: Principal, attribution: Attribution) -> None:
        """Ask for it; every outcome, a refusal included, becomes an answer."""
        self._open()
        try:
            self._began(self._ask(clients, principal, attribution), clients)
        except Exception as error:  # noqa: BLE001 - what it was is the answer
            self._done(error)

    async def start_aside(
        self,
        answering: Answering,
        clients: ClientAccess,
        principal: Principal,
        attribution: Attribution,
    ) -> None:
        """As `start`, where the decision about it may take time; returns when it was made."""
        self._open()
        try:
            asked = await answering.in_thread(self._ask, clients, principal, attribution)
            self._began(asked, clients)
        except Exception as error:  # noqa: BLE001 - what it was is the answer
            self._done(error)

    def _open(self) -> None:
        self._connection.begin()
        self._connection.at_end(self, self._abandon)

    def _ask(
        self, clients: ClientAccess, principal: Principal, attribution: Attribution
    ) -> StartedCall:
        name, arguments, limit_s = _params(self._request.params)
        offered = _offered(self._request.params)
        if _wants_progress(self._request.params):
            topic = f"{TOOL_PREFIX}{name.rpartition('.')[2]}.progress"
            self._hush = clients.listen(topic, partial(self._progressed, principal))
        started = clients.start_call(
            name,
            arguments,
            principal=principal,
            cancel=self._cancel,
            on_done=self._done,
            attribution=attribution,
            offered=offered,
        )
        return started if limit_s is None else started._replace(timeout_s=limit_s)

    def _began(self, started: StartedCall, clients: ClientAccess) -> None:
        self._call_id = started.call_id
        self._forget = partial(clients.forget_call, started.call_id)
        if started.timeout_s is not None:
            expire = partial(self._expire, started.timeout_s)
            self._timer = self._deadlines.add(started.timeout_s, expire)
        if self._is_done:  # since it was asked for
            self._hush()
            self._forget()
            if self._timer is not None:
                self._timer.cancel()

    def _done(self, outcome: Outcome) -> None:
        """Answer; on any thread."""
        if self._connection.take_back(self) is None:
            self._hush()  # the client may have gone before there was anything to hush
            return
        self._is_done = True
        self._hush()
        if self._timer is not None:
            self._deadlines.retire(self._timer)
        payload = outcome_payload(outcome, request_id=self._request.request_id)
        self._connection.send(client_frame(self._topic, payload, source_id=self._source_id))
        self._connection.done()

    def _progressed(self, principal: Principal, envelope: Envelope) -> None:
        """Pass on how far the call is; on any thread. A client that is behind goes without."""
        if self._is_done or self._call_id is None or envelope.principal != principal:
            return
        try:
            said = parse_json(envelope.payload)
        except PayloadError:
            return
        if isinstance(said, dict) and said.get("call_id") == self._call_id:
            frame = client_frame(envelope.topic, envelope.payload, source_id=envelope.source_id)
            self._connection.deliver(frame)

    def _expire(self, bound_s: float) -> None:
        if self._is_done:
            return
        name = self._request.params["name"]
        self._cancel.fire()
        self._forget()
        self._done(ToolError(f"{name!r} did not answer within {bound_s} s", code="tool.timeout"))

    def _abandon(self) -> None:
        """The client has gone: stop the guest."""
        self._is_done = True
        self._hush()
        self._cancel.fire()
        self._forget()
        if self._timer is not None:
            self._timer.cancel()
        self._connection.done()


def outcome_payload(outcome: Outcome, *, request_id: str | None) -> bytes:
    """The payload that answers a call."""
    if isinstance(outcome, ToolResult):
        data = {
            "content": outcome.content,
            "is_error": outcome.is_error,
            "capsule": outcome.capsule,
            "duration_ms": round(outcome.duration_ms, 3),
            **({"blocks": list(outcome.blocks)} if outcome.blocks else {}),
            **({} if outcome.structured is None else {"structured": outcome.structured}),
        }
        return answer("ToolResult", data, request_id=request_id)
    return error_answer(for_client(outcome), request_id=request_id)


def _nothing() -> None:
    """What there is to forget of a call that did not start."""


def _params(params: Mapping[str, Any]) -> tuple[str, dict[str, object], float | None]:
    arguments, limit_s = params.get("arguments", {}), params.get("timeout_s")
    if not isinstance(arguments, dict):
        raise RequestError("arguments has to be an object", code="request.params")
    is_number = isinstance(limit_s, int | float) and not isinstance(limit_s, bool)
    if limit_s is not None and not (is_number and 0 < limit_s <= 86_400):  # noqa: PLR2004 - a day
        raise RequestError("timeout_s is a number of seconds above 0", code="request.params")
    return text_param(params, "name"), arguments, limit_s


def _wants_progress(params: Mapping[str, Any]) -> bool:
    wants = params.get("progress", False)
    if not isinstance(wants, bool):
        raise RequestError("progress is true or false", code="request.params")
    return wants


def _offered(params: Mapping[str, Any]) -> ToolFilter:
    only = params.get("only")
    if only is None:
        return EVERYTHING
    if not isinstance(only, list) or not all(isinstance(one, str) for one in only):
        raise RequestError("only is a list of patterns", code="request.params")
    return ToolFilter(only)
