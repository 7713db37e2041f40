"""Tools of servers as they were accepted: what waits for approval, and the approval.

Nothing is decided here: the caller is the operator, or was let in by the gate as one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from astrid_core.domain.payload_message import format_timestamp
from astrid_core.kernel.capsules import CapsuleTable
from astrid_core.ports.audit import AuditTrail
from astrid_hookspecs.audit import AuditEntry
from astrid_hookspecs.errors import ToolNotFoundError
from astrid_hookspecs.tool_servers import PinnedTools, ToolPin
from astrid_hookspecs.values import CapsuleId, Principal


class ToolPins:
    """Shows and approves what engines hold back. Safe from any thread; methods may block on a disk.

    Args:
        capsules: Whose servers have tools.
        audit: Has every approval.
    """

    def __init__(self, capsules: CapsuleTable, *, audit: AuditTrail) -> None:
        self._capsules = capsules
        self._audit = audit

    def all(self) -> list[ToolPin]:
        """Every tool that was ever accepted or waits, by capsule, server and name."""
        return [pin for capsule in self._capsules.all() for pin in self._pins(capsule.id)]

    def waiting(self) -> list[ToolPin]:
        """Those that wait for a yes."""
        return [pin for pin in self.all() if pin.proposed]

    def approve(
        self, capsule: CapsuleId, server: str, tool: str, *, proposed: str, by: Principal
    ) -> ToolPin:
        """Accept what a server says about a tool now.

        Args:
            capsule: Whose server it is.
            server: Its id.
            tool: As `ToolPin.tool` shows it.
            proposed: `ToolPin.proposed`, as it was looked at.
            by: Who says yes.

        Raises:
            CapsuleNotFoundError, ToolNotFoundError: There is no such tool.
            ToolError: `tool.pin-changed`: the server has changed it since.
            AuditError: It could not be recorded, and was not approved.
        """
        for part in self._holders(capsule):
            if any((pin.server, pin.tool) == (server, tool) for pin in part.pins()):
                self._record(capsule, server, tool, by=by)
                return part.approve(server, tool, proposed=proposed)
        raise ToolNotFoundError(
            f"server {server!r} of capsule {capsule!r} has no tool {tool!r}",
            hint="`astrid mcp pins` shows what there is",
        )

    def _pins(self, capsule: CapsuleId) -> Iterator[ToolPin]:
        for part in self._holders(capsule):
            yield from part.pins()

    def _holders(self, capsule: CapsuleId) -> list[PinnedTools]:
        return [part for part in self._capsules.get(capsule).parts if isinstance(part, PinnedTools)]

    def _record(self, capsule: CapsuleId, server: str, tool: str, *, by: Principal) -> None:
        self._audit.append(
            AuditEntry(
                timestamp=format_timestamp(time.time_ns()),
                principal=by,
                capsule=None,
                action="approval_granted",
                resource="",
                outcome="allowed",
                rule="tool.pin",
                detail={
                    "action": "tool.pin",
                    "resource": f"mcp://{capsule}:{server}:{tool}",
                    "scope": "always",
                },
            )
        )
