"""Questions to people: asked, waited for, answered, and remembered when nobody waits any more.

Trusted with four promises. A question is durable before anybody hears of it. It is answered once,
by who may. A yes becomes an allowance for the words that were shown, in the step that ends the
question, and whoever asked uses that allowance: so an answer that comes late, or after a crash,
waits for the next try, and a yes for one time is used one time, whoever waits. And each answer is
on record before it counts. Spec: kernel-and-security 7.4, 16 D-45, D-46.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Final

from loguru import logger

from astrid_core.domain import approval as rules
from astrid_core.domain.approval import ApprovalError, Question, State
from astrid_core.host.people import Pause
from astrid_core.kernel.allowances import ALLOWANCES, AllowanceStore
from astrid_core.kernel.approval_tickets import Pending, Settled, Ticket
from astrid_core.kernel.audit.approvals import question_entry, use_entry
from astrid_core.ports.audit import AuditTrail
from astrid_hookspecs.cancel import CancelToken, WaitSource, wait_any
from astrid_hookspecs.errors import QuotaExceededError
from astrid_hookspecs.stores import KvStore, KvWrite
from astrid_hookspecs.values import CapsuleId, Principal

TIMEOUT_S: Final = 60.0
"""How long who asks waits, at most."""
MAX_PENDING: Final = 64
"""Questions of one principal that wait at the same time."""
_PREFIX: Final = "@question/"
"""No principal begins like this, so no key of an allowance does."""
_PAGE: Final = 500


class Approvals:
    """The questions of one home. Safe from any thread; `wait` is for threads that may block.

    Args:
        kv: The kernel's store.
        allowances: Where a yes goes.
        audit: Where questions and answers are recorded, before they count.
        announce: Tells front ends of a question that somebody waits for now; may raise, and then
            the question stays.
        now: Unix seconds.
    """

    def __init__(
        self,
        kv: KvStore,
        *,
        allowances: AllowanceStore,
        audit: AuditTrail,
        announce: Callable[[Question], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._kv = kv
        self._allowances = allowances
        self._audit = audit
        self._announce = announce
        self._now = now
        self._lock = threading.Lock()
        self._pending: dict[uuid.UUID, Pending] = {}
        self._load()

    def request(
        self,
        principal: Principal,
        capsule: CapsuleId,
        action: str,
        *,
        resource: str,
        reason: str = "",
        workspace_root: str | None = None,
    ) -> Ticket:
        """Ask a person, unless there is an allowance or the same question waits already.

        Args:
            principal: For whom the capsule acts.
            capsule: Which one asks.
            action: What it wants to do, at most 256 characters.
            resource: To what, at most 1024 characters.
            reason: Why; shown, not part of what a yes covers.
            workspace_root: Where a yes counts; None for anywhere.

        Returns:
            What `wait` takes. Each is good for one action.

        Raises:
            ApprovalError: `approval.invalid`: a text is too long or cannot be shown; nobody was
                asked.
            QuotaExceededError: Too many questions of the principal wait.
            AuditError, StoreError: It could not be recorded or kept; nobody was asked.
        """
        question = rules.ask(
            uuid.uuid4(),
            principal=principal,
            capsule=capsule,
            action=action,
            resource=resource,
            reason=reason,
            workspace_root=workspace_root,
            now=int(self._now()),
        )
        if self._is_allowed(question):
            return Ticket(question, None, CancelToken())
        with self._lock:
            self._expire()
            pending = self._same(question) or self._ask(question)
            is_news = pending.waiters == 0
            pending.waiters += 1
            ticket = Ticket(question, pending, pending.put_off)
        if is_news:
            self._announce(pending.question)
        return ticket

    def wait(
        self, ticket: Ticket, *, cancel: CancelToken | None = None, timeout_s: float = TIMEOUT_S
    ) -> str:
        """Wait for the answer and use the yes; as `settle`.

        Returns:
            The rule that allows the action: `allowance:<id>`.
        """

        def pause(sources: Sequence[WaitSource], timeout_s: float) -> bool:
            stops = () if cancel is None else (cancel,)
            wait_any((*sources, *stops), timeout_s=timeout_s)
            return cancel is not None and cancel.is_fired

        return self.settle(ticket, pause=pause, timeout_s=timeout_s).rule

    def settle(self, ticket: Ticket, *, pause: Pause, timeout_s: float = TIMEOUT_S) -> Settled:
        """Wait for the answer and use the yes.

        Without an answer in time the question stays; a yes that comes later waits for the next
        try. When who asked goes away first, the question goes unless somebody else waits for it.

        Args:
            ticket: From `request`.
            pause: Waits.
            timeout_s: How long it may, in all.

        Raises:
            ApprovalDeniedError: `approval.denied`, `.timeout`, `.expired` or `.cancelled`.
            AuditError, StoreError: The yes could not be used.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            state = self._state_after(ticket, pause, deadline=deadline)
            if state is not None and not state.is_yes:
                raise rules.refusal(state)
            question = ticket.question
            used = self._allowances.use(
                question.wanted,
                principal=Principal(question.principal),
                root=question.workspace_root,
            )
            if used is not None:
                if state is None:
                    self._audit.append(use_entry(question, rule=used.rule), durable=True)
                return Settled(used.rule, state)
            ticket = self._again(question)

    def pending(self, principal: Principal | None = None) -> list[Question]:
        """The questions that can be answered, oldest first.

        Args:
            principal: Only those of this one.
        """
        with self._lock:
            self._expire()
            found = [one.question for one in self._pending.values()]
        wanted = [one for one in found if principal in (None, one.principal)]
        return sorted(wanted, key=lambda one: (one.created_at, str(one.id)))

    def put_off(self, question_id: uuid.UUID, *, by: Principal) -> None:
        """Let everybody who waits go on without an answer: nobody is there to give one now.

        The question stays, and a yes that comes later waits for the next try.

        Raises:
            ApprovalError: `approval.not-found`, as `answer`.
        """
        with self._lock:
            pending = self._answerable(question_id, by=by)
            gone, pending.put_off = pending.put_off, CancelToken()
        gone.fire()

    def answer(
        self, question_id: uuid.UUID, decision: str, *, by: Principal, scope: str | None = None
    ) -> State:
        """Decide. Durable and on record when it returns.

        Args:
            question_id: Of a pending question.
            decision: `approve`, `approve_session`, `approve_always`; anything else is a no.
            by: For whom the person acts, as the connection of the front end proves it. No capsule
                may get this far.
            scope: What a yes for the session or for good covers: `exact`, or a pattern that covers
                the resource; None for the usual scope.

        Returns:
            What the question became.

        Raises:
            ApprovalError: `approval.not-found`: there is no such question for this principal, or
                `approval.answered`, or `approval.scope`.
            AllowanceError: The principal has too many allowances.
            AuditError, StoreError: It could not be recorded or kept; the question stays.
        """
        with self._lock:
            pending = self._answerable(question_id, by=by)
            chosen = rules.parse_decision(decision)
            question, allowance = rules.answer(
                pending.question, chosen, now=self._now(), scope=scope
            )
            covers = "" if allowance is None else rules.scope_of(allowance)
            self._record(question, verb="answer", by=by, scope=covers)
            gone = KvWrite(_key(question), None)
            if allowance is None:
                self._kv.apply(ALLOWANCES, [gone])
            else:
                self._allowances.add(allowance, by=by, also=[gone])
            self._end(question)
            return question.state

    def forget(self, principal: Principal) -> int:
        """Withdraw all questions of a principal that goes away; returns how many."""
        with self._lock:
            found = [one for one in self._pending.values() if one.question.principal == principal]
            for one in found:
                self._withdraw(rules.cancel(one.question), verb="cancel")
            return len(found)

    def _answerable(self, question_id: uuid.UUID, *, by: Principal) -> Pending:
        self._expire()
        pending = self._pending.get(question_id)
        if pending is None or not rules.may_answer(by, pending.question):
            raise ApprovalError(
                f"no request {question_id} waits for an answer of {by!r}",
                code="approval.not-found",
                hint="it may have been answered or have expired",
            )
        return pending

    def _load(self) -> None:
        after, more = None, True
        while more:
            keys, more = self._kv.keys(ALLOWANCES, _PREFIX, after=after, limit=_PAGE)
            for after in keys:
                data = self._kv.get(ALLOWANCES, after) or b""
                try:
                    question = rules.parse_question(data)
                except ApprovalError as error:  # nobody can decide about a damaged one
                    logger.error("question {}: {}", after, error)
                    continue
                if _key(question) == after and question.state is State.PENDING:
                    self._pending[question.id] = Pending(question)

    def _is_allowed(self, question: Question) -> bool:
        found = self._allowances.find(
            question.wanted,
            principal=Principal(question.principal),
            root=question.workspace_root,
        )
        return found is not None

    def _same(self, question: Question) -> Pending | None:
        return next(
            (one for one in self._pending.values() if one.question.asks_the_same(question)), None
        )

    def _ask(self, question: Question) -> Pending:
        owned = [
            one for one in self._pending.values() if one.question.principal == question.principal
        ]
        if len(owned) >= MAX_PENDING:
            raise QuotaExceededError(
                f"{MAX_PENDING} requests of {question.principal!r} wait for an answer",
                rule="approval:pending",
                hint="answer them first",
            )
        self._record(question, verb="request", by=None)
        self._kv.apply(ALLOWANCES, [KvWrite(_key(question), rules.format_question(question))])
        pending = self._pending[question.id] = Pending(question)
        return pending

    def _again(self, question: Question) -> Ticket:
        """Another waiter was faster with a yes for one time: ask anew for this one."""
        return self.request(
            Principal(question.principal),
            CapsuleId(question.capsule),
            question.action,
            resource=question.resource,
            reason=question.reason,
            workspace_root=question.workspace_root,
        )

    def _state_after(self, ticket: Ticket, pause: Pause, *, deadline: float) -> State | None:
        """The question's state after waiting; None when an allowance made asking needless."""
        pending = ticket.pending
        if pending is None:
            return None
        left_s = max(deadline - time.monotonic(), 0.0)
        try:
            has_gone = pause((pending.ended, ticket.put_off), left_s)
        finally:
            with self._lock:
                pending.waiters -= 1
        with self._lock:
            self._expire()
            if pending.question.state is not State.PENDING or not has_gone:
                return pending.question.state
            if pending.waiters == 0:
                self._withdraw(rules.cancel(pending.question), verb="cancel")
            return State.CANCELLED

    def _expire(self) -> None:
        now = self._now()
        for one in list(self._pending.values()):
            question = rules.expire(one.question, now=now)
            if question.state is State.EXPIRED:
                self._withdraw(question, verb="expire")

    def _withdraw(self, question: Question, *, verb: str) -> None:
        self._record(question, verb=verb, by=None)
        self._kv.apply(ALLOWANCES, [KvWrite(_key(question), None)])
        self._end(question)

    def _end(self, question: Question) -> None:
        pending = self._pending.pop(question.id)
        pending.question = question
        pending.ended.fire()

    def _record(
        self, question: Question, *, verb: str, by: Principal | None, scope: str = ""
    ) -> None:
        self._audit.append(question_entry(question, verb=verb, by=by, scope=scope), durable=True)


def _key(question: Question) -> str:
    return f"{_PREFIX}{question.id}"
