"""The topic on which processes of tool calls are ended, and the call that a process belongs to.

Spec: capsules-and-bus 5.7.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, Protocol

from astrid_core.domain.payload import PayloadError, decode
from astrid_core.domain.payload_variants import ToolCancelRequest, ToolExecuteRequest
from astrid_hookspecs.buses import Envelope
from astrid_hookspecs.values import Principal

CANCEL_TOPIC: Final = "tool.v1.request.cancel"
_CANCEL: Final = "tool_cancel_request"
_EXECUTE: Final = "tool_execute_request"


class Cancels(Protocol):
    """Ends processes. `ProcessTable` is one."""

    def cancel(self, principal: Principal | None, call_ids: Collection[str]) -> None:
        """End what runs for these calls."""
        ...


def cancels_processes(processes: Cancels) -> Callable[[Envelope], None]:
    """A listener of the cancel topic; what is no cancel request is left alone."""

    def listen(envelope: Envelope) -> None:
        if envelope.kind != _CANCEL:
            return
        try:
            request = decode(envelope.kind, envelope.payload)
        except PayloadError:
            return
        if isinstance(request, ToolCancelRequest):
            processes.cancel(envelope.principal, frozenset(request.call_ids))

    return listen


def call_id_of(envelope: Envelope) -> str | None:
    """The tool call that a message starts; None for every other message."""
    if envelope.kind != _EXECUTE:
        return None
    try:
        request = decode(envelope.kind, envelope.payload)
    except PayloadError:
        return None
    return request.call_id if isinstance(request, ToolExecuteRequest) else None
