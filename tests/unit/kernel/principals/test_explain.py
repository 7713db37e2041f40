"""Explanations are decisions of the real gate, with the steps that led to them."""

from __future__ import annotations

import pytest

from astrid_core.domain.file_pattern import parse_file_patterns
from astrid_core.kernel.home import Home
from astrid_core.kernel.principals.assembly import Principals
from astrid_core.kernel.principals.explain import Explainer, Explanation
from astrid_core.security.grants import CapsuleGrants
from astrid_core.security.votes import Ballot, VoteCollector
from astrid_hookspecs.authz import AuthzRequest, Verdict, Vote
from astrid_hookspecs.errors import AstridError, ConfigError
from astrid_hookspecs.values import CapsuleId, Principal

ALICE = Principal("alice")
NOTES = CapsuleGrants(
    CapsuleId("notes"),
    publish=("notes.v1.*",),
    subscribe=("user.v1.prompt",),
    fs_read=parse_file_patterns(("workspace://docs",)),
)


def explainer(principals: Principals, votes: VoteCollector | None = None) -> Explainer:
    return Explainer(principals.authority, votes=votes, grants_of=lambda _: NOTES, schemes=["wiki"])


def front_end(principals: Principals) -> Explainer:
    bot = CapsuleGrants(CapsuleId("bot"), identity=("link",), uplink=True)
    return Explainer(principals.authority, votes=None, grants_of=lambda _: bot)


def effects(found: Explanation) -> list[str]:
    return [f"{step.source} {step.effect}" for step in found.steps]


def test_the_steps_to_a_right_end_where_it_was_decided(principals: Principals) -> None:
    principals.directory.create("alice", groups=["ghost", "agent"], grants=["system:status"])
    ask = explainer(principals)
    found = ask.explain(ALICE, "self:capsule:list")
    assert (found.allowed, found.rule) == (True, "group:agent:self:*")
    assert effects(found) == [
        "etc/profiles/alice.toml silent",
        "etc/profiles/alice.toml silent",
        "etc/profiles/alice.toml silent",
        "group ghost silent",
        "group agent allows",
    ]
    assert ask.explain(ALICE, "GetStatus").rule == "grants:system:status"
    assert ask.explain(ALICE, "self:tool:call").rule == "group:agent:self:*"
    missing = ask.explain(ALICE, "agent:create")
    assert (missing.allowed, missing.rule) == (False, "agent:create")
    principals.directory.revoke(ALICE, ["system:*"])
    revoked = ask.explain(ALICE, "GetStatus")
    assert (revoked.rule, effects(revoked)[-1]) == (
        "revokes:system:*",
        "etc/profiles/alice.toml refuses",
    )


def test_a_management_request_is_explained_with_whom_it_is_about(principals: Principals) -> None:
    principals.directory.create("alice")
    asked: list[AuthzRequest] = []

    def votes(request: AuthzRequest) -> list[Ballot]:
        asked.append(request)
        return []

    ask = explainer(principals, votes)
    assert ask.explain(ALICE, "QuotaSet", "alice").rule == "group:agent:self:*"
    assert ask.explain(ALICE, "QuotaSet", "bob").rule == "quota:set"
    assert ask.explain(ALICE, "AgentCreate").rule == "agent:create"
    assert [(one.resource, one.context) for one in asked] == [
        ("admin.quota.set", {"right": "self:quota:set", "target": "alice"})
    ]


@pytest.mark.parametrize("action", ["system:*", "*", "a:*:b"])
def test_a_pattern_is_no_question(principals: Principals, action: str) -> None:
    with pytest.raises(ConfigError) as caught:
        explainer(principals).explain(Principal("default"), action)
    assert caught.value.code == "explain.pattern"


def test_a_token_gives_what_no_list_has(principals: Principals) -> None:
    principals.directory.create("alice")

    def token_for(principal: Principal, right: str) -> str | None:
        return "1-2" if (principal, right) == (ALICE, "system:status") else None

    ask = Explainer(
        principals.authority, votes=None, grants_of=lambda _: NOTES, token_for=token_for
    )
    found = ask.explain(ALICE, "GetStatus")
    assert (found.allowed, found.rule) == (True, "token:1-2")
    assert effects(found)[-1] == "capability tokens allows"
    assert effects(ask.explain(ALICE, "agent:create"))[-1] == "capability tokens silent"


def test_a_disabled_principal_is_refused_before_anything_else(principals: Principals) -> None:
    principals.directory.create("alice", groups=["admin"])
    principals.directory.set_enabled(ALICE, enabled=False)
    ask = explainer(principals)
    for action, resource, capsule in (
        ("GetStatus", "", None),
        ("fs.read", "workspace://docs/a", "notes"),
        ("bus.publish", "notes.v1.x", "notes"),
        ("bus.publish", "notes.v1.x", None),
    ):
        found = ask.explain(ALICE, action, resource, capsule=capsule)
        assert found.rule == "profile.enabled"
        assert effects(found) == ["etc/profiles/alice.toml refuses"]


