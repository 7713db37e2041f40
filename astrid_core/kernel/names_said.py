"""The principals that clients name: how many who are strangers, and on record who spoke for whom.

Trusted with a bound: a name costs nothing to invent, and each gets an audit chain of its own.
Spec: kernel-and-security 16 D-12.
"""

from __future__ import annotations

import threading
import time
from typing import Final

from astrid_core.domain.payload_message import format_timestamp
from astrid_core.kernel.profiles import ProfileStore
from astrid_core.ports.audit import AuditTrail
from astrid_hookspecs.audit import AuditEntry
from astrid_hookspecs.errors import QuotaExceededError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, Principal

MAX_STRANGERS: Final = 10_000
"""Names without a profile that clients may use, all together, while a kernel runs."""


class NamesSaid:
    """What clients of one kernel said so far. Safe from any thread.

    Args:
        profiles: Who has a profile is no stranger.
        audit: Where it is recorded that somebody speaks for another.
    """

    def __init__(self, profiles: ProfileStore, audit: AuditTrail) -> None:
        self._profiles = profiles
        self._audit = audit
        self._lock = threading.Lock()
        self._strangers: set[Principal] = set()
        self._spoken: set[tuple[Principal, Principal]] = set()

    def meet(self, principal: Principal) -> None:
        """Count a principal that somebody acts for, unless it is known.

        Raises:
            QuotaExceededError: `client.principals`: it is one stranger too many.
        """
        if principal in self._strangers or principal == DEFAULT_PRINCIPAL:
            return
        if self._profiles.has(principal):
            return
        with self._lock:
            if len(self._strangers) >= MAX_STRANGERS:
                raise QuotaExceededError(
                    f"clients named {MAX_STRANGERS} principals that have no profile",
                    rule="client.principals",
                    hint=f"make it one that is known: astrid agent create {principal}",
                )
            self._strangers.add(principal)

    def speak(self, principal: Principal, named: Principal) -> None:
        """Record that a connection of one principal speaks for another, the first time.

        Raises:
            QuotaExceededError: As `meet`.
            AuditError: It could not be recorded; it must not be acted on.
        """
        self.meet(named)
        pair = (principal, named)
        if pair in self._spoken:
            return
        self._audit.append(
            AuditEntry(
                timestamp=format_timestamp(time.time_ns()),
                principal=principal,
                capsule=None,
                action="client.speak-for",
                resource=f"principal:{named}",
                outcome="allowed",
                rule="connection.principal",
                detail={},
            )
        )
        with self._lock:
            self._spoken.add(pair)
