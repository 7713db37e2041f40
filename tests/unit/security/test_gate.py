"""The gate: built-in rules, then votes; every refusal is reported before it is raised."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from astrid_core.domain.file_pattern import FilePlace, parse_file_patterns
from astrid_core.security.checked import FileAccess
from astrid_core.security.gate import Gate
from astrid_core.security.grants import CapsuleGrants
from astrid_core.security.votes import Ballot, tally
from astrid_hookspecs.authz import AuthzRequest, Verdict, Vote
from astrid_hookspecs.errors import CapabilityDeniedError, PolicyDeniedError
from astrid_hookspecs.events import DecisionEvent
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, CapsuleId, Principal

ALICE, BOB = Principal("alice"), Principal("bob")
NOTES = CapsuleId("notes")
GRANTS = CapsuleGrants(
    NOTES,
    publish=("a.b.*", "x", "astrid.v1.admin.*.*"),
    subscribe=("a.*", "in.v1.x.*"),
)
UPLINK = CapsuleGrants(CapsuleId("front"), publish=("client.v1.*",), uplink=True)


class Recorder:
    def __init__(self, *ballots: Ballot) -> None:
        self.ballots = ballots
        self.asked: list[AuthzRequest] = []
        self.decisions: list[DecisionEvent] = []

    def votes(self, request: AuthzRequest) -> Sequence[Ballot]:
        self.asked.append(request)
        return self.ballots

    def gate(self) -> Gate:
        return Gate(votes=self.votes if self.ballots else None, decided=self.decisions.append)


@pytest.mark.parametrize(
    ("topic", "allowed"),
    [("a.b.c", True), ("a.b", False), ("a.b.c.d", False), ("x", True), ("X", False)],
)
def test_vector_80_publish_needs_a_matching_acl_entry(topic: str, allowed: bool) -> None:
    recorder = Recorder()
    if allowed:
        assert recorder.gate().check_publish(GRANTS, ALICE, topic).rule.startswith("publish-acl:")
        assert recorder.decisions == []
    else:
        with pytest.raises(CapabilityDeniedError) as caught:
            recorder.gate().check_publish(GRANTS, ALICE, topic)
        assert caught.value.rule == "publish-acl"
        assert caught.value.hint is not None
        assert [(d.allowed, d.rule, d.resource) for d in recorder.decisions] == [
            (False, "publish-acl", topic)
        ]


def test_publish_denied_when_the_acl_is_empty() -> None:
    with pytest.raises(CapabilityDeniedError):
        Recorder().gate().check_publish(CapsuleGrants(NOTES), ALICE, "a")


@pytest.mark.parametrize("topic", ["astrid.process.v1.exited.x", "astrid.v1.approval"])
def test_kernel_topic_denied_even_when_an_uplink_publishes_what_the_acl_names(topic: str) -> None:
    for uplink in (False, True):
        recorder = Recorder()
        grants = CapsuleGrants(NOTES, publish=(topic,), uplink=uplink)
        with pytest.raises(CapabilityDeniedError) as caught:
            recorder.gate().check_publish(grants, ALICE, topic)
        assert caught.value.rule == recorder.decisions[-1].rule == "kernel-topic"


def test_reserved_topic_denied_even_when_the_acl_names_it() -> None:
    recorder = Recorder()
    with pytest.raises(CapabilityDeniedError) as caught:
        recorder.gate().check_publish(GRANTS, ALICE, "astrid.v1.admin.agent.create")
    assert caught.value.rule == "reserved-topic"
    assert recorder.gate().check_publish(UPLINK, ALICE, "client.v1.connect").request.capsule == (
        "front"
    )


@pytest.mark.parametrize(
    ("method", "allowed"), [("GetStatus", True), ("Shutdown", False), (None, False)]
)
def test_kernel_request_denied_when_it_may_change_something(
    method: str | None, allowed: bool
) -> None:
    topic = "astrid.v1.request.anything"
    grants = CapsuleGrants(NOTES, publish=("astrid.v1.request.*",))
    recorder = Recorder()
    gate = recorder.gate()
    assert gate.check_publish(grants, ALICE, topic).rule == "publish-acl:astrid.v1.request.*"
    if allowed:
        assert gate.check_request(grants, ALICE, topic, method=method).rule == "kernel-request"
    else:
        with pytest.raises(CapabilityDeniedError) as caught:
            gate.check_request(grants, ALICE, topic, method=method)
        assert caught.value.rule == "reserved-topic"
        assert recorder.decisions[0].action == "kernel.request"
    assert gate.check_request(UPLINK, ALICE, topic, method=method).rule == "kernel-request"


def test_publish_as_denied_without_the_uplink_flag() -> None:
    with pytest.raises(CapabilityDeniedError) as caught:
        Recorder().gate().check_publish_as(GRANTS, ALICE, BOB, enabled=True)
    assert caught.value.rule == "capabilities.uplink"
    granted = Recorder().gate().check_publish_as(UPLINK, ALICE, BOB, enabled=True)
    assert granted.rule == "capabilities.uplink"


@pytest.mark.parametrize(
    ("principal", "claimed", "topic", "allowed"),
    [
        (DEFAULT_PRINCIPAL, BOB, "astrid.v1.request.x", True),
        (ALICE, ALICE, "astrid.v1.admin.agent.list", True),
        (ALICE, BOB, "chat.v1.said", True),
        (ALICE, BOB, "astrid.v1.request.x", False),
        (ALICE, DEFAULT_PRINCIPAL, "astrid.v1.admin.agent.list", False),
        (ALICE, DEFAULT_PRINCIPAL, "astrid.v1.approval.response.r", False),
    ],
)
def test_claim_denied_when_it_would_raise_rights(
    principal: Principal, claimed: Principal, topic: str, allowed: bool
) -> None:
    recorder = Recorder()
    if allowed:
        recorder.gate().check_claim(UPLINK, principal, claimed, topic)
        return
    with pytest.raises(CapabilityDeniedError) as caught:
        recorder.gate().check_claim(UPLINK, principal, claimed, topic)
    assert caught.value.rule == "claim.principal"
    assert [(d.principal, d.capsule) for d in recorder.decisions] == [(principal, "front")]


def test_publish_as_denied_when_the_other_is_disabled() -> None:
    recorder = Recorder()
    with pytest.raises(CapabilityDeniedError) as caught:
        recorder.gate().check_publish_as(UPLINK, ALICE, BOB, enabled=False)
    assert caught.value.rule == "profile.enabled"
    assert "'bob'" in caught.value.message
    assert recorder.decisions[0].principal == ALICE


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [("a.*", True), ("a.b", True), ("a.b.c", False), ("in.v1.x.*", True), ("in.v1.*", False)],
)
def test_vector_87_subscribe_compares_the_pattern_text(pattern: str, allowed: bool) -> None:
    gate = Recorder().gate()
    if allowed:
        assert gate.check_subscribe(GRANTS, ALICE, pattern).rule.startswith("subscribe-acl:")
    else:
        with pytest.raises(CapabilityDeniedError, match="may not subscribe"):
            gate.check_subscribe(GRANTS, ALICE, pattern)


def test_invoke_denied_when_the_profile_is_disabled() -> None:
    recorder = Recorder()
    with pytest.raises(CapabilityDeniedError) as caught:
        recorder.gate().check_invoke(ALICE, NOTES, "tool_execute_x", enabled=False)
    assert caught.value.rule == "profile.enabled"
    assert recorder.decisions[0].principal == ALICE
    grant = recorder.gate().check_invoke(ALICE, NOTES, "tool_execute_x", enabled=True)
    assert grant.request == AuthzRequest(ALICE, "capsule.invoke", "tool_execute_x", NOTES)


DENY = ("dist-a", Vote(Verdict.DENY, "after hours", "clock"))
ALLOW = ("dist-b", Vote(Verdict.ALLOW, "listed"))
ABSTAIN = ("dist-c", Vote(Verdict.ABSTAIN, "not mine"))
FAILED = ("dist-c", Vote(Verdict.DENY, "did not answer in time", "policy:dist-c"))


def test_one_policy_denial_refuses_whatever_others_say() -> None:
    recorder = Recorder(ALLOW, ABSTAIN, DENY)
    with pytest.raises(PolicyDeniedError, match="after hours") as caught:
        recorder.gate().check_publish(GRANTS, ALICE, "x")
    assert caught.value.rule == "policy:dist-a:clock"
    assert recorder.decisions[0].rule == "policy:dist-a:clock"


def test_abstaining_policies_leave_the_built_in_decision() -> None:
    recorder = Recorder(ABSTAIN)
    assert recorder.gate().check_publish(GRANTS, ALICE, "x").rule == "publish-acl:x"
    assert len(recorder.asked) == 1


def test_a_policy_cannot_allow_what_the_manifest_does_not() -> None:
    recorder = Recorder(ALLOW)
    with pytest.raises(CapabilityDeniedError):
        recorder.gate().check_publish(GRANTS, ALICE, "not.granted")
    assert recorder.asked == []


@pytest.mark.parametrize(
    ("ballots", "expected"),
    [
        ([ABSTAIN], (False, "policy:silence")),
        ([], (False, "policy:silence")),
        ([ABSTAIN, ALLOW], (True, "policy:dist-b")),
        ([ALLOW, ALLOW, ABSTAIN], (True, "policy:dist-b")),
        ([ALLOW, DENY], (False, "policy:dist-a:clock")),
        ([DENY, ALLOW], (False, "policy:dist-a:clock")),
        ([ALLOW, FAILED], (False, "policy:dist-c")),
    ],
)
def test_tally(ballots: list[Ballot], expected: tuple[bool, str]) -> None:
    assert tally(ballots)[:2] == expected


FILES = CapsuleGrants(
    NOTES,
    fs_read=parse_file_patterns(["*", "home://"]),
    fs_write=parse_file_patterns(["cwd://d", "home://data"]),
)


@pytest.mark.parametrize(
    ("access", "at", "rule"),
    [
        ("read", ("workspace", "a.txt"), "fs_read:*"),
        ("read", ("home", "x"), "fs_read:home://"),
        ("write", ("workspace", "d", "n"), "fs_write:cwd://d"),
        ("write", ("home", "data"), "fs_write:home://data"),
        ("read-write", ("workspace", "d"), "fs_read:* fs_write:cwd://d"),
    ],
)
def test_file_allowed_by_the_entry_that_covers_it(
    access: FileAccess, at: tuple[str, ...], rule: str
) -> None:
    recorder = Recorder()
    place = FilePlace(at[0], at[1:])
    checked = recorder.gate().check_file(FILES, ALICE, access, place)
    assert (checked.place, checked.access, checked.rule) == (place, access, rule)
    assert recorder.decisions == []


@pytest.mark.parametrize(
    ("access", "at", "rule"),
    [
        ("write", ("workspace", "a.txt"), "fs_write"),
        ("read-write", ("workspace", "a.txt"), "fs_write"),
        ("read", ("docs", "x"), "fs_read"),
        ("write", ("tmp", "t"), "fs_write"),
        ("read", ("home", ".config", "x"), "home.reserved"),
        ("read", ("home", ".local", "audit"), "home.reserved"),
        ("read", ("workspace", "..", "x"), "fs_read"),
    ],
)
def test_file_denied_when_no_entry_covers_it(
    access: FileAccess, at: tuple[str, ...], rule: str
) -> None:
    recorder = Recorder()
    place = FilePlace(at[0], at[1:], "/secret/host")
    with pytest.raises(CapabilityDeniedError) as caught:
        recorder.gate().check_file(FILES, ALICE, access, place)
    assert caught.value.rule == rule
    (decision,) = recorder.decisions
    assert (decision.allowed, decision.rule, decision.resource) == (False, rule, place.text)
    assert decision.action == ("fs.write" if rule == "fs_write" else "fs.read")
    assert "secret" not in f"{caught.value} {caught.value.hint} {decision}"


def test_a_file_denial_names_the_missing_line() -> None:
    with pytest.raises(CapabilityDeniedError) as caught:
        Recorder().gate().check_file(FILES, ALICE, "write", FilePlace("tmp", ("t",)))
    assert caught.value.hint == (
        'add "tmp://t" to fs_write below [capabilities] in its Capsule.toml'
    )


def test_file_denied_when_the_manifest_lists_nothing() -> None:
    gate, nothing = Recorder().gate(), CapsuleGrants(NOTES)
    for access in ("read", "write"):
        with pytest.raises(CapabilityDeniedError):
            gate.check_file(nothing, ALICE, access, FilePlace("workspace", ()))


def test_file_denied_when_a_policy_refuses() -> None:
    recorder = Recorder(("acme", Vote(Verdict.DENY, "not now", "night")))
    with pytest.raises(PolicyDeniedError) as caught:
        recorder.gate().check_file(FILES, ALICE, "read", FilePlace("workspace", ("a",)))
    assert caught.value.rule == "policy:acme:night"
    (request,) = recorder.asked
    assert (request.action, request.resource, request.capsule) == (
        "fs.read",
        "workspace://a",
        NOTES,
    )


def test_policies_are_asked_about_both_halves_of_read_and_write() -> None:
    recorder = Recorder(("acme", Vote(Verdict.ALLOW, "fine")))
    recorder.gate().check_file(FILES, ALICE, "read-write", FilePlace("workspace", ("d",)))
    assert [request.action for request in recorder.asked] == ["fs.read", "fs.write"]


def test_policies_are_not_asked_about_what_is_reserved() -> None:
    recorder = Recorder(("acme", Vote(Verdict.ALLOW, "fine")))
    with pytest.raises(CapabilityDeniedError):
        recorder.gate().check_file(FILES, ALICE, "read", FilePlace("home", (".config",)))
    assert recorder.asked == []


def test_a_call_beyond_a_quota_is_reported_like_every_refusal() -> None:
    recorder = Recorder()
    error = recorder.gate().over_quota(
        ALICE,
        CapsuleId("c"),
        "act",
        rule="max_cpu_secs_per_minute",
        message="too much",
        hint="wait",
    )
    assert (error.rule, error.hint) == ("max_cpu_secs_per_minute", "wait")
    (decision,) = recorder.decisions
    assert (decision.allowed, decision.action, decision.rule) == (
        False,
        "capsule.invoke",
        "max_cpu_secs_per_minute",
    )


def test_what_a_capsule_uses_too_much_is_reported_like_every_refusal() -> None:
    recorder = Recorder()
    recorder.gate().report_excess(GRANTS, ALICE, "kv.set", rule="max_storage_bytes")
    (decision,) = recorder.decisions
    assert (decision.allowed, decision.principal, decision.capsule) == (False, ALICE, NOTES)
    assert (decision.action, decision.rule) == ("kv.set", "max_storage_bytes")
