"""The wrappers about people, against the fake host. Spec: host-abi 3, 4, 8, 15, 21.7."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from astrid_sdk import approval, elicit, identity, sys, uplink
from astrid_sdk.approval import Decision
from astrid_sdk.errors import (
    AlreadyLinkedError,
    ApprovalError,
    CancelledError,
    CapabilityDeniedError,
    ElicitError,
    HostTimeoutError,
    IdentityError,
    InvalidInputError,
    NotInLifecycleError,
    QuotaError,
    UnknownUplinkError,
    UplinkError,
    UserNotFoundError,
)
from astrid_sdk.testing import CapsuleHarness, FakeHost

HOOKED = """
from astrid_sdk import elicit, install, kv

@install
def ask():
    kv.set("name", elicit.text("name").encode())
    elicit.secret("token")
"""
pytestmark = pytest.mark.usefixtures("host")


def test_a_decision_is_true_when_the_action_may_happen(host: FakeHost) -> None:
    host.people.approves = {
        "a": "approved", "b": "denied", "c": "approved-always", "d": "allowance"
    }  # fmt: skip
    said = {action: approval.request(action, "to bob") for action in "abcd"}
    assert said == {
        "a": Decision.APPROVED,
        "b": Decision.DENIED,
        "c": Decision.APPROVED_ALWAYS,
        "d": Decision.ALLOWANCE,
    }
    assert [bool(decision) for decision in said.values()] == [True, False, True, True]
    assert host.people.asked[0] == ("a", "to bob")


def test_no_decision_is_an_error(host: FakeHost) -> None:
    with pytest.raises(ApprovalError) as caught:
        approval.request("nobody", "answers")
    assert isinstance(caught.value, HostTimeoutError)
    with pytest.raises(InvalidInputError):
        approval.request("a" * 257)
    assert host.people.asked == [("nobody", "answers")]


def test_a_hook_asks(host: FakeHost) -> None:
    host.people.answers = {"name": "Ann", "region": "eu", "hosts": ["x"], "token": "t", "one": "y"}
    with pytest.raises(NotInLifecycleError):
        elicit.text("name")
    host.people.is_installing = True
    assert elicit.text("name", "Your name", default="guest") == "Ann"
    assert elicit.choice("region", ["eu", "us"]) == "eu"
    assert elicit.lines("hosts") == ["x"]
    assert elicit.lines("one") == ["y"]
    assert elicit.has_secret("token") is False
    elicit.secret("token", "Access token")
    assert elicit.has_secret("token") is True
    assert sys.config("token") == "t"


@pytest.mark.parametrize("key", ["missing", "bad"])
def test_a_hook_gets_no_answer(host: FakeHost, key: str) -> None:
    host.people.is_installing = True
    host.people.answers = {"bad": "nowhere", "empty": ""}
    with pytest.raises(ElicitError) as caught:
        elicit.choice(key, ["eu"])
    kind = InvalidInputError if key == "bad" else CancelledError
    assert isinstance(caught.value, kind)
    for wrong in (lambda: elicit.choice("bad", []), lambda: elicit.secret("empty"),
                  lambda: elicit.has_secret("a:b")):  # fmt: skip
        with pytest.raises(InvalidInputError):
            wrong()


def test_122_accounts(host: FakeHost) -> None:
    host.capabilities = {"identity"}
    ann, bob = identity.create_user("Ann"), identity.create_user(None)
    identity.link(" Discord ", "7", ann, method="code")
    identity.link("discord", "7", ann, method="code")
    assert identity.resolve("discord", "7") == (ann, "Ann")
    assert identity.resolve("discord", "8") is None
    with pytest.raises(AlreadyLinkedError):
        identity.link("discord", "7", bob, method="code")
    assert [one[:2] for one in identity.links(ann)] == [("discord", "7")]
    assert identity.unlink("discord", "7") is True
    assert identity.unlink("discord", "7") is False
    with pytest.raises(UserNotFoundError):
        identity.links("nobody")
    with pytest.raises(InvalidInputError):
        identity.resolve("", "7")


@pytest.mark.parametrize(
    ("level", "allowed"), [("resolve", 1), ("link", 2), ("admin", 3), ("none", 0)]
)
def test_121_levels(host: FakeHost, level: str, allowed: int) -> None:
    host.capabilities = {f"identity:{level}"}
    calls = [
        lambda: identity.resolve("a", "1"),
        lambda: identity.unlink("a", "1"),
        identity.create_user,
    ]
    for number, call in enumerate(calls):
        if number < allowed:
            call()
        else:
            with pytest.raises(IdentityError) as caught:
                call()
            assert isinstance(caught.value, CapabilityDeniedError)


def test_123_124_front_ends(host: FakeHost) -> None:
    with pytest.raises(CapabilityDeniedError):
        uplink.register("bot", "chat")
    host.capabilities = {"uplink"}
    bot = uplink.register("bot", " Chat ", profile="bridge")
    assert host.people.uplinks[bot] == ("bot", "chat", "bridge")
    assert uplink.send(bot, "7", "hello") is True
    assert host.people.said == [(bot, "7", "hello")]
    with pytest.raises(InvalidInputError):
        uplink.register("bot", "chat")
    with pytest.raises(UnknownUplinkError):
        uplink.send("other", "7", "hello")
    for number in range(31):
        uplink.register(f"bot{number}", "chat")
    with pytest.raises(UplinkError) as caught:
        uplink.register("one more", "chat")
    assert isinstance(caught.value, QuotaError)


def test_the_harness_runs_the_install_hook_with_answers(
    capsule: Callable[..., CapsuleHarness],
) -> None:
    harness = capsule(HOOKED)
    harness.host.people.answers = {"name": "Ann", "token": "t"}
    harness.install()
    assert harness.host.kv == {"name": b"Ann"}
    assert harness.host.config == {"token": "t"}
    assert harness.host.people.is_installing is False
