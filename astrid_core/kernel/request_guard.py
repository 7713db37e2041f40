"""What stands before every kernel and management request: right, policies, rate, audit log.

Trusted with the order: who may not ask is refused before anything is counted, what is one too many
before anything is recorded, and what cannot be recorded is not done. Every method may be called
from any thread. Spec: kernel-and-security 4.2, 4.3, 16 D-16, D-18, D-19.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from typing import Protocol

from loguru import logger

from astrid_core.domain.capability import Decision, Outcome
from astrid_core.domain.payload_message import format_timestamp
from astrid_core.domain.request_rate import RequestRate
from astrid_core.kernel.principals.assembly import Principals
from astrid_core.kernel.tokens import right_resource
from astrid_core.ports.audit import AuditTrail
from astrid_core.security.clients import OPEN_RIGHTS
from astrid_core.security.gate import Gate, Grant
from astrid_hookspecs.audit import AuditEntry, AuditValue
from astrid_hookspecs.errors import AstridError, AuditError, QuotaExceededError
from astrid_hookspecs.values import Principal


class Needed(Protocol):
    """What a method needs; a row of a table of requests."""

    @property
    def right(self) -> str:
        """The management capability."""
        ...

    @property
    def per_minute(self) -> int | None:
        """How often one principal may use it; None for no bound."""
        ...


class RequestGuard:
    """Decides about requests, counts them and records them.

    Args:
        principals: Who holds what, by profile, group or token.
        gate: Says yes or no.
        audit: Where requests are recorded.
    """

    def __init__(self, principals: Principals, gate: Gate, audit: AuditTrail) -> None:
        self._authority = principals.authority
        self._tokens = principals.tokens
        self._gate = gate
        self._audit = audit
        self._lock = threading.Lock()
        self._rate = RequestRate()

    def check(
        self, principal: Principal, method: str, right: str, *, target: Principal | None = None
    ) -> Grant:
        """Decide about a request; nothing is counted, only a refusal is recorded.

        A right that no list gives may come from a capability token; one for a single use is used
        up when everything else has agreed.

        Args:
            principal: Who asks.
            method: As policies and the audit log name it.
            right: The capability that it needs.
            target: The principal that it is about.

        Returns:
            The proof, with the rule that allowed it.

        Raises:
            DeniedError: The gate refused.
            TokenError: Somebody was faster with a token for a single use.
            ConfigError: The principal's profile cannot be read.
        """
        decision = self._authority.decide(principal, right)
        held = None
        if decision.outcome is Outcome.MISSING and right not in OPEN_RIGHTS:
            held = self._tokens.find(principal, right_resource(right), "invoke")
        if held is not None:
            decision = Decision(Outcome.TOKEN, str(held.signed.token.id))
        grant = self._gate.check_client_request(
            principal, method, right=right, decision=decision, target=target
        )
        if held is not None:
            self._tokens.use(held)
        return grant

    def admit(
        self,
        principal: Principal,
        method: str,
        needed: Needed,
        *,
        right: str | None = None,
        target: Principal | None = None,
        params: Mapping[str, AuditValue] | None = None,
        durable: bool = False,
    ) -> None:
        """Decide about a request, count it, record it.

        Args:
            principal: Who asks.
            method: As policies and the audit log name it.
            needed: Right and rate.
            right: What it needs in this case, where that is not `needed.right`.
            target: The principal that it is about.
            params: What the audit log keeps of the request.
            durable: Whether the record has to survive a power failure before this returns.

        Raises:
            DeniedError: The gate refused; or, with the rule `requests-per-minute`, it was one too
                many.
            ConfigError: The principal's profile cannot be read.
            AuditError: It could not be recorded; it must not be acted on.
        """
        right = right or needed.right
        grant = self.check(principal, method, right, target=target)
        if needed.per_minute is not None:
            self._count(principal, method, needed.per_minute)
        entry = _entry(
            principal,
            method,
            right,
            outcome="allowed",
            rule=grant.rule,
            target=target,
            params=params,
        )
        self._audit.append(entry, durable=durable)

    def record_failure(
        self,
        principal: Principal,
        method: str,
        needed: Needed,
        error: AstridError,
        *,
        target: Principal | None = None,
        params: Mapping[str, AuditValue] | None = None,
    ) -> None:
        """Record that an admitted request failed; it has happened, so this never raises."""
        entry = _entry(
            principal,
            method,
            needed.right,
            outcome="failed",
            rule=error.code,
            target=target,
            params=params,
        )
        self._append_after(entry)

    def record_done(self, principal: Principal, method: str, *, target: str = "") -> None:
        """Record that an admitted change was made; it has happened, so this never raises."""
        entry = AuditEntry(
            timestamp=format_timestamp(time.time_ns()),
            principal=principal,
            capsule=None,
            action="admin.done",
            resource=target,
            outcome="allowed",
            detail={"method": method},
        )
        self._append_after(entry)

    def _append_after(self, entry: AuditEntry) -> None:
        try:
            self._audit.append(entry)
        except AuditError as problem:
            logger.error("what became of a request could not be recorded: {}", problem)

    def _count(self, principal: Principal, method: str, per_minute: int) -> None:
        with self._lock:
            wait_s = self._rate.wait_s(principal, method, limit=per_minute, now=time.monotonic())
        if wait_s > 0:
            raise QuotaExceededError(
                f"{method} may be used {per_minute} times a minute",
                rule="requests-per-minute",
                hint=f"try again in {math.ceil(wait_s)} s",
                retry_after_ms=math.ceil(wait_s * 1000),
            )


def _entry(
    principal: Principal,
    method: str,
    right: str,
    *,
    outcome: str,
    rule: str,
    target: Principal | None,
    params: Mapping[str, AuditValue] | None,
) -> AuditEntry:
    detail: dict[str, AuditValue] = {"method": method, "required_capability": right}
    if target is not None:
        detail["target_principal"] = target
    if params is not None:
        detail["params"] = params
    return AuditEntry(
        timestamp=format_timestamp(time.time_ns()),
        principal=principal,
        capsule=None,
        action="admin_request",
        resource="",
        outcome=outcome,
        rule=rule,
        detail=detail,
    )
