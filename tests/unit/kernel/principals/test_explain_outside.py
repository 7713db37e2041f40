"""Explanations of what leaves the kernel: processes, the network, tool servers, people."""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from astrid_core.builtin.sqlite_kv import SqliteKvStore
from astrid_core.domain.allowance import Allowance
from astrid_core.domain.allowance_pattern import ExactRequest
from astrid_core.domain.egress import parse_egress
from astrid_core.domain.ip_ranges import IpAddress
from astrid_core.host.http_network import Network
from astrid_core.kernel.admin import approvals
from astrid_core.kernel.allowances import AllowanceStore
from astrid_core.kernel.home import Home
from astrid_core.kernel.principals.assembly import Principals
from astrid_core.kernel.principals.explain import Explainer, Explanation
from astrid_core.kernel.principals.explain_capsule import ABOUT_NOTHING, ACTIONS
from astrid_core.kernel.principals.explain_case import Outside
from astrid_core.kernel.principals.explain_outside import OUTSIDE_ACTIONS
from astrid_core.security.grants import CapsuleGrants
from astrid_core.security.votes import Ballot, VoteCollector
from astrid_hookspecs.authz import AuthzRequest, Verdict, Vote
from astrid_hookspecs.engines import McpServerSpec
from astrid_hookspecs.errors import AstridError
from astrid_hookspecs.values import CapsuleId, Principal

ALICE = Principal("alice")
SHELL = CapsuleId("shell")
GRANTS = CapsuleGrants(
    SHELL,
    host_process=("git status", "npx"),
    persistent=True,
    net=("example.org", "127.0.0.1", "mixed.test", "inside.test"),
    net_connect=("example.org:443", "mixed.test:443", "127.0.0.1:8080"),
    net_tcp_bind=("127.0.0.1:9000",),
    net_udp=("bind:127.0.0.1:5353", "send:example.org:53", "send:inside.test:53"),
    net_bind=True,
    mcp_elicitation=("files",),
    mcp_sampling=("*",),
)
SERVERS = (
    McpServerSpec("files", "stdio", "npx", ()),
    McpServerSpec("rogue", "stdio", "rm", ()),
    McpServerSpec("far", "http", None, (), url="https://example.org/mcp"),
    McpServerSpec("near", "http", None, (), url="https://inside.test/mcp"),
    McpServerSpec("plain", "http", None, (), url="http://example.org/mcp"),
)
NAMES = {
    "example.org": ["93.184.215.14"],
    "mixed.test": ["10.0.0.1", "93.184.215.14"],
    "inside.test": ["10.0.0.2"],
}


def resolve(host: str, _port: int) -> Sequence[IpAddress]:
    if host not in NAMES:
        raise OSError(host)
    return [ipaddress.ip_address(text) for text in NAMES[host]]


def explainer(
    principals: Principals,
    *,
    grants: CapsuleGrants = GRANTS,
    votes: VoteCollector | None = None,
    allowances: Sequence[Allowance] = (),
) -> Explainer:
    consent = (parse_egress("127.0.0.1:8080"),)
    outside = Outside(
        network=Network(resolve=resolve, consent=consent),
        servers_of=lambda _: SERVERS,
        allowances_of=lambda _: allowances,
        root="/project",
        now=lambda: 100.0,
    )
    return Explainer(principals.authority, votes=votes, grants_of=lambda _: grants, outside=outside)


