"""What rules refuse, when, and what happens while the file cannot be used."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from astrid_conformance.checks.authz_policy import Policy
from astrid_conformance.suites import AuthzPolicyConformance
from astrid_hookspecs.authz import AuthzRequest, Verdict
from astrid_hookspecs.values import CapsuleId, Principal

from astrid_authz_policy.plugin import policy_path
from astrid_authz_policy.policy import PolicyError, parse_policy
from astrid_authz_policy.voter import Voter

WEDNESDAY_NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)

POLICY = """
[[deny]]
name = "never-these"
actions = ["capsule.invoke"]
resources = ["tool_execute_wipe", "tool_execute_pay*"]

[[deny]]
name = "no-keys"
actions = ["fs.*"]
resources = ["*.pem"]
capsules = ["web-*"]

[[deny]]
name = "office-hours"
principals = ["agent-*"]
outside = { from = "08:00", to = "18:00", days = ["mon", "wed"], zone = "Europe/Berlin" }

[[deny]]
name = "night-shift"
principals = ["night"]
during = { from = "22:00", to = "06:00", days = ["fri"] }
"""


def request(
    principal: str = "ada",
    action: str = "capsule.invoke",
    resource: str = "x",
    capsule: str | None = None,
) -> AuthzRequest:
    return AuthzRequest(
        Principal(principal), action, resource, None if capsule is None else CapsuleId(capsule)
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    return path


@pytest.mark.parametrize(
    ("asked", "rule"),
    [
        (request(resource="tool_execute_wipe"), "never-these"),
        (request(resource="tool_execute_payday"), "never-these"),
        (request(resource="tool_execute_wipes"), ""),
        (request(resource="Tool_Execute_Wipe"), ""),
        (request(action="bus.publish", resource="tool_execute_wipe"), ""),
        (request(action="fs.read", resource="home://a/b.pem", capsule="web-fetch"), "no-keys"),
        (request(action="fs.read", resource="home://a/b.pem", capsule="notes"), ""),
        (request(action="fs.read", resource="home://a/b.pem"), ""),
        (request(action="fs.read", resource="a\nb.pem", capsule="web-x"), "no-keys"),
    ],
)
def test_a_rule_refuses_what_all_its_lists_match(
    file: Path, asked: AuthzRequest, rule: str
) -> None:
    vote = Voter(file, now=lambda: WEDNESDAY_NOON).vote(asked)
    assert (vote.verdict, vote.rule) == (Verdict.DENY if rule else Verdict.ABSTAIN, rule)


@pytest.mark.parametrize(
    ("principal", "now", "refused"),
    [
        ("agent-1", "2026-03-04T07:30+00:00", False),  # Wednesday 08:30 in Berlin
        ("agent-1", "2026-03-04T06:59+00:00", True),
        ("agent-1", "2026-03-04T16:59+00:00", False),
        ("agent-1", "2026-03-04T17:00+00:00", True),
        ("agent-1", "2026-07-01T06:00+00:00", False),  # summer time
        ("agent-1", "2026-03-05T12:00+00:00", True),  # a Thursday
        ("ada", "2026-03-05T12:00+00:00", False),
        ("night", "2026-03-06T22:00+00:00", True),  # Friday evening
        ("night", "2026-03-07T05:59+00:00", True),  # the night that began on Friday
        ("night", "2026-03-07T06:00+00:00", False),
        ("night", "2026-03-07T23:00+00:00", False),  # Saturday evening
        ("night", "2026-03-06T05:00+00:00", False),  # the night that began on Thursday
    ],
)
def test_a_rule_holds_in_its_window(file: Path, principal: str, now: str, *, refused: bool) -> None:
    voter = Voter(file, now=lambda: datetime.fromisoformat(now))
    assert (voter.vote(request(principal)).verdict is Verdict.DENY) is refused


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("deny = 3", "[[deny]]"),
        ("allow = []", "unknown key 'allow'"),
        ("[[deny]]\nactions = ['a']", "rule 1 needs a name"),
        ("[[deny]]\nname = 'x'", "refuse everything"),
        ("[[deny]]\nname = 'x'\nactions = []", "actions of rule 'x'"),
        ("[[deny]]\nname = 'x'\nactions = 'a'", "list of texts"),
        ("[[deny]]\nname = 'x'\nprincipal = ['a']", "unknown key 'principal'"),
        ("[[deny]]\nname = 'x'\nduring = 3", "from and to"),
        ("[[deny]]\nname = 'x'\nduring = {from = '8:00', to = '18:00'}", "time of day"),
        ("[[deny]]\nname = 'x'\nduring = {from = '08:00', to = '24:00'}", "time of day"),
        ("[[deny]]\nname = 'x'\nduring = {from = '08:00', to = '08:00'}", "begins when it ends"),
        ("[[deny]]\nname = 'x'\nduring = {from = '08:00', to = '09:00', days = ['Mon']}", "no day"),
        ("[[deny]]\nname = 'x'\nduring = {from = '08:00', to = '09:00', zone = '../x'}", "zone"),
        (
            "[[deny]]\nname = 'x'\nduring = {from = '08:00', to = '09:00', zone = 'No/Where'}",
            "zone",
        ),
        ("[[deny]]\nname = 'x'\nduring = {from = '08:00', to = '09:00', zone = 3}", "zone"),
        ("[[deny]]\nname='x'\nactions=['a']\n[[deny]]\nname='x'\nactions=['a']", "two rules"),
        ("x = ", "no TOML document"),
    ],
)
def test_a_mistake_in_the_file_is_named(text: str, said: str) -> None:
    with pytest.raises(PolicyError, match=said.replace("[", r"\[")):
        parse_policy(text)


def test_while_the_file_cannot_be_used_everything_is_refused(file: Path) -> None:
    voter = Voter(file, now=lambda: WEDNESDAY_NOON)
    assert voter.vote(request()).verdict is Verdict.ABSTAIN
    for content in (b"x =", b"\xff", b"#" * (1024 * 1024 + 1)):
        file.write_bytes(content)
        vote = voter.vote(request())
        assert (vote.verdict, vote.rule) == (Verdict.DENY, "policy-file")
    file.unlink()
    assert "an empty file refuses nothing" in voter.vote(request()).reason
    file.write_text("")
    assert voter.vote(request()).verdict is Verdict.ABSTAIN


def test_where_the_file_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ASTRID_HOME", os.fspath(tmp_path))
    monkeypatch.delenv("ASTRID_AUTHZ_POLICY", raising=False)
    assert policy_path() == tmp_path / "etc" / "authz-policy.toml"
    monkeypatch.setenv("ASTRID_AUTHZ_POLICY", "/elsewhere/p.toml")
    assert policy_path() == Path("/elsewhere/p.toml")


class TestVoter(AuthzPolicyConformance):
    """The kit's checks, with a file in which every kind of rule is used."""

    @pytest.fixture(autouse=True)
    def policy_file(self, file: Path) -> None:
        self._file = file

    def make(self) -> Policy:
        return Voter(self._file, now=lambda: WEDNESDAY_NOON).vote
