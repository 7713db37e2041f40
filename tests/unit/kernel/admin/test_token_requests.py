"""Requests about capability tokens, and requests that a token allows."""

from __future__ import annotations

from typing import Any

import pytest

from astrid_core.domain.capability_token import Caveat, parse_token
from astrid_hookspecs.values import Principal
from tests.support.management import Managed


@pytest.fixture
def peopled(managed: Managed) -> Managed:
    for name in ("alice", "bob"):
        managed.done("AgentCreate", name=name)
    return managed


def mint(managed: Managed, resource: str, *, caller: str = "default", **more: Any) -> Any:
    return managed.done("TokenMint", caller=caller, principal="alice", resource=resource, **more)


def test_a_token_gives_a_right_until_it_is_revoked(peopled: Managed) -> None:
    assert peopled.refused("GroupCreate", caller="alice", name="g", capabilities=["a:b"])
    made = mint(peopled, "right://group:*", keep=True)
    assert "token" not in made
    peopled.trail.entries.clear()
    peopled.done("GroupCreate", caller="alice", name="g", capabilities=["a:b"])
    assert peopled.trail.entries[0].principal == "alice"
    assert peopled.refused("GroupCreate", caller="bob", name="h", capabilities=["a:b"])
    assert peopled.done("TokenList", caller="alice", principal="alice") == [made]
    assert peopled.done("TokenRevoke", id=made["id"], reason="done")["known"] is True
    assert peopled.refused("GroupDelete", caller="alice", name="g") == "denied.capability"
    assert peopled.done("TokenList", caller="alice", principal="alice") == []


def test_a_token_for_one_use_gives_a_right_once(peopled: Managed) -> None:
    mint(peopled, "right://group:create", keep=True, single_use=True, life_secs=60)
    peopled.done("GroupCreate", caller="alice", name="g", capabilities=["a:b"])
    again = peopled.refused("GroupCreate", caller="alice", name="h", capabilities=["a:b"])
    assert again == "denied.capability"


def test_neither_a_revoke_nor_a_switched_off_principal_is_overruled(peopled: Managed) -> None:
    mint(peopled, "right://group:*", keep=True)
    peopled.done("CapsRevoke", principal="alice", capabilities=["group:create"])
    answer = peopled.ask("GroupCreate", caller="alice", name="g", capabilities=["a:b"])
    assert answer["rule"] == "revokes:group:create"
    peopled.done("AgentDisable", principal="alice")
    assert peopled.ask("GroupDelete", caller="alice", name="g")["rule"] == "profile.enabled"


def test_a_token_is_handed_out_narrowed_and_kept_by_its_principal(peopled: Managed) -> None:
    text = mint(peopled, "right://group:*")["token"]
    narrow = parse_token(text).attenuate(Caveat(resource="right://group:create")).to_text()
    assert peopled.refused("TokenAdd", caller="bob", token=narrow) == "token.signature"
    kept = peopled.done("TokenAdd", caller="alice", token=narrow)
    assert (kept["caveats"], kept["resources"][-1]) == (1, "right://group:create")
    peopled.done("GroupCreate", caller="alice", name="g", capabilities=["a:b"])
    assert peopled.refused("GroupDelete", caller="alice", name="g")
    assert text not in str(peopled.trail.entries)
    assert narrow not in str(peopled.trail.entries)
    assert "[secret]" in str(peopled.trail.entries)


@pytest.mark.parametrize(
    ("resource", "rule"),
    [
        ("right://agent:create", "agent:create"),
        ("right://caps:*", "caps:*"),
        ("right://*", "*"),
    ],
)
def test_nobody_hands_on_a_right_that_it_does_not_hold(
    peopled: Managed, resource: str, rule: str
) -> None:
    peopled.done("CapsGrant", principal="bob", capabilities=["token:mint", "caps:grant"])
    answer = peopled.ask("TokenMint", caller="bob", principal="alice", resource=resource)
    assert answer["rule"] == rule
    assert mint(peopled, "right://caps:grant", caller="bob")["token"]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"resource": "right://a b"}, "capability.character"),
        ({"resource": "right://*:create"}, "principal.invalid-argument"),
        ({"resource": "*"}, "token.pattern"),
        ({"resource": "[r]ight://*"}, "token.pattern"),
        ({"resource": "file:///a", "life_secs": 0}, "token.life"),
        ({"resource": "file:///a", "permissions": []}, "request.params"),
        ({"resource": "file:///a", "permissions": ["fly"]}, "request.params"),
        ({"resource": "file:///a", "principal": "carol"}, "principal.not-found"),
    ],
)
def test_a_token_that_is_not_made(peopled: Managed, params: dict[str, Any], code: str) -> None:
    assert peopled.refused("TokenMint", **{"principal": "alice", **params}) == code


def test_an_agent_sees_its_own_tokens(peopled: Managed) -> None:
    mint(peopled, "file:///a", keep=True)
    assert peopled.refused("TokenList", caller="bob", principal="alice") == "denied.capability"
    assert "proof" not in str(peopled.done("TokenList", principal="alice"))
    assert peopled.principals.tokens.usable(Principal("bob")) == []


def test_the_tokens_of_a_deleted_principal_are_nobodys(peopled: Managed) -> None:
    made = mint(peopled, "right://group:*", keep=True)
    assert peopled.done("AgentDelete", principal="alice")["revoked_tokens"] == 1
    (peopled.home.etc / "profiles/alice.toml").unlink()  # the name is given to somebody new
    peopled.done("AgentCreate", name="alice")
    assert peopled.done("TokenList", principal="alice") == []
    assert peopled.refused("GroupCreate", caller="alice", name="g", capabilities=["a:b"])
    assert peopled.done("TokenRevoke", id=made["id"])["known"] is False
