"""Errors told to somebody else: everything they would have shown here, and nothing twice."""

from __future__ import annotations

from astrid_core.domain.error_fields import MAX_CAUSES, error_fields, with_causes
from astrid_hookspecs.errors import (
    AstridError,
    CapabilityDeniedError,
    IntegrityError,
    ManifestError,
)


def chained(*messages: str) -> AstridError:
    first: AstridError | None = None
    for message in reversed(messages):
        error = AstridError(message)
        error.__cause__ = first
        first = error
    assert first is not None
    return first


def test_a_plain_error_has_a_text_and_a_code() -> None:
    assert error_fields(AstridError("broken")) == {"data": "broken", "code": "internal"}


def test_a_refusal_has_its_rule_and_its_hint() -> None:
    assert error_fields(CapabilityDeniedError("no", rule="r", hint="ask")) == {
        "data": "no",
        "code": "denied.capability",
        "hint": "ask",
        "rule": "r",
    }


def test_what_else_an_error_says_goes_along() -> None:
    error = ManifestError("wrong", rule="E-X", key="a.b")
    error.__cause__ = AstridError("because")
    fields = error_fields(error)
    assert fields["data"] == "wrong"
    assert fields["shown"] == "Capsule.toml [a.b]: wrong (E-X): because"
    assert fields["details"] == {"rule": "E-X", "path": None, "key": "a.b", "line": None}
    assert error_fields(IntegrityError("changed"))["exit"] == 7


def test_causes_are_shown_once_and_not_for_ever() -> None:
    assert with_causes(chained("a", "b", "b", "c")) == "a: b: c"
    assert with_causes(chained(*"abcdefgh")).count(":") == MAX_CAUSES - 1
    error = AstridError("outer")
    error.__cause__ = ValueError("not ours")
    assert with_causes(error) == "outer"
