"""The gate about programs: the manifest, the profile, the policies, and the network."""

from __future__ import annotations

import pytest

from astrid_core.security.checked import CheckedCommand
from astrid_core.security.gate import Gate
from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.authz import AuthzRequest, Verdict, Vote
from astrid_hookspecs.errors import CapabilityDeniedError, PolicyDeniedError
from astrid_hookspecs.events import DecisionEvent
from astrid_hookspecs.values import CapsuleId, Principal

ADA = Principal("ada")
GRANTS = CapsuleGrants(CapsuleId("c"), host_process=("git status", "ls"), any_host=True)
BARE = CapsuleGrants(CapsuleId("c"))


def gate(seen: list[DecisionEvent] | None = None) -> Gate:
    return Gate(votes=None, decided=([] if seen is None else seen).append)


def test_a_command_is_allowed_by_its_entry() -> None:
    checked = gate().check_process(GRANTS, ADA, ["ls", "-l"], allowed=(), network=False)
    assert (checked.argv, checked.rule) == (("ls", "-l"), "host_process:ls")
    assert not checked.network


@pytest.mark.parametrize(
    ("operator", "grants", "expected"),
    [
        (True, GRANTS, True),
        (False, GRANTS, False),
        (True, CapsuleGrants(CapsuleId("c"), host_process=("ls",)), False),
    ],
)
def test_the_network_needs_the_operator_and_the_manifest(
    *, operator: bool, grants: CapsuleGrants, expected: bool
) -> None:
    checked = gate().check_process(grants, ADA, ["ls"], allowed=(), network=operator)
    assert checked.network is expected


@pytest.mark.parametrize(
    ("grants", "argv", "allowed", "rule"),
    [
        (BARE, ["ls"], (), "host_process"),
        (GRANTS, ["git", "push"], (), "host_process"),
        (GRANTS, ["ls"], ("git",), "process.allow"),
    ],
)
def test_a_command_denied_when_an_entry_is_missing(
    grants: CapsuleGrants, argv: list[str], allowed: tuple[str, ...], rule: str
) -> None:
    seen: list[DecisionEvent] = []
    with pytest.raises(CapabilityDeniedError) as caught:
        gate(seen).check_process(grants, ADA, argv, allowed=allowed, network=True)
    assert caught.value.rule == rule
    assert [(event.rule, event.action) for event in seen] == [(rule, "process.spawn")]


def test_a_command_denied_when_a_policy_says_so() -> None:
    asked: list[AuthzRequest] = []

    def votes(request: AuthzRequest) -> list[tuple[str, Vote]]:
        asked.append(request)
        return [("strict", Vote(Verdict.DENY, "no"))]

    strict = Gate(votes=votes, decided=lambda _event: None)
    with pytest.raises(PolicyDeniedError):
        strict.check_process(GRANTS, ADA, ["ls", "-l"], allowed=("ls",), network=True)
    assert dict(asked[0].context) == {"arguments": '["-l"]'}


def test_persistence_denied_when_the_manifest_lacks_it() -> None:
    lasting = CapsuleGrants(CapsuleId("c"), persistent=True)
    assert gate().check_persistent(lasting, ADA).rule == "capabilities.allow_persistent"
    with pytest.raises(CapabilityDeniedError):
        gate().check_persistent(GRANTS, ADA)


def test_a_proof_refused_when_the_gate_did_not_make_it() -> None:
    with pytest.raises(TypeError, match="only the gate"):
        CheckedCommand(("ls",), True, "mine", object())
