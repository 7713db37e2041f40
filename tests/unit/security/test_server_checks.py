from __future__ import annotations

from typing import Literal

import pytest

from astrid_core.domain.capability import Decision, Outcome
from astrid_core.security.gate import Gate
from astrid_core.security.grants import CapsuleGrants
from astrid_core.security.server_checks import tool_right
from astrid_hookspecs.errors import CapabilityDeniedError
from astrid_hookspecs.events import DecisionEvent
from astrid_hookspecs.values import CapsuleId, Principal

BOB = Principal("bob")
CLOCK = CapsuleId("clock")


@pytest.fixture
def refused() -> list[DecisionEvent]:
    return []


@pytest.fixture
def gate(refused: list[DecisionEvent]) -> Gate:
    return Gate(votes=None, decided=refused.append)


def grants(*, host_process: tuple[str, ...] = ()) -> CapsuleGrants:
    return CapsuleGrants(CLOCK, host_process=host_process)


@pytest.mark.parametrize("command", ["npx", "npx -y"])
def test_120_a_command_may_be_started_when_it_is_listed(gate: Gate, command: str) -> None:
    held = grants(host_process=("uvx", "npx"))
    assert gate.check_server_command(held, BOB, command, enabled=True).rule == "host_process:npx"


@pytest.mark.parametrize("listed", [(), ("np",), ("npx2",), ("npx -y",)])
def test_120_command_denied_when_it_is_not_listed(
    gate: Gate, refused: list[DecisionEvent], listed: tuple[str, ...]
) -> None:
    with pytest.raises(CapabilityDeniedError) as caught:
        gate.check_server_command(grants(host_process=listed), BOB, "npx", enabled=True)
    assert caught.value.rule == "host_process"
    assert [event.rule for event in refused] == ["host_process"]


def test_command_denied_when_the_principal_is_disabled(gate: Gate) -> None:
    with pytest.raises(CapabilityDeniedError) as caught:
        gate.check_server_command(grants(host_process=("npx",)), BOB, "npx", enabled=False)
    assert caught.value.rule == "profile.enabled"


@pytest.mark.parametrize(
    "url",
    ["https://a.example/mcp", "http://localhost:8000/mcp", "http://127.0.0.1/", "http://[::1]/"],
)
def test_a_server_may_be_elsewhere(gate: Gate, url: str) -> None:
    assert gate.check_server_url(grants(), BOB, url, enabled=True).rule == "server.url"


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://a.example/mcp", "server.url"),
        ("ftp://a.example/", "server.url"),
        ("https://user:pass@a.example/", "server.url"),
        ("https://", "server.url"),
        ("https://a.example:port/", "server.url"),
        ("", "server.url"),
    ],
)
def test_url_denied_when_it_leads_elsewhere(gate: Gate, url: str, rule: str) -> None:
    with pytest.raises(CapabilityDeniedError) as caught:
        gate.check_server_url(grants(), BOB, url, enabled=True)
    assert caught.value.rule == rule
    assert "pass" not in str(caught.value)


@pytest.mark.parametrize(
    ("decision", "rule"),
    [
        (Decision(Outcome.DISABLED), "profile.enabled"),
        (Decision(Outcome.REVOKED, "mcp:*"), "revokes:mcp:*"),
        (Decision(Outcome.MISSING), "mcp:clock:time:now"),
    ],
)
def test_tool_denied_when_the_right_is_not_held(gate: Gate, decision: Decision, rule: str) -> None:
    with pytest.raises(CapabilityDeniedError) as caught:
        gate.check_server_tool(BOB, CLOCK, server="time", tool="now", decision=decision)
    assert caught.value.rule == rule


def test_a_tool_may_be_called_when_the_right_is_held(gate: Gate) -> None:
    decision = Decision(Outcome.GRANTED, "mcp:clock:*")
    grant = gate.check_server_tool(BOB, CLOCK, server="time", tool="now", decision=decision)
    assert grant.rule == "grants:mcp:clock:*"
    assert tool_right(CLOCK, "time", "now") == "mcp:clock:time:now"


@pytest.mark.parametrize("of", ["people", "models"])
@pytest.mark.parametrize("listed", [("time",), ("*",)])
def test_a_server_may_ask_when_the_manifest_lists_it(
    gate: Gate, of: Literal["people", "models"], listed: tuple[str, ...]
) -> None:
    held = CapsuleGrants(CLOCK, mcp_elicitation=listed, mcp_sampling=listed)
    rule = gate.check_server_question(held, BOB, "time", of=of, enabled=True).rule
    assert rule.endswith(f":{listed[0]}")


@pytest.mark.parametrize(
    ("of", "held", "rule"),
    [
        ("people", CapsuleGrants(CLOCK, mcp_sampling=("*",)), "mcp_elicitation"),
        ("people", CapsuleGrants(CLOCK, mcp_elicitation=("times",)), "mcp_elicitation"),
        ("models", CapsuleGrants(CLOCK, mcp_elicitation=("*",)), "mcp_sampling"),
        ("models", CapsuleGrants(CLOCK), "mcp_sampling"),
    ],
)
def test_question_denied_when_the_manifest_does_not_list_the_server(
    gate: Gate,
    refused: list[DecisionEvent],
    of: Literal["people", "models"],
    held: CapsuleGrants,
    rule: str,
) -> None:
    with pytest.raises(CapabilityDeniedError) as caught:
        gate.check_server_question(held, BOB, "time", of=of, enabled=True)
    assert caught.value.rule == rule
    assert [event.rule for event in refused] == [rule]


def test_question_denied_when_the_principal_is_disabled(gate: Gate) -> None:
    held = CapsuleGrants(CLOCK, mcp_elicitation=("*",))
    with pytest.raises(CapabilityDeniedError) as caught:
        gate.check_server_question(held, BOB, "time", of="people", enabled=False)
    assert caught.value.rule == "profile.enabled"
