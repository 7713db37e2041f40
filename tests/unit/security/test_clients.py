"""What clients may do; the rules and the gate that applies them."""

from __future__ import annotations

import pytest

from astrid_core.domain.capability import Decision, Outcome
from astrid_core.domain.tool_filter import ToolFilter
from astrid_core.security.clients import may_hear, may_publish, may_speak_for
from astrid_core.security.gate import Gate
from astrid_hookspecs.authz import Verdict, Vote
from astrid_hookspecs.errors import CapabilityDeniedError, DeniedError, PolicyDeniedError
from astrid_hookspecs.events import DecisionEvent
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, Principal

ALICE, BOB = Principal("alice"), Principal("bob")


@pytest.mark.parametrize(
    ("principal", "other", "allowed"),
    [
        (ALICE, ALICE, True),
        (ALICE, BOB, False),
        (ALICE, DEFAULT_PRINCIPAL, False),
        (DEFAULT_PRINCIPAL, BOB, True),
    ],
)
def test_only_the_owner_speaks_for_others(
    principal: Principal, other: Principal, allowed: bool
) -> None:
    assert may_speak_for(principal, other) is allowed


@pytest.mark.parametrize(
    ("principal", "topic", "allowed"),
    [
        (ALICE, "user.v1.prompt", True),
        (ALICE, "astrid.process.v1.exited.x", False),
        (DEFAULT_PRINCIPAL, "astrid.process.v1.exited.x", False),
        (ALICE, "astrid.v1.approval.response.r1", True),
        (DEFAULT_PRINCIPAL, "astrid.v1.approval.response.r1", True),
        (ALICE, "astrid.v1.approval", False),
        (ALICE, "astrid.v1.approval.responses.r1", False),
        (ALICE, "client.v1.connect", False),
        (DEFAULT_PRINCIPAL, "astrid.v1.capsules_loaded", False),
        (DEFAULT_PRINCIPAL, "astrid.v1.response.status", False),
    ],
)
def test_what_the_kernel_says_nobody_says_for_it(
    principal: Principal, topic: str, allowed: bool
) -> None:
    assert may_publish(principal, topic) is allowed


def test_clients_hear_what_concerns_them() -> None:
    assert may_hear(ALICE, ALICE)
    assert not may_hear(ALICE, BOB)
    assert not may_hear(ALICE, None)
    assert not may_hear(DEFAULT_PRINCIPAL, BOB)
    assert may_hear(DEFAULT_PRINCIPAL, None)
    assert may_hear(ALICE, None, topic="astrid.v1.tools_changed")
    assert not may_hear(ALICE, BOB, topic="astrid.v1.tools_changed")  # it could say anything


class Recorder:
    def __init__(self, *votes: Vote) -> None:
        self.decisions: list[DecisionEvent] = []
        self.gate = Gate(
            votes=(lambda _: [("policy", vote) for vote in votes]) if votes else None,
            decided=self.decisions.append,
        )

    def rule(self) -> tuple[bool, str]:
        (decision,) = self.decisions
        return decision.allowed, decision.rule


def test_a_client_frame_denied_when_it_names_somebody_else() -> None:
    recorder = Recorder()
    assert recorder.gate.check_client_principal(DEFAULT_PRINCIPAL, ALICE).rule
    with pytest.raises(CapabilityDeniedError):
        recorder.gate.check_client_principal(ALICE, DEFAULT_PRINCIPAL)
    assert recorder.rule() == (False, "connection.principal")


@pytest.mark.parametrize(
    ("decision", "right", "rule"),
    [
        (Decision(Outcome.GRANTED, "system:*"), "system:status", "grants:system:*"),
        (Decision(Outcome.GROUP, "*", "admin"), "system:status", "group:admin:*"),
        (Decision(Outcome.TOKEN, "1-2"), "system:status", "token:1-2"),
        (Decision(Outcome.MISSING), "self:tool:call", "open:self:tool:call"),
    ],
)
def test_a_request_is_allowed_by_the_rule_that_gives_the_right(
    decision: Decision, right: str, rule: str
) -> None:
    recorder = Recorder()
    granted = recorder.gate.check_client_request(
        ALICE, "X", right=right, decision=decision, target=BOB
    )
    assert granted.rule == rule
    assert granted.request.context == {"right": right, "target": "bob"}
    assert recorder.decisions == []


@pytest.mark.parametrize(
    ("decision", "right", "rule"),
    [
        (Decision(Outcome.DISABLED), "self:tool:call", "profile.enabled"),
        (Decision(Outcome.REVOKED, "system:*"), "system:status", "revokes:system:*"),
        (Decision(Outcome.REVOKED, "self:*"), "self:tool:call", "revokes:self:*"),
        (Decision(Outcome.MISSING), "system:status", "system:status"),
    ],
)
def test_a_request_denied_when_the_principal_lacks_the_right(
    decision: Decision, right: str, rule: str
) -> None:
    recorder = Recorder()
    with pytest.raises(CapabilityDeniedError) as caught:
        recorder.gate.check_client_request(ALICE, "X", right=right, decision=decision)
    assert caught.value.rule == rule
    assert recorder.rule() == (False, rule)


def test_a_client_publish_denied_when_disabled_or_reserved() -> None:
    assert Recorder().gate.check_client_publish(ALICE, "user.v1.prompt", enabled=True).rule
    for topic, enabled, rule in (
        ("user.v1.prompt", False, "profile.enabled"),
        ("astrid.v1.admin.agent.create", True, "reserved-topic"),
    ):
        recorder = Recorder()
        with pytest.raises(CapabilityDeniedError):
            recorder.gate.check_client_publish(ALICE, topic, enabled=enabled)
        assert recorder.rule() == (False, rule)


def test_a_client_subscription_denied_when_a_policy_says_no() -> None:
    assert Recorder().gate.check_client_subscribe(ALICE, "a.*").rule == "client-topic"
    recorder = Recorder(Vote(Verdict.DENY, "not today"))
    with pytest.raises(PolicyDeniedError):
        recorder.gate.check_client_subscribe(ALICE, "a.*")


def test_a_client_call_denied_when_the_client_does_not_offer_the_tool() -> None:
    notes = ToolFilter(["notes.*"])
    assert Recorder().gate.check_client_call(ALICE, "notes.find", offered=notes).rule
    recorder = Recorder()
    with pytest.raises(CapabilityDeniedError, match=r"does not offer 'mail\.send'"):
        recorder.gate.check_client_call(ALICE, "mail.send", offered=notes)
    assert recorder.rule() == (False, "client.only")
    recorder = Recorder(Vote(Verdict.DENY, "not today"))
    with pytest.raises(PolicyDeniedError):
        recorder.gate.check_client_call(ALICE, "notes.find", offered=notes)


@pytest.mark.parametrize("what", ["principal", "request", "publish"])
def test_every_client_check_denied_when_a_policy_says_no(what: str) -> None:
    recorder = Recorder(Vote(Verdict.DENY, "not today", "r"))
    checks = {
        "principal": lambda: recorder.gate.check_client_principal(DEFAULT_PRINCIPAL, BOB),
        "request": lambda: recorder.gate.check_client_request(
            DEFAULT_PRINCIPAL,
            "GetStatus",
            right="system:status",
            decision=Decision(Outcome.GROUP, "*", "admin"),
        ),
        "publish": lambda: recorder.gate.check_client_publish(ALICE, "a", enabled=True),
    }
    with pytest.raises(DeniedError) as caught:
        checks[what]()
    assert caught.value.rule == "policy:policy:r"
