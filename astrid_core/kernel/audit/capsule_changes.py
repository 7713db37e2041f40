"""Entries about capsules: what is going to be done with one, and what became of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Final

from loguru import logger

from astrid_core.domain.payload_message import format_timestamp
from astrid_core.ports.audit import AuditTrail
from astrid_hookspecs.audit import AuditEntry
from astrid_hookspecs.errors import AstridError, AuditError
from astrid_hookspecs.events import CapsuleEvent
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, CapsuleId, Principal

_BAD_STATES: Final = ("failed", "down")


@contextlib.contextmanager
def recorded(audit: AuditTrail, verb: str, *, capsule: CapsuleId, version: str) -> Iterator[None]:
    """Record something about to be done with a capsule; record it again when it then fails.

    Args:
        audit: Where to.
        verb: `install`, `remove`.
        capsule: Which one.
        version: Of it; empty where nobody knows it.

    Raises:
        AuditError: It was not recorded; the block was not entered.
    """
    entry = _entry(verb, capsule, version, outcome="allowed")
    audit.append(entry, durable=True)
    try:
        yield
    except Exception as error:
        code = error.code if isinstance(error, AstridError) else "internal"
        failed = _entry(verb, capsule, version, outcome="failed", error=code)
        with contextlib.suppress(AuditError):  # nothing happened that the log does not say
            audit.append(failed)
        raise


def record_load(audit: AuditTrail, *, capsule: CapsuleId, version: str) -> None:
    """Record that a capsule is about to be loaded; what becomes of it are changes of its state.

    Raises:
        AuditError: It was not recorded and must not be loaded.
    """
    audit.append(_entry("load", capsule, version, outcome="allowed", principal=None))


def record_change(audit: AuditTrail, event: CapsuleEvent) -> None:
    """Record that a capsule changed state; it has happened, so a failure is only logged."""
    outcome = "failed" if event.state in _BAD_STATES else "allowed"
    try:
        audit.append(
            _entry(event.state, event.capsule, event.version, outcome=outcome, principal=None)
        )
    except AuditError as error:
        logger.error("the state of {} could not be recorded: {}", event.capsule, error)


def _entry(
    verb: str,
    capsule: CapsuleId,
    version: str,
    *,
    outcome: str,
    principal: Principal | None = DEFAULT_PRINCIPAL,
    error: str | None = None,
) -> AuditEntry:
    detail = {"version": version} if error is None else {"version": version, "error": error}
    return AuditEntry(
        timestamp=format_timestamp(time.time_ns()),
        principal=principal,
        capsule=capsule,
        action=f"capsule.{verb}",
        resource=capsule,
        outcome=outcome,
        rule="operator" if principal is not None else "",
        detail=detail,
    )
