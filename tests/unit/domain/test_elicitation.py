"""What install hooks ask for, and what counts as an answer. Spec: host-abi 4."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from astrid_core.domain.elicitation import (
    MAX_ANSWER_BYTES,
    Elicitation,
    ElicitError,
    Kind,
    elicitation,
    read_answer,
)
from astrid_core.domain.payload_variants import EnumChoice, OnboardingField


def make(
    kind: Kind = "text",
    key: str = "k",
    description: str = "",
    *,
    options: Sequence[str] | None = None,
    default: str | None = None,
) -> Elicitation:
    return elicitation(kind, key, description, options=options, default=default)


@pytest.mark.parametrize(
    ("made", "field"),
    [
        (make(), OnboardingField("k", "k", "Text")),
        (make(description="Your\n name ", default="d"),
         OnboardingField("k", "Your name", "Text", default="d")),
        (make("secret", default="d"), OnboardingField("k", "k", "Secret")),
        (make("array", options=["x"]), OnboardingField("k", "k", "Array")),
        (make("select", options=["a", "b"], default="b"),
         OnboardingField("k", "k", EnumChoice(["a", "b"]), default="b")),
    ],
)  # fmt: skip
def test_question_as_front_ends_see_it(made: Elicitation, field: OnboardingField) -> None:
    assert made.to_field() == field


@pytest.mark.parametrize(
    "wanted",
    [
        {"key": ""},
        {"key": "a:b"},
        {"key": "a/b"},
        {"key": "a\nb"},
        {"key": "k" * 257},
        {"kind": "select"},
        {"kind": "select", "options": []},
        {"kind": "select", "options": ["x"] * 257},
        {"kind": "select", "options": ["x" * 257]},
        {"kind": "select", "options": ["a\x1b[2J"]},
        {"description": "d" * 1025},
        {"description": " " * 4097},
        {"description": "a\u202eb"},
        {"default": "a\x00"},
        {"default": "d" * 1025},
    ],
)
def test_question_refused_when_it_cannot_be_shown(wanted: dict[str, Any]) -> None:
    with pytest.raises(ElicitError) as caught:
        make(**wanted)
    assert caught.value.code == "elicit.invalid"


CHOICE = make("select", options=["a", "b"])


@pytest.mark.parametrize(
    ("asked", "value", "values", "got"),
    [
        (make(), "x", None, ("x", ())),
        (make(), "", None, ("", ())),
        (make(), "x", ["y"], ("x", ())),
        (CHOICE, "b", None, ("b", ())),
        (make("array"), None, ["x", "y"], ("", ("x", "y"))),
        (make("array"), None, [], ("", ())),
        (make("array"), "x", None, ("", ("x",))),
        (make("secret"), "s", None, ("s", ())),
    ],
)
def test_answers(
    asked: Elicitation, value: str | None, values: list[str] | None, got: tuple[str, Any]
) -> None:
    answer = read_answer(asked, value=value, values=values)
    assert (answer.value, answer.values) == got


@pytest.mark.parametrize(
    ("asked", "value", "values", "code"),
    [
        pytest.param(make(), None, None, "elicit.cancelled", id="119-neither"),
        pytest.param(make("secret"), "", None, "elicit.invalid", id="119-empty-secret"),
        (CHOICE, "c", None, "elicit.invalid"),
        (CHOICE, None, ["a"], "elicit.invalid"),
        (make(), None, ["x"], "elicit.invalid"),
        (make(), "a\0", None, "elicit.invalid"),
        (make("array"), None, ["a", "\0"], "elicit.invalid"),
        (make(), "x" * (MAX_ANSWER_BYTES + 1), None, "elicit.invalid"),
        (make("array"), None, ["ü" * 20_000] * 2, "elicit.invalid"),
    ],
)
def test_answer_refused(
    asked: Elicitation, value: str | None, values: list[str] | None, code: str
) -> None:
    with pytest.raises(ElicitError) as caught:
        read_answer(asked, value=value, values=values)
    assert caught.value.code == code


def test_an_answer_is_never_shown() -> None:
    answer = read_answer(make("secret"), value="hunter2", values=None)
    assert "hunter2" not in repr(answer)