@pytest.mark.parametrize(
    ("action", "resource", "rule"),
    [
        ("capsule.invoke", "tool_execute_x", "profile.enabled"),
        ("bus.publish", "notes.v1.x", "publish-acl:notes.v1.*"),
        ("bus.publish", "other.v1.x", "publish-acl"),
        ("bus.subscribe", "user.v1.prompt", "subscribe-acl:user.v1.prompt"),
        ("bus.subscribe", "user.v1.secret", "subscribe-acl"),
        ("fs.read", "workspace://docs/a.txt", "fs_read:workspace://docs"),
        ("fs.read", "docs/a.txt", "fs_read:workspace://docs"),
        ("fs.read", "wiki://a", "fs_read"),
        ("fs.write", "workspace://docs/a.txt", "fs_write"),
    ],
)
def test_what_capsules_do_is_decided_by_their_manifest(
    principals: Principals, action: str, resource: str, rule: str
) -> None:
    found = explainer(principals).explain(ALICE, action, resource, capsule="notes")
    assert found.rule == rule
    assert found.allowed is (rule == "profile.enabled" or ":" in rule)


@pytest.mark.parametrize(
    ("action", "resource", "rule"),
    [
        ("identity.resolve", "discord", "identity:link"),
        ("identity.link", "discord", "identity:link"),
        ("identity.unlink", "discord", "identity:link"),
        ("identity.list-links", "", "identity:link"),
        ("identity.create-user", "", "identity:admin"),
        ("uplink.register", "bot", "capabilities.uplink"),
        ("uplink.send", "bot", "capabilities.uplink"),
        ("bus.publish-as", "bob", "capabilities.uplink"),
        ("bus.publish-as", "carol", "profile.enabled"),
        ("uplink.speak-for", "alice", "claim.principal"),
        ("uplink.speak-for", "carol", "profile.enabled"),
    ],
)
def test_what_front_ends_do_is_decided_by_their_manifest(
    principals: Principals, action: str, resource: str, rule: str
) -> None:
    principals.directory.create("carol")
    principals.directory.set_enabled(Principal("carol"), enabled=False)
    refused = {"identity:admin", "profile.enabled"}
    found = front_end(principals).explain(ALICE, action, resource, capsule="bot")
    assert (found.rule, found.allowed) == (rule, rule not in refused)
    assert found.steps[-1].source == "manifest of bot"
    wanted = "identity: link" if action.startswith("identity") else "uplink: uplink = true"
    assert found.steps[-1].text == f"lists for {wanted}"
    silent = explainer(principals).explain(ALICE, action, resource, capsule="notes")
    assert not silent.allowed
    assert silent.steps[-1].text == f"lists for {wanted.partition(':')[0]}: nothing"


def test_what_is_done_for_an_agent_speaks_for_nobody_else(principals: Principals) -> None:
    ask = front_end(principals)
    found = ask.explain(ALICE, "uplink.speak-for", "bob", capsule="bot")
    assert (found.allowed, found.rule) == (False, "claim.principal")
    assert ask.explain(Principal("default"), "uplink.speak-for", "bob", capsule="bot").allowed


def test_what_clients_do_needs_no_capsule(principals: Principals) -> None:
    ask = explainer(principals)
    assert ask.explain(ALICE, "bus.publish", "user.v1.prompt").allowed
    assert ask.explain(ALICE, "bus.publish", "astrid.v1.x").rule == "reserved-topic"
    assert ask.explain(ALICE, "bus.subscribe", "a.*").allowed


def test_the_vote_of_each_policy_is_a_step(principals: Principals) -> None:
    asked: list[AuthzRequest] = []

    def votes(request: AuthzRequest) -> list[tuple[str, Vote]]:
        asked.append(request)
        return [
            ("astrid-quiet", Vote(Verdict.ABSTAIN, "no rule names it")),
            ("astrid-strict", Vote(Verdict.DENY, "not today", "calendar")),
        ]

    found = explainer(principals, votes).explain(Principal("default"), "GetStatus")
    assert (found.allowed, found.rule) == (False, "policy:astrid-strict:calendar")
    assert effects(found)[-2:] == ["astrid-quiet silent", "astrid-strict refuses"]
    assert found.steps[-1].text == "not today (calendar)"
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("action", "resource", "capsule"),
    [
        ("bogus!", "", None),
        ("bus.publish", "", None),
        ("fs.read", "workspace://a", None),
        ("fs.read", "nowhere://a", "notes"),
        ("fs.read", "workspace://docs/../a", "notes"),
        ("identity.link", "", "notes"),
        ("identity.create-user", "", None),
        ("uplink.send", "bot", None),
        ("bus.publish-as", "a b", "notes"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(
    principals: Principals, action: str, resource: str, capsule: str | None
) -> None:
    with pytest.raises(AstridError):
        explainer(principals).explain(ALICE, action, resource, capsule=capsule)


def test_a_profile_that_cannot_be_read_is_said_so(principals: Principals, home: Home) -> None:
    (home.etc / "profiles" / "alice.toml").write_text("color = 1")
    with pytest.raises(ConfigError):
        explainer(principals).explain(ALICE, "GetStatus")
