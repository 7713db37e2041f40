"""Who may look after users and accounts, and who may be a front end."""

from __future__ import annotations

import pytest

from astrid_core.security.gate import Gate
from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.authz import AuthzRequest, Verdict, Vote
from astrid_hookspecs.errors import CapabilityDeniedError, PolicyDeniedError
from astrid_hookspecs.events import DecisionEvent
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, CapsuleId, Principal

ALICE, BOB, BOT = Principal("alice"), Principal("bob"), CapsuleId("bot")
REFUSAL = [("policy", Vote(Verdict.DENY, "not now", "policy"))]


class World:
    def __init__(self, *, refuses: bool = False) -> None:
        self.reported: list[DecisionEvent] = []
        self.gate = Gate(votes=self._votes if refuses else None, decided=self.reported.append)

    def _votes(self, request: AuthzRequest) -> list[tuple[str, Vote]]:
        assert request.capsule == BOT
        return REFUSAL


def grants(*levels: str, uplink: bool = False) -> CapsuleGrants:
    return CapsuleGrants(BOT, identity=levels, uplink=uplink)


@pytest.mark.parametrize(
    ("held", "verb", "rule"),
    [
        (("resolve",), "resolve", "identity:resolve"),
        (("link",), "resolve", "identity:link"),
        (("link",), "link", "identity:link"),
        (("link",), "unlink", "identity:link"),
        (("link",), "list-links", "identity:link"),
        (("admin",), "resolve", "identity:admin"),
        (("resolve", "admin"), "create-user", "identity:admin"),
        (("resolve", "x"), "resolve", "identity:resolve"),
    ],
)
def test_a_level_includes_those_below(held: tuple[str, ...], verb: str, rule: str) -> None:
    world = World()
    got = world.gate.check_identity(grants(*held), ALICE, f"identity.{verb}", resource="discord")
    assert got.rule == rule
    assert world.reported == []


@pytest.mark.parametrize(
    ("held", "verb", "level"),
    [
        ((), "resolve", "resolve"),
        (("x",), "resolve", "resolve"),
        (("resolve",), "link", "link"),
        (("resolve",), "unlink", "link"),
        (("resolve",), "list-links", "link"),
        (("link",), "create-user", "admin"),
        (("link",), "of-tomorrow", "admin"),
    ],
)
def test_identity_denied_when_the_level_is_too_low(
    held: tuple[str, ...], verb: str, level: str
) -> None:
    world = World()
    with pytest.raises(CapabilityDeniedError) as caught:
        world.gate.check_identity(grants(*held), ALICE, f"identity.{verb}", resource="d")
    assert caught.value.rule == f"identity:{level}"
    assert level in (caught.value.hint or "")
    assert [one.action for one in world.reported] == [f"identity.{verb}"]


def test_front_end_denied_when_the_flag_is_missing() -> None:
    world = World()
    with pytest.raises(CapabilityDeniedError) as caught:
        world.gate.check_uplink(grants(), ALICE, "uplink.register", resource="bot")
    assert caught.value.rule == "capabilities.uplink"
    got = world.gate.check_uplink(grants(uplink=True), ALICE, "uplink.register", resource="bot")
    assert got.rule == "capabilities.uplink"


def test_account_denied_when_it_is_somebody_elses() -> None:
    world = World()
    for principal, claimed in ((ALICE, ALICE), (DEFAULT_PRINCIPAL, ALICE)):
        assert world.gate.check_account(grants(), principal, claimed).rule == "claim.principal"
    for principal, claimed in ((ALICE, BOB), (ALICE, DEFAULT_PRINCIPAL)):
        with pytest.raises(CapabilityDeniedError):
            world.gate.check_account(grants(), principal, claimed)
    assert [one.resource for one in world.reported] == ["principal:bob", "principal:default"]


def test_everything_denied_when_a_policy_refuses() -> None:
    world = World(refuses=True)
    full = grants("admin", uplink=True)
    with pytest.raises(PolicyDeniedError):
        world.gate.check_identity(full, ALICE, "identity.create-user", resource="")
    with pytest.raises(PolicyDeniedError):
        world.gate.check_uplink(full, ALICE, "uplink.send", resource="")
    with pytest.raises(PolicyDeniedError):
        world.gate.check_account(full, ALICE, ALICE)
    assert len(world.reported) == 3
