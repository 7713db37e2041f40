"""Guest answers: the record form and the legacy byte form."""

from __future__ import annotations

import pytest

from astrid_core.domain.hook_result import Effect, Outcome, outcome_of_bytes, outcome_of_record
from astrid_hookspecs.errors import EngineError

MIB = 1024 * 1024
CONTINUE, FINAL, DENY = Effect.CONTINUE, Effect.FINAL, Effect.DENY
DENIED = Outcome(DENY, reason="denied by interceptor")


@pytest.mark.parametrize(
    ("action", "data", "expected"),
    [
        pytest.param("continue", None, Outcome(CONTINUE), id="77-continue"),
        pytest.param("continue", "", Outcome(CONTINUE), id="77-continue-empty"),
        pytest.param("continue", "ä", Outcome(CONTINUE, "ä".encode()), id="continue-data"),
        pytest.param("final", "x", Outcome(FINAL, b"x"), id="77-final"),
        pytest.param("final", None, Outcome(FINAL), id="final-empty"),
        pytest.param("abort", None, DENIED, id="77-abort"),
        pytest.param("Deny", "x", Outcome(CONTINUE, b"x"), id="77-case"),
        pytest.param("modify", "x", Outcome(CONTINUE, b"x"), id="134-modify"),
        pytest.param("deny", None, DENIED, id="134-deny"),
        pytest.param("deny", "", DENIED, id="deny-empty-reason"),
        pytest.param("deny", "why", Outcome(DENY, reason="why"), id="deny-reason"),
        pytest.param("abort", "r", Outcome(DENY, reason="r"), id="134-abort"),
        pytest.param("Final", "x", Outcome(CONTINUE, b"x"), id="134-Final"),
        pytest.param("deny", "r" * 1025, Outcome(DENY, reason="r" * 1021 + "..."), id="deny-long"),
        pytest.param("final", "x" * MIB, Outcome(FINAL, b"x" * MIB), id="final-largest"),
        pytest.param("continue", "\ud800", Outcome(CONTINUE, b"?"), id="not-utf8"),
        pytest.param("final", "\ud800", Outcome(FINAL, b"?"), id="final-not-utf8"),
    ],
)
def test_record(action: str, data: str | None, expected: Outcome):
    assert outcome_of_record(action, data) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param("", Outcome(CONTINUE), id="78-empty"),
        pytest.param("00 41", Outcome(CONTINUE, b"A"), id="78-continue"),
        pytest.param("01", Outcome(FINAL), id="78-final"),
        pytest.param("01 41", Outcome(FINAL, b"A"), id="final-data"),
        pytest.param("02 6e6f", Outcome(DENY, reason="no"), id="78-deny"),
        pytest.param("02", DENIED, id="deny-without-reason"),
        pytest.param("02 ff", Outcome(DENY, reason="\ufffd"), id="deny-lossy"),
        pytest.param("02" + "61" * 1025, Outcome(DENY, reason="a" * 1021 + "..."), id="deny-long"),
        pytest.param("41 42", Outcome(CONTINUE, b"AB"), id="78-other"),
    ],
)
def test_legacy_bytes(raw: str, expected: Outcome):
    assert outcome_of_bytes(bytes.fromhex(raw)) == expected


@pytest.mark.parametrize("action", ["continue", "final", "other"])
@pytest.mark.parametrize("data", ["x" * (MIB + 1), "ä" * (MIB // 2 + 1)], ids=["ascii", "wide"])
def test_an_answer_refused_when_it_is_larger_than_a_message(action: str, data: str):
    with pytest.raises(EngineError) as caught:
        outcome_of_record(action, data)
    assert caught.value.code == "engine.answer-too-large"


@pytest.mark.parametrize("first", [b"\0", b"\1", b"x"])
def test_old_answer_refused_when_it_is_larger_than_a_message(first: bytes):
    with pytest.raises(EngineError) as caught:
        outcome_of_bytes(first + b"x" * (MIB + 1))
    assert caught.value.code == "engine.answer-too-large"
