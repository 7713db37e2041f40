"""Capabilities. Spec: kernel-and-security 5.4 to 5.6, vectors 28 to 50."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrid_core.domain.capability import (
    BUILTIN_GROUPS,
    Decision,
    Group,
    Outcome,
    decide,
    is_universal,
    matches,
    parse_capability,
)
from astrid_hookspecs.errors import ConfigError


@dataclass(frozen=True)
class Holder:
    enabled: bool = True
    groups: tuple[str, ...] = ()
    grants: tuple[str, ...] = ()
    revokes: tuple[str, ...] = ()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("self:*", id="28"),
        pytest.param("a" * 256, id="33-ok"),
        "*",
        "*:*",
        "a-b_C:9",
    ],
)
def test_capability_accepted(text: str):
    assert parse_capability(text) == text


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("", "empty", id="29-empty"),
        pytest.param("a::b", "empty-segment", id="29-inner"),
        pytest.param(":a", "empty-segment", id="29-first"),
        pytest.param("a:", "empty-segment", id="29-last"),
        pytest.param("a*", "partial-star", id="30-end"),
        pytest.param("a:b*", "partial-star", id="30-second"),
        pytest.param("a:**", "double-star", id="31-segment"),
        pytest.param("**", "double-star", id="31-alone"),
        pytest.param("a b", "character", id="32-space"),
        pytest.param("a.b", "character", id="32-dot"),
        pytest.param("a/b", "character", id="32-slash"),
        pytest.param("a" * 257, "too-long", id="33-too-long"),
        pytest.param("ä" * 129, "too-long", id="33-bytes"),
        pytest.param("a\n", "character", id="newline"),
        pytest.param("\ud800", "character", id="surrogate"),
        pytest.param("**" + "a" * 256, "too-long", id="length-before-star"),
        pytest.param("::**", "double-star", id="star-before-empty"),
    ],
)
def test_capability_refused(text: str, code: str):
    with pytest.raises(ConfigError) as caught:
        parse_capability(text)
    assert caught.value.code == f"capability.{code}"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("pattern", "capability", "expected"),
    [
        pytest.param("*", "x", True, id="34-one"),
        pytest.param("*", "a:b:c", True, id="34-three"),
        pytest.param("self:*", "self", False, id="35"),
        pytest.param("self:*", "self:capsule:list", True, id="36"),
        pytest.param("*:list", "capsule:list", True, id="37-two"),
        pytest.param("*:list", "self:capsule:list", False, id="37-three"),
        pytest.param("a:*:c", "a:b:c", True, id="38-three"),
        pytest.param("a:*:c", "a:b:x:c", False, id="38-four"),
        pytest.param("a:*:*", "a:b", False, id="39-two"),
        pytest.param("a:*:*", "a:b:c:d", True, id="39-four"),
        pytest.param("*:*", "system", False, id="40-one"),
        pytest.param("*:*", "system:shutdown", True, id="40-two"),
        pytest.param("a:b", "a:b:c", False, id="41"),
        pytest.param("Self:*", "self:x", False, id="42"),
        pytest.param("a:b:c", "a:b", False, id="pattern-longer"),
        pytest.param("a:b", "a:b", True, id="equal"),
    ],
)
def test_matching(pattern: str, capability: str, *, expected: bool):
    assert matches(pattern, capability) is expected


ADMIN = ("admin",)
REVOKED, MISSING, GRANTED = Outcome.REVOKED, Outcome.MISSING, Outcome.GRANTED


@pytest.mark.parametrize(
    ("holder", "capability", "expected"),
    [
        pytest.param(
            {"groups": ADMIN, "revokes": ("system:*",)},
            "system:shutdown",
            Decision(REVOKED, "system:*"),
            id="43",
        ),
        pytest.param(
            {"grants": ("system:shutdown",), "revokes": ("system:shutdown",)},
            "system:shutdown",
            Decision(REVOKED, "system:shutdown"),
            id="44",
        ),
        pytest.param(
            {"grants": ("system:status",)},
            "system:status",
            Decision(GRANTED, "system:status"),
            id="45",
        ),
        pytest.param(
            {"groups": ("agent",)},
            "self:agent:list",
            Decision(Outcome.GROUP, "self:*", "agent"),
            id="46-self",
        ),
        pytest.param({"groups": ("agent",)}, "system:status", Decision(MISSING), id="46-status"),
        pytest.param({"groups": ("agent",)}, "group:create", Decision(MISSING), id="46-group"),
        pytest.param(
            {"groups": ("ghost", "agent")},
            "self:capsule:list",
            Decision(Outcome.GROUP, "self:*", "agent", ("ghost",)),
            id="47",
        ),
        pytest.param({"groups": ("restricted",)}, "self:x", Decision(MISSING), id="48"),
        pytest.param(
            {"enabled": False, "groups": ADMIN},
            "system:status",
            Decision(Outcome.DISABLED),
            id="49",
        ),
        pytest.param(
            {"groups": ADMIN, "revokes": ("*",)}, "self:x", Decision(REVOKED, "*"), id="50"
        ),
        pytest.param({}, "self:x", Decision(MISSING), id="nothing"),
        pytest.param(
            {"groups": ("ghost",)},
            "self:x",
            Decision(MISSING, unknown_groups=("ghost",)),
            id="unknown-group-is-a-no",
        ),
    ],
)
def test_precedence(holder: dict[str, Any], capability: str, expected: Decision):
    assert decide(Holder(**holder), capability) == expected


@pytest.mark.parametrize("outcome", list(Outcome))
def test_only_grants_groups_and_tokens_allow(outcome: Outcome):
    assert Decision(outcome).is_allowed is (
        outcome in (Outcome.GRANTED, Outcome.GROUP, Outcome.TOKEN)
    )


def test_groups_are_asked_in_order():
    groups = {**BUILTIN_GROUPS, "a": Group(("x:*",)), "b": Group(("x:y",))}
    found = decide(Holder(groups=("b", "a")), "x:y", groups=groups)
    assert found == Decision(Outcome.GROUP, "x:y", "b")


def test_builtin_groups_cannot_be_changed():
    with pytest.raises(TypeError):
        BUILTIN_GROUPS["admin"] = Group(())  # type: ignore[index]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("*", True), ("*:*", True), ("*:*:*", True), ("self:*", False), ("*:list", False)],
)
def test_universal_patterns(pattern: str, *, expected: bool):
    assert is_universal(pattern) is expected


words = st.sampled_from(["a", "b", "*"])
patterns = st.lists(words, min_size=1, max_size=4)


def walk(pattern: list[str], capability: list[str]) -> bool:
    """The rule as the reference states it, step by step."""
    if pattern == ["*"]:
        return True
    for index, want in enumerate(pattern):
        if index == len(capability):
            return False
        if want == "*" and index == len(pattern) - 1:
            return True
        if want not in ("*", capability[index]):
            return False
    return len(pattern) == len(capability)


@given(patterns, st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=5))
def test_matching_agrees_with_the_stepwise_rule(pattern: list[str], capability: list[str]):
    assert matches(":".join(pattern), ":".join(capability)) is walk(pattern, capability)
