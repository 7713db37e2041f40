"""An agent that is deleted leaves no question, no yes and no token that counts. Spec: D-23."""

from __future__ import annotations

import uuid

import pytest

from astrid_core.domain.approval import ApprovalError
from astrid_hookspecs.errors import ApprovalDeniedError
from astrid_hookspecs.values import CapsuleId, Principal
from tests.support.management import Managed

ALICE, SHELL = Principal("alice"), CapsuleId("shell")


def test_questions_and_allowances_go_with_their_agent(managed: Managed) -> None:
    managed.done("AgentCreate", name=ALICE)
    approvals = managed.principals.approvals

    def ask(resource: str) -> uuid.UUID:
        return approvals.request(ALICE, SHELL, "run", resource=resource).question.id

    approvals.answer(ask("agreed"), "approve_always", by=ALICE)
    waits = ask("open")
    managed.done("AgentDelete", principal=ALICE)
    assert managed.principals.allowances.all(ALICE) == []
    assert approvals.pending() == []
    with pytest.raises(ApprovalError):
        approvals.answer(waits, "approve_always", by=ALICE)
    ticket = approvals.request(ALICE, SHELL, "run", resource="agreed")
    with pytest.raises(ApprovalDeniedError):
        approvals.wait(ticket, timeout_s=0)