ALLOWED = [
    ("process.spawn", "git status --short", "host_process:git status"),
    ("process.persist", "", "capabilities.allow_persistent"),
    ("http.request", "https://EXAMPLE.org/a?b", "net:example.org"),
    ("http.request", "https://mixed.test/", "net:mixed.test"),
    ("http.request", "http://127.0.0.1:8080/", "network.local-egress:127.0.0.1/32:8080"),
    ("net.connect", "example.org:443", "net_connect:example.org:443"),
    ("net.connect", "127.0.0.1:8080", "network.local-egress:127.0.0.1/32:8080"),
    ("net.lookup", "example.org", "net_connect:example.org:443"),
    ("net.bind", "tcp://127.0.0.1:9000", "net_tcp_bind:127.0.0.1:9000"),
    ("net.bind", "udp://127.0.0.1:5353", "net_udp:bind:127.0.0.1:5353"),
    ("net.bind", "unix", "net_bind"),
    ("net.send", "udp://example.org:53", "net_udp:send:example.org:53"),
    ("server.start", "files", "host_process:npx"),
    ("server.start", "far", "net:example.org"),
    ("server.elicit", "files", "mcp_elicitation:files"),
    ("server.sample", "far", "mcp_sampling:*"),
]
REFUSED = [
    ("process.spawn", "git push", "host_process"),
    ("http.request", "https://other.test/", "net"),
    ("http.request", "http://127.0.0.1:1/", "network.local-egress"),
    ("http.request", "https://inside.test/", "network.local-egress"),
    ("net.connect", "example.org:80", "net_connect"),
    ("net.connect", "mixed.test:443", "network.local-egress"),
    ("net.lookup", "other.test", "net_connect"),
    ("net.bind", "tcp://0.0.0.0:9000", "net_tcp_bind"),
    ("net.bind", "udp://127.0.0.1:1", "net_udp"),
    ("net.send", "example.org:54", "net_udp"),
    ("net.send", "inside.test:53", "network.local-egress"),
    ("server.start", "rogue", "host_process"),
    ("server.start", "near", "network.local-egress"),
    ("server.start", "plain", "server.url"),
    ("server.elicit", "far", "mcp_elicitation"),
    ("server.call", "files:read", "mcp:shell:files:read"),
    ("approval.request", "git push: origin", "approval.required"),
]


@pytest.mark.parametrize(("action", "resource", "rule"), ALLOWED)
def test_what_the_manifest_covers_is_allowed_by_the_rule_that_the_gate_names(
    principals: Principals, action: str, resource: str, rule: str
) -> None:
    found = explainer(principals).explain(ALICE, action, resource, capsule="shell")
    assert (found.rule, found.allowed) == (rule, True)


@pytest.mark.parametrize(("action", "resource", "rule"), REFUSED)
def test_what_is_not_covered_is_refused_with_its_rule_and_a_hint(
    principals: Principals, action: str, resource: str, rule: str
) -> None:
    found = explainer(principals).explain(ALICE, action, resource, capsule="shell")
    assert (found.rule, found.allowed) == (rule, False)
    assert found.reason
    assert found.hint


@pytest.mark.parametrize(("action", "resource"), [(one, what) for one, what, _ in ALLOWED])
def test_an_empty_manifest_refuses_each_of_them(
    principals: Principals, action: str, resource: str
) -> None:
    bare = explainer(principals, grants=CapsuleGrants(SHELL))
    found = bare.explain(ALICE, action, resource, capsule="shell")
    assert not found.allowed
    lists = [step.text for step in found.steps if step.source == "manifest of shell"]
    assert lists
    assert all(text.endswith(": nothing") for text in lists)


@pytest.mark.parametrize(("action", "resource"), [(one, what) for one, what, _ in ALLOWED])
def test_a_policy_that_refuses_is_the_last_word(
    principals: Principals, action: str, resource: str
) -> None:
    def votes(_request: AuthzRequest) -> list[Ballot]:
        return [("astrid-strict", Vote(Verdict.DENY, "not today", "calendar"))]

    found = explainer(principals, votes=votes).explain(ALICE, action, resource, capsule="shell")
    assert (found.allowed, found.rule) == (False, "policy:astrid-strict:calendar")


def test_each_action_that_leaves_the_kernel_is_tried_here() -> None:
    tried = {action for action, _, _ in (*ALLOWED, *REFUSED)}
    assert tried == set(OUTSIDE_ACTIONS) <= set(ACTIONS)


