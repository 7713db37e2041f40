"""Settings and onboarding. Spec: capsules-and-bus 5.5, vectors 88 to 92."""

from __future__ import annotations

from typing import Any

import pytest

from astrid_core.domain.environment import (
    Environment,
    OnboardingField,
    onboarding_field,
    resolve_environment,
)
from astrid_core.domain.manifest import EnvField, parse_manifest


def declared(body: str) -> tuple[EnvField, ...]:
    return parse_manifest(f'[package]\nname = "t"\nversion = "0.1.0"\n{body}').env


def field(**changes: Any) -> EnvField:
    return EnvField(**{"key": "K", "type": "text", "request": "Which?", **changes})


def resolve(*fields: EnvField, **stored: bytes) -> Environment:
    return resolve_environment(fields, stored=stored)


def test_vector_88_default_of_another_type_becomes_json_text():
    found = resolve(*declared('[env.N]\ntype = "text"\ndefault = 25\n'))
    assert found == Environment({"N": "25"}, (), ())


def test_vector_89_default_of_a_choice_is_used_and_still_asked():
    # Upstream 0.7.0 starts with an empty text here [C-13].
    found = resolve(*declared('[env.M]\ntype = "select"\nenum_values = ["a", "b"]\ndefault = "b"'))
    assert found.values == {"M": "b"}
    assert [q.to_json() for q in found.questions] == [
        {
            "key": "M",
            "prompt": "Please enter value for M",
            "field_type": {"Enum": ["a", "b"]},
            "default": "b",
        }
    ]


def test_default_that_is_no_choice_is_not_used():
    found = resolve(field(enum_values=("a", "b"), default="c"))
    assert found.values == {"K": ""}
    assert len(found.questions) == 1


def test_choice_without_default_is_asked():
    found = resolve(field(enum_values=("a", "b")))
    assert found.values == {"K": ""}
    assert found.questions[0].choices == ("a", "b")


def test_vector_90_single_choice_is_proposed():
    found = resolve(field(enum_values=("only",)))
    assert found.values == {"K": ""}
    assert found.questions == (OnboardingField("K", "Which?", "Text", default="only"),)


def test_vector_91_unreadable_answer_is_asked_again():
    found = resolve(field(default="d"), K=b"\xff")
    assert found.values == {"K": ""}
    assert [q.key for q in found.questions] == ["K"]


def test_vector_92_reserved_key_is_skipped():
    found = resolve(field(key="ASTRID_SOCKET_PATH"), field(), ASTRID_SOCKET_PATH=b"/x", K=b"v")
    assert found == Environment({"K": "v"}, (), ("ASTRID_SOCKET_PATH",))


def test_stored_answer_wins_over_default_and_choices():
    found = resolve(field(default="d", enum_values=("a", "b")), K="ä".encode())
    assert found == Environment({"K": "ä"}, (), ())


def test_missing_setting_is_asked():
    assert resolve(field()).values == {"K": ""}
    assert [q.key for q in resolve(field()).questions] == ["K"]


@pytest.mark.parametrize("kind", ["secret", "Secret", "SECRET"])
def test_secret_never_becomes_a_value(kind: str):
    secret = field(type=kind, default="public", enum_values=("a", "b"))
    found = resolve(secret, K=b"stored in the wrong place")
    assert found.values == {}
    assert [q.kind for q in found.questions] == ["Secret"]
    held = resolve_environment([secret], stored={}, secrets={"K"})
    assert held == Environment({}, (), ())


def test_order_is_that_of_the_file():
    found = resolve(*(field(key=key) for key in "zay"))
    assert list(found.values) == ["z", "a", "y"]
    assert [q.key for q in found.questions] == ["z", "a", "y"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"type": "secret", "enum_values": ("a", "b")}, "Secret"),
        ({"type": "array", "enum_values": ("a", "b")}, "Array"),
        ({"type": "Array", "enum_values": ("a",)}, "Text"),
        ({"type": "select", "enum_values": ("a", "b")}, {"Enum": ["a", "b"]}),
        ({"type": "anything"}, "Text"),
    ],
)
def test_field_type(changes: dict[str, Any], expected: object):
    assert onboarding_field(field(**changes)).to_json()["field_type"] == expected


def test_field_carries_what_the_manifest_says():
    full = field(description="D", placeholder="P", default="X", enum_values=("only",))
    assert onboarding_field(full).to_json() == {
        "key": "K",
        "prompt": "Which?",
        "field_type": "Text",
        "description": "D",
        "default": "X",
        "placeholder": "P",
    }
