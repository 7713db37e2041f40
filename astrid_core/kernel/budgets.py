"""What capsules tell they spend, held within the budgets of the principals they act for.

Trusted with order: the amount is taken before anybody is asked, so that two questions at a time do
not both fit; it is given back when the answer is no, and a yes counts only when it is on record.
Spec: kernel-and-security 7.5, 14.2.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import msgspec
from blake3 import blake3

from astrid_core.config.budget import BudgetSettings
from astrid_core.domain.budget import Budget, BudgetExceededError, BudgetVerdict, reserve_both
from astrid_core.domain.payload_message import format_timestamp
from astrid_core.ports.audit import AuditTrail
from astrid_hookspecs.audit import AuditEntry
from astrid_hookspecs.stores import KvStore, KvWrite
from astrid_hookspecs.values import CapsuleId, Principal

NAMESPACE: Final = "system:budget"
"""Has what was spent for good, by principal and digest of the workspace."""
MAX_SESSIONS: Final = 10_000
_DIGEST_BYTES: Final = 16
_NO_BOUND: Final = Budget(session_max_usd=float(1 << 53), per_action_max_usd=float(1 << 53))


class Spending:
    """One amount on its way; what the store and the log say about it."""

    def __init__(
        self, principal: Principal, capsule: CapsuleId, *, cost_usd: float, resource: str
    ) -> None:
        self.principal = principal
        self.capsule = capsule
        self.cost_usd = cost_usd
        self.resource = resource

    def entry(self, verdict: BudgetVerdict, *, rule: str, left_usd: float) -> AuditEntry:
        """For the audit log."""
        return AuditEntry(
            timestamp=format_timestamp(time.time_ns()),
            principal=self.principal,
            capsule=self.capsule,
            action="budget.spend",
            resource=self.resource,
            outcome="allowed" if verdict.is_allowed else "denied",
            rule=rule,
            detail={
                "cost_usd": f"{self.cost_usd:g}",
                "left_usd": f"{left_usd:g}",
                "verdict": verdict.value,
            },
        )


class Budgets:
    """The budgets of one kernel. Safe from any thread.

    Args:
        limits: Of every principal.
        kv: The kernel's store; keeps what was spent in the workspace.
        audit: Has everything that was spent or refused.
        workspace: The workspace's name; None for none.
    """

    def __init__(
        self,
        limits: BudgetSettings,
        *,
        kv: KvStore,
        audit: AuditTrail,
        workspace: str | None = None,
    ) -> None:
        self._limits = limits
        self._kv = kv
        self._audit = audit
        self._place = (
            None
            if workspace is None or limits.workspace is None
            else blake3(workspace.encode("utf-8", "surrogateescape")).hexdigest(_DIGEST_BYTES)
        )
        self._lock = threading.Lock()
        self._sessions: dict[Principal, Budget] = {}

    @contextmanager
    def spending(self, what: Spending) -> Iterator[None]:
        """Take an amount for as long as it is decided about; an exception gives it back.

        Raises:
            BudgetExceededError: It is too much; nothing was taken.
            AuditError: It could not be recorded, and was given back.
            StoreError: What was spent could not be read or kept.
        """
        verdict, left_usd = self._take(what)
        try:
            yield
            rule = "budget"
            self._audit.append(what.entry(verdict, rule=rule, left_usd=left_usd), durable=True)
        except BaseException:
            self._give_back(what)
            raise

    def end_session(self, principal: Principal) -> None:
        """The last client of a principal has gone: its next session has a budget of its own."""
        with self._lock:
            self._sessions.pop(principal, None)

    def forget(self, principal: Principal) -> None:
        """A principal is deleted.

        Raises:
            StoreError: What it had spent could not be deleted.
        """
        self.end_session(principal)
        with self._lock:
            if self._place is not None:
                self._kv.apply(NAMESPACE, [KvWrite(self._key(principal), None)])

    def shown(self, principal: Principal) -> Mapping[str, float]:
        """Bounds and what is spent of them, for people.

        Raises:
            StoreError: What was spent could not be read.
        """
        with self._lock:
            workspace, session = self._budgets(principal)
        out = {
            "per_action_max_usd": session.per_action_max_usd,
            "session_max_usd": session.session_max_usd,
            "session_spent_usd": session.spent_usd,
        }
        if self._place is not None:
            out["workspace_max_usd"] = workspace.session_max_usd
            out["workspace_spent_usd"] = workspace.spent_usd
        return out

    def _take(self, what: Spending) -> tuple[BudgetVerdict, float]:
        with self._lock:
            workspace, session = self._budgets(what.principal)
            verdict, workspace, session = reserve_both(workspace, session, what.cost_usd)
            left_usd = min(workspace.available_usd, session.available_usd)
            if verdict.is_allowed:
                self._keep(what.principal, workspace, session)
                return verdict, left_usd
        rule = self._rule(verdict, workspace, what.cost_usd)
        self._audit.append(what.entry(verdict, rule=rule, left_usd=left_usd))
        raise BudgetExceededError(
            f"{what.cost_usd:g} USD is more than the budget of {what.principal!r} allows",
            rule=rule,
            hint=f"{left_usd:g} USD are left; see 'astrid quota get', and [budget] in config.toml",
        )

    def _give_back(self, what: Spending) -> None:
        with self._lock:
            workspace, session = self._budgets(what.principal)
            self._keep(
                what.principal, workspace.refund(what.cost_usd), session.refund(what.cost_usd)
            )

    def _rule(self, verdict: BudgetVerdict, workspace: Budget, cost_usd: float) -> str:
        if verdict is BudgetVerdict.OVER_ACTION:
            return "budget.per_action_max_usd"
        is_workspace = cost_usd > workspace.available_usd
        return "budget.workspace_max_usd" if is_workspace else "budget.session_max_usd"

    def _budgets(self, principal: Principal) -> tuple[Budget, Budget]:
        """Of the workspace, and of the session; the lock is held."""
        session = self._sessions.get(principal, self._limits.session)
        workspace = self._limits.workspace
        if self._place is None or workspace is None:
            return _NO_BOUND, session
        kept = self._kv.get(NAMESPACE, self._key(principal))
        return (workspace if kept is None else workspace.restored(_spent(kept, workspace))), session

    def _keep(self, principal: Principal, workspace: Budget, session: Budget) -> None:
        """The lock is held."""
        if self._place is not None:
            data = msgspec.json.encode(workspace.spent_usd)
            self._kv.apply(NAMESPACE, [KvWrite(self._key(principal), data)])
        if principal not in self._sessions and len(self._sessions) >= MAX_SESSIONS:
            self._sessions.pop(next(iter(self._sessions)))
        self._sessions[principal] = session

    def _key(self, principal: Principal) -> str:
        return f"{principal}/{self._place}"


def _spent(kept: bytes, budget: Budget) -> float:
    """What a record says was spent; one that says nothing sensible leaves nothing to spend."""
    try:
        found = msgspec.json.decode(kept, type=float)
    except msgspec.MsgspecError:
        return budget.session_max_usd
    return found if found >= 0 else budget.session_max_usd
