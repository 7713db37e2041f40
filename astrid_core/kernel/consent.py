"""Asks a person before a tool of a server is called, where the operator's policy wants that.

Trusted with order: it is asked after the gate agreed and before anything of the call happens.
Spec: kernel-and-security 7.5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from astrid_core.domain.action import McpToolCall
from astrid_core.domain.action_policy import ActionPolicy, PolicyVerdict
from astrid_core.host.people import Approver
from astrid_hookspecs.cancel import CancelToken, WaitSource, wait_any
from astrid_hookspecs.tool_servers import OfferedTool
from astrid_hookspecs.values import CapsuleId, Principal


class Consent(Protocol):
    """Returns when a tool may be called; raises as `ToolConsent.ask`."""

    def __call__(
        self,
        principal: Principal,
        capsule: CapsuleId,
        tool: OfferedTool,
        *,
        cancel: CancelToken | None,
    ) -> None:
        """Ask, if the policy wants it."""
        ...


class ToolConsent:
    """One per kernel. Safe from any thread.

    Args:
        policy: Says which tools; None for none.
        approver: Asks.
        blocked: Entered while a thread waits.
    """

    def __init__(
        self,
        policy: ActionPolicy | None,
        approver: Approver | None,
        *,
        blocked: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self._policy = policy
        self._approver = approver
        self._blocked = blocked

    def ask(
        self,
        principal: Principal,
        capsule: CapsuleId,
        tool: OfferedTool,
        *,
        cancel: CancelToken | None,
    ) -> None:
        """Return when the tool may be called.

        Raises:
            ApprovalDeniedError: A person said no, or nobody answered in time.
            ApprovalError: The tool's name cannot be shown.
            AuditError, StoreError: It could not be recorded or kept.
        """
        if self._policy is None or self._approver is None:
            return
        wanted = self._policy.decide(McpToolCall(tool.server, tool.tool))
        if wanted.verdict is not PolicyVerdict.APPROVAL:
            return
        stops = () if cancel is None else (cancel,)

        def pause(sources: Sequence[WaitSource], timeout_s: float) -> bool:
            with self._blocked():
                wait_any((*sources, *stops), timeout_s=timeout_s)
            return cancel is not None and cancel.is_fired

        resource = f"{tool.server}:{tool.tool}"
        self._approver.decide(principal, capsule, "call a tool", resource=resource, pause=pause)
