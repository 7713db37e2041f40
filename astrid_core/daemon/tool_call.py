"""One tool call of a client, from the frame that asks to the frame that answers.

Trusted with answering exactly once: the answer, the time limit and the end of the connection race
for it. The answer is written by the thread that has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from astrid_core.daemon.connection import Connection
from astrid_core.domain.kernel_request import (
    KernelRequest,
    RequestError,
    answer,
    client_frame,
    error_answer,
    text_param,
)
from astrid_core.kernel.clients import ClientAccess
from astrid_core.kernel.failures import for_client
from astrid_core.kernel.tools import Outcome, ToolResult
from astrid_hookspecs.buses import Attribution
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.errors import AstridError, ToolError
from astrid_hookspecs.values import NIL_SOURCE, Principal


class ClientCall:
    """A call under way. `start` runs on the loop.

    Args:
        connection: Who asked.
        topic: Where the answer goes.
        request: A `CallTool`.
        loop: The running one.
    """

    def __init__(
        self,
        connection: Connection,
        topic: str,
        request: KernelRequest,
        *,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._connection = connection
        self._topic = topic
        self._request = request
        self._cancel = CancelToken()
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._forget: Callable[[], None] = _nothing
        self._is_done = False

    def start(self, clients: ClientAccess, principal: Principal, attribution: Attribution) -> None:
        """Ask for it; every outcome, a refusal included, becomes an answer."""
        self._connection.begin()
        self._connection.at_end(self, self._abandon)
        try:
            name, arguments, limit_s = _params(self._request.params)
            started = clients.start_call(
                name,
                arguments,
                principal=principal,
                cancel=self._cancel,
                on_done=self._done,
                attribution=attribution,
            )
        except AstridError as error:
            self._done(error)
            return
        self._forget = partial(clients.forget_call, started.call_id)
        bound_s = limit_s if limit_s is not None else started.timeout_s
        if bound_s is not None:
            self._timer = self._loop.call_later(bound_s, self._expire, bound_s, name)
            if self._is_done:  # since it was started
                self._timer.cancel()

    def _done(self, outcome: Outcome) -> None:
        """Answer; on any thread."""
        if self._connection.take_back(self) is None:
            return
        self._is_done = True
        if self._timer is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._timer.cancel)
        payload = outcome_payload(outcome, request_id=self._request.request_id)
        self._connection.send(client_frame(self._topic, payload, source_id=NIL_SOURCE))
        self._connection.done()

    def _expire(self, bound_s: float, name: str) -> None:
        self._cancel.fire()
        self._forget()
        self._done(ToolError(f"{name!r} did not answer within {bound_s} s", code="tool.timeout"))

    def _abandon(self) -> None:
        """The client has gone: stop the guest."""
        self._is_done = True
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
