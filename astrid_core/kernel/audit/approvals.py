"""What the audit log says about questions to people. Spec: host-abi 2.3."""

from __future__ import annotations

import time

from astrid_core.domain.approval import Question, State
from astrid_core.domain.payload_message import format_timestamp
from astrid_hookspecs.audit import AuditEntry
from astrid_hookspecs.values import CapsuleId, Principal


def question_entry(
    question: Question, *, verb: str, by: Principal | None, scope: str
) -> AuditEntry:
    """That a question was asked, answered, withdrawn or has expired.

    Args:
        question: In the state it has then.
        verb: `request`, `answer`, `cancel`, `expire`.
        by: Who decided; None when nobody did.
        scope: What a yes covers; empty where there is none.
    """
    detail = {"request": str(question.id), "scope": scope or question.action}
    if by is not None:
        detail |= {"response": question.state.value, "path": "user"}
    return _entry(
        question,
        f"approval.{verb}",
        outcome="denied" if question.state is State.DENIED else "allowed",
        rule="" if by is None else f"person:{by}",
        detail=detail,
    )


def use_entry(question: Question, *, rule: str) -> AuditEntry:
    """That an earlier yes answered, and nobody was asked.

    Args:
        question: That would have been asked.
        rule: `allowance:<id>`.
    """
    detail = {"scope": question.action, "path": "allowance"}
    return _entry(question, "approval.use", outcome="allowed", rule=rule, detail=detail)


def _entry(
    question: Question, action: str, *, outcome: str, rule: str, detail: dict[str, str]
) -> AuditEntry:
    return AuditEntry(
        timestamp=format_timestamp(time.time_ns()),
        principal=Principal(question.principal),
        capsule=CapsuleId(question.capsule),
        action=action,
        resource=question.resource,
        outcome=outcome,
        rule=rule,
        detail=detail,
    )
