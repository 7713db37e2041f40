"""Who may have a local socket, and who may talk to it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from astrid_core.domain.handshake import Hello, parse_hello
from astrid_core.security.gate import Gate
from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.authz import Verdict, Vote
from astrid_hookspecs.errors import CapabilityDeniedError, PolicyDeniedError
from astrid_hookspecs.events import DecisionEvent
from astrid_hookspecs.values import CapsuleId, Principal

ALICE = Principal("alice")
BRIDGE = CapsuleGrants(CapsuleId("bridge"), net_bind=True)
TOKEN = bytes(range(32))


class Log:
    def __init__(self, *votes: Vote) -> None:
        self.refused: list[DecisionEvent] = []
        ballots = [("policy", vote) for vote in votes]
        self.gate = Gate(votes=(lambda _: ballots) if votes else None, decided=self.refused.append)

    def refusals(self) -> list[tuple[str, str, str, str | None]]:
        return [(e.action, e.resource, e.rule, e.capsule) for e in self.refused]


def hello(token: str = TOKEN.hex(), **more: Any) -> Hello:
    fields = {"token": token, "protocol_version": 1, "client_version": "1", **more}
    return parse_hello(json.dumps(fields).encode())


def test_a_local_socket_denied_when_nothing_asks_for_it() -> None:
    log = Log()
    assert log.gate.check_local_socket(BRIDGE, ALICE).rule == "net_bind"
    with pytest.raises(CapabilityDeniedError) as caught:
        log.gate.check_local_socket(CapsuleGrants(CapsuleId("bridge")), ALICE)
    assert caught.value.rule == "net_bind"
    assert log.refusals() == [("net.bind", "unix", "net_bind", "bridge")]


def test_a_policy_can_refuse_a_local_socket() -> None:
    log = Log(Vote(Verdict.DENY, "not today", "calendar"))
    with pytest.raises(PolicyDeniedError):
        log.gate.check_local_socket(BRIDGE, ALICE)


@pytest.mark.parametrize("uid", [None, 0, 1001])
def test_a_client_denied_when_it_is_another_users_or_nobody_knows(uid: int | None) -> None:
    log = Log()
    log.gate.check_local_peer(BRIDGE, peer_uid=1000, own_uid=1000)
    with pytest.raises(CapabilityDeniedError):
        log.gate.check_local_peer(BRIDGE, peer_uid=uid, own_uid=1000)
    assert log.refusals() == [("net.accept", "unix", "net_bind.user", "bridge")]


def test_a_client_acts_for_whom_it_says() -> None:
    log = Log()
    both = (Principal("default"), ALICE)
    check = log.gate.check_local_hello
    assert check(BRIDGE, hello(), token=TOKEN, listening=both) == "default"
    assert check(BRIDGE, hello(principal="alice"), token=TOKEN, listening=both) == "alice"
    assert not log.refused


@pytest.mark.parametrize(
    ("said", "rule", "message"),
    [
        (None, "handshake", "that is no handshake"),
        (hello("f" * 64), "token", "authentication failed"),
        (hello("0" * 64), "token", "authentication failed"),
        (hello("short"), "token", "authentication failed"),
        (hello(protocol_version=2), "handshake", "protocol version 2"),
        (hello(principal="a/b"), "handshake", "not a valid id"),
        (hello(principal="bob"), "principal", "nobody called 'bob'"),
        (hello(), "principal", "nobody called 'default'"),
    ],
)
def test_a_client_denied_when_it_says_the_wrong_thing(
    said: Hello | None, rule: str, message: str
) -> None:
    log = Log()
    with pytest.raises(CapabilityDeniedError, match=message):
        log.gate.check_local_hello(BRIDGE, said, token=TOKEN, listening=(ALICE,))
    assert log.refusals() == [("net.accept", "unix", f"net_bind.{rule}", "bridge")]
    assert TOKEN.hex() not in repr(log.refused)


def test_a_client_denied_when_the_token_is_the_stand_in() -> None:
    with pytest.raises(CapabilityDeniedError, match="authentication failed"):
        Log().gate.check_local_hello(BRIDGE, hello("0" * 64), token=bytes(32), listening=(ALICE,))
