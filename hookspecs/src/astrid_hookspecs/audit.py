"""Audit sinks: places that receive a copy of each audit entry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from astrid_hookspecs.markers import hookspec
from astrid_hookspecs.values import CapsuleId, Principal


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One audited action or refusal.

    Attributes:
        timestamp: RFC 3339, UTC.
        principal: Who acted.
        capsule: Which capsule acted, or None for a client.
        action: `<domain>.<verb>`.
        resource: What it was done to.
        outcome: `allowed`, `denied` or `failed`.
        rule: The rule that decided; empty when none was asked.
        detail: The fields that host-abi 2.3 lists for the action, never more.
    """

    timestamp: str
    principal: Principal
    capsule: CapsuleId | None
    action: str
    resource: str
    outcome: str
    rule: str = ""
    detail: Mapping[str, str] = field(default_factory=dict)


class AuditSink(Protocol):
    """Receives entries in order, from one thread."""

    def write(self, entry: AuditEntry) -> None:
        """Take one entry. An exception is logged; the kernel's own log is the one that counts."""
        ...

    def close(self) -> None:
        """Flush and release."""
        ...


@dataclass(frozen=True, slots=True)
class AuditSinkRecord:
    """Declares an audit sink; every declared sink is used."""

    name: str
    factory: Callable[[], AuditSink]


@hookspec
def astrid_register_audit_sinks() -> Iterable[AuditSinkRecord]:  # type: ignore[empty-body]
    """Declare audit sinks.

    Kind: declare. When: once, while the kernel boots.
    Returns: records; names unique over all plugins.
    Failure: an exception or a malformed record stops the boot.
    Since: 1.0.
    """
