"""The audit log, as those see it who must record before they act."""

from __future__ import annotations

from typing import NoReturn, Protocol

from astrid_hookspecs.audit import AuditEntry
from astrid_hookspecs.errors import AuditError


class AuditTrail(Protocol):
    """Records what happens. Safe from any thread."""

    def append(self, entry: AuditEntry, *, durable: bool = False) -> None:
        """Record an entry; returns when it is written and sealed.

        Args:
            entry: What is about to happen, or was refused, or failed.
            durable: Return only when it survives a power failure.

        Raises:
            AuditError: It was not recorded; the action must not happen.
        """
        ...


class NoAudit:
    """Implements `AuditTrail` without a log: the default, under which nothing audited happens."""

    def append(self, entry: AuditEntry, *, durable: bool = False) -> NoReturn:
        """As `AuditTrail.append`; always refuses."""
        del entry, durable
        raise AuditError("there is no audit log here")
