"""Questions of install hooks to people: asked, waited for, answered once, forgotten.

Trusted with three promises. Only who may answer answers, and only who asked gets the answer: it is
handed over in memory, and neither the bus nor a log nor an error ever has it. A question is on
record before anybody hears of it, and its answer, without its value, before it counts.
Spec: host-abi 4; capsules-and-bus 2.7; kernel-and-security 7.4.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from astrid_core.domain.elicitation import Answer, Elicitation, ElicitError, read_answer
from astrid_core.domain.payload_message import format_timestamp
from astrid_core.host.people import Pause
from astrid_core.ports.audit import AuditTrail
from astrid_hookspecs.audit import AuditEntry
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.errors import QuotaExceededError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, CapsuleId, Principal

TIMEOUT_S: Final = 120.0
MAX_PENDING: Final = 16
"""Questions of one principal that wait at the same time."""


class Asked(NamedTuple):
    """A question that waits.

    Attributes:
        id: Of the question.
        principal: Who is asked.
        capsule: Which one asks.
        question: What.
    """

    id: uuid.UUID
    principal: Principal
    capsule: CapsuleId
    question: Elicitation


class Elicitations:
    """The questions of one kernel. Safe from any thread.

    Args:
        audit: Where questions and answers are recorded.
        announce: Tells front ends of a question; may raise.
        ended: Tells them that one is over, and how: `answered`, `cancelled`, `timeout`.
    """

    def __init__(
        self,
        audit: AuditTrail,
        *,
        announce: Callable[[Asked], None],
        ended: Callable[[Asked, str], None],
    ) -> None:
        self._audit = audit
        self._announce = announce
        self._ended = ended
        self._lock = threading.Lock()
        self._waiting: dict[uuid.UUID, _Waiting] = {}

    def ask(
        self,
        principal: Principal,
        capsule: CapsuleId,
        question: Elicitation,
        *,
        pause: Pause,
        timeout_s: float = TIMEOUT_S,
    ) -> Answer:
        """Ask and wait.

        Args:
            principal: Who is asked.
            capsule: Which one asks.
            question: What.
            pause: Waits.
            timeout_s: How long it may.

        Raises:
            ElicitError: `elicit.timeout`, `.cancelled`, or `.invalid` for an answer of another
                kind.
            QuotaExceededError: Too many questions wait.
            AuditError: It could not be recorded; nobody was asked.
        """
        waiting = _Waiting(Asked(uuid.uuid4(), principal, capsule, question))
        self._admit(waiting)
        how = ""
        try:
            self._record(waiting.asked, "request")
            how = "timeout"
            self._announce(waiting.asked)
            pause((waiting.done,), timeout_s)
            with self._lock:  # an answer counts, or is refused: there is nothing between
                reply = waiting.close()
            if reply is None:
                self._record(waiting.asked, "answer", outcome="failed", error="elicit.timeout")
                raise ElicitError("nobody answered in time", code="elicit.timeout")
            how = "cancelled" if reply.is_nothing else "answered"
        finally:
            with self._lock:
                waiting.close()
                del self._waiting[waiting.asked.id]
            if how:  # else nobody has heard of it
                self._ended(waiting.asked, how)
        return read_answer(question, value=reply.value, values=reply.values)

    def answer(
        self,
        question_id: uuid.UUID,
        *,
        value: str | None,
        values: Sequence[str] | None,
        by: Principal,
    ) -> None:
        """Hand an answer to who asked; neither value nor values cancels the question.

        Args:
            question_id: Of a question that waits.
            value: One text.
            values: Several, for an array.
            by: For whom the person acts, as the connection of the front end proves it.

        Raises:
            ElicitError: `elicit.not-found`: no such question waits for this principal.
            AuditError: It could not be recorded; the question waits on.
        """
        with self._lock:
            waiting = self._waiting.get(question_id)
            if waiting is None or waiting.is_closed or not _may_answer(by, waiting.asked):
                raise ElicitError(
                    f"no question {question_id} waits for an answer of {by!r}",
                    code="elicit.not-found",
                    hint="it may have been answered, or nobody waits for it any more",
                )
            reply = _Reply(value, None if values is None else tuple(values))
            outcome = "denied" if reply.is_nothing else "allowed"
            self._record(waiting.asked, "answer", outcome=outcome, rule=f"person:{by}")
            waiting.settle(reply)

    def waiting(self, principal: Principal) -> list[Asked]:
        """The questions that a principal can answer now, oldest first."""
        with self._lock:
            every = [one.asked for one in self._waiting.values() if not one.is_closed]
        return [one for one in every if _may_answer(principal, one)]

    def _admit(self, waiting: _Waiting) -> None:
        asked = waiting.asked
        with self._lock:
            owned = [
                one for one in self._waiting.values() if one.asked.principal == asked.principal
            ]
            if len(owned) >= MAX_PENDING:
                raise QuotaExceededError(
                    f"{MAX_PENDING} questions of {asked.principal!r} wait for an answer",
                    rule="elicit:pending",
                    hint="answer them first",
                )
            self._waiting[asked.id] = waiting

    def _record(
        self, asked: Asked, verb: str, *, outcome: str = "allowed", rule: str = "", error: str = ""
    ) -> None:
        detail = {"key": asked.question.key, "kind": asked.question.kind}
        self._audit.append(
            AuditEntry(
                timestamp=format_timestamp(time.time_ns()),
                principal=asked.principal,
                capsule=asked.capsule,
                action=f"elicit.{verb}",
                resource=asked.question.key,
                outcome=outcome,
                rule=rule,
                detail={**detail, **({"error": error} if error else {})},
            ),
            durable=True,
        )


class _Reply:
    """What a person said. Never shown."""

    __slots__ = ("value", "values")

    def __init__(self, value: str | None, values: tuple[str, ...] | None) -> None:
        self.value = value
        self.values = values

    @property
    def is_nothing(self) -> bool:
        return self.value is None and self.values is None


class _Waiting:
    """A question, and its answer once there is one; it takes the first and no other.

    Guarded by the lock of `Elicitations`.
    """

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.done = CancelToken()
        self.is_closed = False
        self._reply: _Reply | None = None

    def settle(self, reply: _Reply) -> None:
        self._reply = reply
        self.is_closed = True
        self.done.fire()

    def close(self) -> _Reply | None:
        self.is_closed = True
        return self._reply


def _may_answer(who: Principal, asked: Asked) -> bool:
    return who in (asked.principal, DEFAULT_PRINCIPAL)