def test_each_address_of_a_name_is_a_step(principals: Principals) -> None:
    found = explainer(principals).explain(
        ALICE, "http.request", "https://mixed.test/", capsule="shell"
    )
    assert [(step.source, step.effect) for step in found.steps[-2:]] == [
        ("address 10.0.0.1:443", "refuses"),
        ("address 93.184.215.14", "allows"),
    ]


def test_a_name_that_leads_nowhere_now_is_said_so(principals: Principals) -> None:
    grants = CapsuleGrants(SHELL, net=("gone.test",))
    ask = explainer(principals, grants=grants)
    found = ask.explain(ALICE, "http.request", "https://gone.test/", capsule="shell")
    assert (found.allowed, found.steps[-1].source) == (True, "name gone.test")
    assert "cannot be looked up" in found.steps[-1].text


def test_a_profile_takes_programs_away(principals: Principals, home: Home) -> None:
    (home.etc / "profiles" / "alice.toml").write_text('[process]\nallow = ["npx"]\n')
    ask = explainer(principals)
    refused = ask.explain(ALICE, "process.spawn", "git status", capsule="shell")
    assert (refused.rule, refused.steps[-1].text) == (
        "process.allow",
        "lists for process allow: npx",
    )
    assert ask.explain(ALICE, "process.spawn", "npx", capsule="shell").allowed


def test_a_right_to_call_a_tool_of_a_server_is_looked_up_like_any_other(
    principals: Principals,
) -> None:
    principals.directory.create("alice", grants=["mcp:shell:files:*"])
    ask = explainer(principals)
    found = ask.explain(ALICE, "server.call", "files:read", capsule="shell")
    assert (found.allowed, found.rule) == (True, "grants:mcp:shell:files:*")
    assert found.steps[-1].effect == "allows"
    principals.directory.set_enabled(ALICE, enabled=False)
    assert _rule(ask.explain(ALICE, "server.call", "files:read", capsule="shell")) == (
        "profile.enabled"
    )


def _rule(found: Explanation) -> str:
    assert not found.allowed
    return found.rule


def _agreed(root: str | None, *, uses: int | None = None) -> Allowance:
    return Allowance(
        id=uuid.UUID(int=1),
        principal="alice",
        action_pattern=ExactRequest(capsule_id="shell", action="git push", resource="origin"),
        created_at=1,
        max_uses=uses,
        uses_remaining=uses,
        workspace_root=root,
    )


@pytest.mark.parametrize("root", [None, "/project", "/elsewhere"])
def test_what_a_person_agreed_to_counts_where_it_was_agreed_to(
    principals: Principals, root: str | None, tmp_path: Path
) -> None:
    kv = SqliteKvStore(tmp_path)
    store = AllowanceStore(kv, now=lambda: 100.0)
    store.add(_agreed(root, uses=1))
    reply = approvals.allowances(store, ALICE)
    kv.close()
    assert root is None or root not in str(reply)
    rows = cast("list[dict[str, object]]", reply.data)
    sent = [approvals.allowance_of(row, root="/project") for row in rows]
    for kept in ([_agreed(root, uses=1)], sent):
        ask = explainer(principals, allowances=kept)
        found = ask.explain(ALICE, "approval.request", "git push: origin", capsule="shell")
        assert found.allowed is (root != "/elsewhere")
        assert (found.rule == f"allowance:{uuid.UUID(int=1)}") is found.allowed
        other = ask.explain(ALICE, "approval.request", "git push: fork", capsule="shell")
        assert other.rule == "approval.required"


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        *((action, "") for action in OUTSIDE_ACTIONS if action not in ABOUT_NOTHING),
        ("process.spawn", "'"),
        ("process.spawn", " "),
        ("http.request", "ftp://example.org/"),
        ("http.request", "example.org"),
        ("net.connect", "example.org"),
        ("net.bind", "example.org:80"),
        ("net.lookup", "\0"),
        ("server.start", "none"),
        ("server.call", "files"),
        ("approval.request", "x" * 257),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(
    principals: Principals, action: str, resource: str
) -> None:
    with pytest.raises(AstridError):
        explainer(principals).explain(ALICE, action, resource, capsule="shell")
