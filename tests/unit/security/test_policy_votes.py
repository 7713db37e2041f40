"""The operator's policy takes away what manifests give, and adds nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from astrid_core.domain.action_policy import ActionPolicy
from astrid_core.domain.capability import Decision, Outcome
from astrid_core.domain.file_pattern import FilePlace, parse_file_patterns
from astrid_core.security.gate import Gate
from astrid_core.security.grants import CapsuleGrants
from astrid_core.security.policy_votes import with_policy
from astrid_core.security.votes import Ballot
from astrid_hookspecs.authz import AuthzRequest, Verdict, Vote
from astrid_hookspecs.errors import CapabilityDeniedError, PolicyDeniedError
from astrid_hookspecs.events import DecisionEvent
from astrid_hookspecs.values import CapsuleId, Principal

BOB, SHELL = Principal("bob"), CapsuleId("shell")
FILES = parse_file_patterns(["*"])
HOSTS = ("evil.example", "good.example", "other.example", "[::1]", "x[")
GRANTS = CapsuleGrants(
    SHELL,
    publish=("a.v1.b",),
    fs_read=FILES,
    fs_write=FILES,
    host_process=("git", "sudo", "npx"),
    net=("*",),
    net_connect=tuple(f"{host}:*" for host in HOSTS),
    net_udp=("send:*:*",),
)
POLICY = ActionPolicy(
    blocked_tools=("sudo", "git push", "files:erase"),
    approval_required_tools=(),
    denied_paths=("workspace://secrets/**",),
    denied_hosts=("evil.example",),
    blocked_capsules=("banned",),
    max_argument_bytes=20,
)
Act = Callable[[Gate], object]


def gate_of(
    policy: ActionPolicy | None,
    reported: list[DecisionEvent],
    votes: Callable[[AuthzRequest], list[Ballot]] = lambda _request: [],
) -> Gate:
    return Gate(votes=with_policy(votes, policy), decided=reported.append)


def spawn(*argv: str) -> Act:
    return lambda gate: gate.check_process(GRANTS, BOB, argv, allowed=(), network=False)


def place(verb: str, *parts: str) -> Act:
    where = FilePlace("workspace", parts)
    return lambda gate: gate.check_file(GRANTS, BOB, verb, where)  # type: ignore[arg-type]


def server_call(tool: str) -> Act:
    held = Decision(Outcome.GRANTED, "mcp:*")
    return lambda gate: gate.check_server_tool(BOB, SHELL, server="files", tool=tool, decision=held)


@pytest.mark.parametrize(
    ("act", "rule"),
    [
        (spawn("sudo", "ls"), "blocked_tools:sudo"),
        (spawn("git", "push", "-f"), "blocked_tools:git push"),
        (spawn("git", "log", "x" * 30), "max_argument_bytes:33"),
        (place("read", "secrets", "key"), "denied_paths:workspace://secrets/**"),
        (place("write", "secrets", "key"), "denied_paths:workspace://secrets/**"),
        (server_call("erase"), "blocked_tools:files:erase"),
        (
            lambda gate: gate.check_http(
                GRANTS, BOB, scheme="https", host="evil.example", port=443
            ),
            "denied_hosts:evil.example",
        ),
        (
            lambda gate: gate.check_connect(GRANTS, BOB, host="evil.example", port=80),
            "denied_hosts:evil.example",
        ),
        (
            lambda gate: gate.check_connect(GRANTS, BOB, host="evil.example", port=None),
            "denied_hosts:evil.example",
        ),
        (
            lambda gate: gate.check_server_url(
                GRANTS, BOB, "https://evil.example/mcp", enabled=True
            ),
            "denied_hosts:evil.example",
        ),
        (
            lambda gate: gate.check_server_command(GRANTS, BOB, "sudo", enabled=True),
            "blocked_tools:sudo",
        ),
        (
            lambda gate: gate.check_invoke(BOB, CapsuleId("banned"), "x", enabled=True),
            "blocked_capsules:banned",
        ),
    ],
)
def test_action_denied_when_the_policy_blocks_it(act: Act, rule: str) -> None:
    reported: list[DecisionEvent] = []
    with pytest.raises(PolicyDeniedError) as caught:
        act(gate_of(POLICY, reported))
    assert caught.value.rule == f"policy:astrid-core:{rule}"
    assert [event.rule for event in reported] == [caught.value.rule]
    act(gate_of(None, reported))
    assert len(reported) == 1, "without the policy it is allowed"


@pytest.mark.parametrize(
    "act",
    [
        spawn("git", "log"),
        place("read", "notes"),
        place("write", "secret"),
        server_call("read"),
        lambda gate: gate.check_http(GRANTS, BOB, scheme="https", host="good.example", port=443),
        lambda gate: gate.check_connect(GRANTS, BOB, host="::1", port=None),
        lambda gate: gate.check_publish(GRANTS, BOB, "a.v1.b"),
        lambda gate: gate.check_invoke(BOB, SHELL, "x", enabled=True),
    ],
)
def test_what_the_policy_does_not_name_is_left_to_the_others(act: Act) -> None:
    reported: list[DecisionEvent] = []
    act(gate_of(POLICY, reported))
    assert reported == []


def test_only_listed_hosts_are_reached_where_there_is_a_list() -> None:
    policy = ActionPolicy(allowed_hosts=("good.example",))
    for host, port in (("other.example", 80), ("x[", None), ("::1", None)):
        with pytest.raises(PolicyDeniedError):
            gate_of(policy, []).check_connect(GRANTS, BOB, host=host, port=port)
    gate_of(policy, []).check_connect(GRANTS, BOB, host="good.example", port=80)


def test_the_policy_adds_nothing() -> None:
    gate = gate_of(ActionPolicy(allowed_paths=("workspace://**",)), [])
    with pytest.raises(CapabilityDeniedError):
        gate.check_file(CapsuleGrants(SHELL), BOB, "read", FilePlace("workspace", ("x",)))

    def refusing(_request: AuthzRequest) -> list[Ballot]:
        return [("plugin", Vote(Verdict.DENY, "no", "r"))]

    with pytest.raises(PolicyDeniedError) as caught:
        spawn("git", "log")(gate_of(POLICY, [], refusing))
    assert caught.value.rule == "policy:plugin:r"
