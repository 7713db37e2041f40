"""Whole messages as JSON, and time stamps."""

from __future__ import annotations

import json
from typing import Any

import pytest

from astrid_core.domain.payload import PayloadError
from astrid_core.domain.payload_message import (
    WireMessage,
    format_timestamp,
    message_json,
    parse_message,
)

NOW = "2026-02-03T09:10:11.120Z"
SOURCE = "6f1c0d9e-1111-4222-8333-944445555666"
MINIMAL: dict[str, Any] = {
    "topic": "user.v1.prompt",
    "payload": {"type": "custom", "data": 1},
    "source_id": SOURCE,
}


def test_message_without_optional_fields():
    """Vector 87."""
    message = parse_message(json.dumps(MINIMAL), now=NOW)
    assert message == WireMessage(
        topic="user.v1.prompt", kind="custom", payload=b"1", source_id=SOURCE, timestamp=NOW
    )
    assert message.seq == 0
    assert message.principal is None
    written = json.loads(message_json(message))
    assert written == {**MINIMAL, "timestamp": NOW, "seq": 0, "signature": None}


def test_complete_message_survives():
    value = {
        **MINIMAL,
        "payload": {"type": "user_input", "text": "t", "session_id": "s"},
        "signature": None,
        "timestamp": NOW,
        "seq": 7,
        "principal": "alice",
    }
    assert json.loads(message_json(parse_message(json.dumps(value).encode(), now="x"))) == value


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2026-02-03T10:10:11.12+01:00", NOW),
        ("2026-02-03T09:10:11.120999Z", NOW),
        ("2026-02-03T09:10:11Z", "2026-02-03T09:10:11.000Z"),
    ],
)
def test_time_stamps_become_utc_milliseconds(given: str, kept: str):
    assert parse_message(json.dumps({**MINIMAL, "timestamp": given}), now="x").timestamp == kept


@pytest.mark.parametrize(
    "change",
    [
        {"topic": None},
        {"source_id": "nobody"},
        {"timestamp": "yesterday"},
        {"timestamp": "2026-02-03T09:10:11"},
        {"timestamp": "0001-01-01T00:00:00+23:59"},
        {"timestamp": None},
        {"seq": -1},
        {"seq": 2**64},
        {"signature": [256]},
        {"principal": 7},
        {"payload": 1},
        {"payload": {"type": "user_input"}},
    ],
)
def test_malformed_message_refused(change: dict[str, Any]):
    with pytest.raises(PayloadError):
        parse_message(json.dumps({**MINIMAL, **change}), now=NOW)


@pytest.mark.parametrize("field", sorted(MINIMAL))
def test_message_without_a_required_field_refused(field: str):
    value = {name: v for name, v in MINIMAL.items() if name != field}
    with pytest.raises(PayloadError):
        parse_message(json.dumps(value), now=NOW)


@pytest.mark.parametrize("raw", [b"{", b"[1]", b"null"])
def test_other_text_is_no_message(raw: bytes):
    with pytest.raises(PayloadError):
        parse_message(raw, now=NOW)


@pytest.mark.parametrize(
    ("unix_ns", "expected"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (999_999, "1970-01-01T00:00:00.000Z"),
        (1_770_109_811_120_999_999, NOW),
        (1_770_109_811_999_999_999, "2026-02-03T09:10:11.999Z"),
    ],
)
def test_format_timestamp(unix_ns: int, expected: str):
    assert format_timestamp(unix_ns) == expected
