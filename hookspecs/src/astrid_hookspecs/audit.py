"""Audit: what one entry says, and sinks, the places that receive a copy of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, TypeAlias

from astrid_hookspecs.markers import hookspec
from astrid_hookspecs.values import CapsuleId, Principal

NIL_SESSION: Final = "00000000-0000-0000-0000-000000000000"
"""The session of everything that belongs to no conversation; its chains outlive restarts."""

Severity: TypeAlias = Literal["low", "normal", "high"]
AuditValue: TypeAlias = "str | int | Sequence[AuditValue] | Mapping[str, AuditValue] | None"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One audited action or refusal.

    Attributes:
        timestamp: RFC 3339, UTC, ending in `Z`.
        principal: Who acted; None for the kernel itself.
        capsule: Which capsule acted, or None for a client.
        action: `<domain>.<verb>`, or a type of kernel-and-security 8.1 (`admin_request`).
        resource: What it was done to.
        outcome: `allowed`, `denied` or `failed`.
        rule: The rule that decided; empty when none was asked.
        detail: The fields that host-abi 2.3 lists for the action, never more: the log refuses a
            field that its table of actions does not have.
        severity: `high` for what an operator has to see, `low` for what may be sampled.
        session: UUID text; entries of one session and principal form one chain.
    """

    timestamp: str
    principal: Principal | None
    capsule: CapsuleId | None
    action: str
    resource: str
    outcome: str
    rule: str = ""
    detail: Mapping[str, AuditValue] = field(default_factory=dict)
    severity: Severity = "normal"
    session: str = NIL_SESSION


class AuditSink(Protocol):
    """Receives entries in order, from one thread.

    The texts of an entry can be long and hold anything that a guest wrote: line ends, control
    characters, halves of surrogate pairs. So escape them (`errors="backslashreplace"`).
    """

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
