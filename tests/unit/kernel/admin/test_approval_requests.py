"""Requests about questions and allowances."""

from __future__ import annotations

import uuid

import pytest

from astrid_hookspecs.values import CapsuleId, Principal
from tests.support.management import Managed

ALICE = Principal("alice")


@pytest.fixture
def peopled(managed: Managed) -> Managed:
    for name in ("alice", "bob"):
        managed.done("AgentCreate", name=name)
    return managed


def ask(managed: Managed, resource: str) -> uuid.UUID:
    ticket = managed.principals.approvals.request(
        ALICE, CapsuleId("shell"), "run", resource=resource, workspace_root="/srv/work"
    )
    return ticket.question.id


def test_questions_and_what_became_of_them(peopled: Managed) -> None:
    open_one, agreed = ask(peopled, "rm x"), ask(peopled, "ls")
    peopled.principals.approvals.answer(agreed, "approve_always", by=ALICE)
    (shown,) = peopled.done("ApprovalList", caller="alice", principal="alice")
    assert (shown["id"], shown["resource"], shown["state"]) == (str(open_one), "rm x", "pending")
    assert "/srv/work" not in str(shown)
    (row,) = peopled.done("AllowanceList", principal="alice")
    assert (row["id"], row["covers"]["resource"]) == (str(agreed), "ls")
    assert (row["uses_remaining"], row["session_only"]) == (None, False)
    assert "/srv/work" not in str(row)


def test_an_allowance_is_taken_back(peopled: Managed) -> None:
    agreed = ask(peopled, "ls")
    peopled.principals.approvals.answer(agreed, "approve_always", by=ALICE)
    removal = {"principal": "alice", "id": str(agreed)}
    assert peopled.done("AllowanceRemove", caller="alice", **removal)["changed"] is True
    assert peopled.done("AllowanceRemove", **removal)["changed"] is False
    assert peopled.done("AllowanceList", principal="alice") == []


@pytest.mark.parametrize("method", ["ApprovalList", "AllowanceList", "AllowanceRemove"])
def test_request_denied_when_it_is_about_another(peopled: Managed, method: str) -> None:
    more = {"id": str(uuid.UUID(int=1))} if method == "AllowanceRemove" else {}
    refusal = peopled.refused(method, caller="bob", principal="alice", **more)
    assert refusal == "denied.capability"
