"""Payload conversions: guest text, envelope and wire."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrid_core.domain.payload import (
    MAX_NESTING,
    PayloadError,
    decode,
    encode,
    from_wire,
    normalise,
    parse_json,
    request_method,
    to_wire,
    to_wire_json,
)
from astrid_core.domain.payload_variants import (
    TAGGED,
    ApprovalResponse,
    Connect,
    Custom,
    Disconnect,
    RawJson,
    ToolExecuteRequest,
    ToolExecuteResult,
    Unknown,
    UserInput,
)

UUID = "6f1c0d9e-1111-4222-8333-944445555666"
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)

COMPLETE: dict[str, dict[str, Any]] = {
    "user_input": {"text": "hi", "session_id": "s", "context": {"k": [1]}},
    "agent_response": {"text": "hi", "is_final": True, "session_id": "s"},
    "approval_required": {"request_id": "7", "action": "a", "resource": "r", "reason": "w"},
    "approval_response": {"request_id": "7", "decision": "approve", "reason": "w"},
    "onboarding_required": {
        "capsule_id": "notes",
        "fields": [
            {"key": "a", "prompt": "A?", "field_type": "Secret"},
            {
                "key": "b",
                "prompt": "B?",
                "description": "d",
                "field_type": {"Enum": ["x", "y"]},
                "default": "x",
                "placeholder": "p",
            },
        ],
    },
    "elicit_request": {
        "request_id": UUID,
        "capsule_id": "notes",
        "field": {"key": "a", "prompt": "A?", "field_type": "Array"},
    },
    "elicit_response": {"request_id": UUID, "value": "v", "values": ["v", "w"]},
    "selection_required": {
        "request_id": "7",
        "title": "t",
        "options": [{"id": "1", "label": "one", "description": "d"}, {"id": "2", "label": "two"}],
        "callback_topic": "registry.v1.selection.callback",
    },
    "llm_request": {
        "request_id": UUID,
        "model": "m",
        "messages": [
            {"role": "system", "content": "text"},
            {"role": "assistant", "content": [{"id": "1", "name": "n", "arguments": {"q": 1}}]},
            {"role": "tool", "content": {"call_id": "1", "content": "c", "is_error": False}},
        ],
        "tools": [{"name": "n", "description": "d", "input_schema": {"type": "object"}}],
        "system": "s",
    },
    "llm_stream_event": {"request_id": UUID, "event": "Done"},
    "llm_response": {
        "request_id": UUID,
        "response": {
            "message": {"role": "assistant", "content": "c"},
            "has_tool_calls": False,
            "stop_reason": "EndTurn",
            "usage": {"input_tokens": 1, "output_tokens": 2},
        },
    },
    "tool_execute_request": {"call_id": "c", "tool_name": "t", "arguments": [1, None]},
    "tool_execute_result": {
        "call_id": "c",
        "result": {"call_id": "c", "content": "2 notes", "is_error": False},
    },
    "tool_cancel_request": {"call_ids": ["c"]},
    "connect": {},
    "disconnect": {"reason": "bye"},
}


def tagged(kind: str) -> dict[str, Any]:
    return {"type": kind, **COMPLETE[kind]}


def text(value: object) -> str:
    return json.dumps(value)


def test_examples_cover_every_variant():
    assert COMPLETE.keys() == TAGGED.keys()


@pytest.mark.parametrize("kind", sorted(TAGGED))
def test_complete_variant_survives_every_conversion(kind: str):
    value = tagged(kind)
    assert normalise(text(value)) == normalise(text(value).encode())
    got, guest = normalise(text(value))
    assert got == kind
    assert json.loads(guest) == value
    assert to_wire(kind, guest) == value
    assert json.loads(to_wire_json(kind, guest)) == value
    assert from_wire(value) == (kind, guest)
    record = decode(kind, guest)
    assert type(record) is TAGGED[kind]
    assert encode(record) == (kind, guest)


@pytest.mark.parametrize("kind", sorted(k for k in TAGGED if k not in ("connect", "disconnect")))
def test_variant_without_a_required_field_is_custom_from_guests_and_refused_on_the_wire(kind: str):
    record = TAGGED[kind]
    required = record.__struct_fields__[0]
    value = tagged(kind)
    del value[required]
    got, guest = normalise(text(value))
    assert got == "custom"
    assert json.loads(guest) == value, "the tag stays inside the data"
    with pytest.raises(PayloadError):
        from_wire(value)
    with pytest.raises(PayloadError):
        decode(kind, guest)


@pytest.mark.parametrize(
    ("value", "kind", "received"),
    [
        pytest.param(
            {"type": "user_input", "text": "hi"},
            "user_input",
            {"type": "user_input", "text": "hi", "session_id": "default"},
            id="81",
        ),
        pytest.param({"type": "user_input"}, "custom", {"type": "user_input"}, id="82-95-known"),
        pytest.param(
            {"type": "mystery", "a": 1}, "custom", {"type": "mystery", "a": 1}, id="83-unknown"
        ),
        pytest.param([1], "custom", [1], id="83-list"),
        pytest.param({"b": 1, "a": 2}, "custom", {"b": 1, "a": 2}, id="93"),
        pytest.param(
            {"type": "user_input", "text": "t", "zzz": 1},
            "user_input",
            {"type": "user_input", "text": "t", "session_id": "default"},
            id="94",
        ),
        pytest.param({"type": "nope", "k": 1}, "custom", {"type": "nope", "k": 1}, id="95-unknown"),
        pytest.param({"type": "raw_json", "k": 1}, "raw_json", {"k": 1}, id="96"),
        pytest.param({"type": "raw_json"}, "raw_json", {}, id="raw-empty"),
        pytest.param({"type": "custom", "data": 5}, "custom", 5, id="custom-tagged"),
        pytest.param({"type": "custom", "data": None}, "custom", None, id="custom-null"),
        pytest.param(
            {"type": "custom", "x": 5}, "custom", {"type": "custom", "x": 5}, id="no-data"
        ),
        pytest.param({"type": "unknown"}, "custom", {"type": "unknown"}, id="unknown-is-no-tag"),
        pytest.param({"type": 7}, "custom", {"type": 7}, id="tag-not-text"),
        pytest.param({"type": ["x"]}, "custom", {"type": ["x"]}, id="tag-unhashable"),
        pytest.param(
            {"type": "user_input", "text": "t", "context": None},
            "user_input",
            {"type": "user_input", "text": "t", "session_id": "default"},
            id="null-option-vanishes",
        ),
        pytest.param(
            {"type": "connect", "extra": 1}, "connect", {"type": "connect"}, id="84-connect"
        ),
        pytest.param("text", "custom", "text", id="plain-text"),
    ],
)
def test_guest_text(value: object, kind: str, received: object):
    got, guest = normalise(text(value))
    assert (got, json.loads(guest)) == (kind, received)


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "user_input", "text": 1},
        {"type": "user_input", "text": "t", "session_id": None},
        {"type": "agent_response", "text": "t", "is_final": 1},
        {"type": "tool_cancel_request", "call_ids": "c"},
        {"type": "tool_cancel_request", "call_ids": [1]},
        {"type": "elicit_response", "request_id": "not a uuid"},
        {"type": "llm_stream_event", "request_id": UUID, "event": "done"},
        {"type": "llm_stream_event", "request_id": UUID, "event": {}},
        {"type": "llm_stream_event", "request_id": UUID, "event": {"Other": "x"}},
        {
            "type": "llm_stream_event",
            "request_id": UUID,
            "event": {"TextDelta": "x", "Error": "y"},
        },
        {
            "type": "llm_stream_event",
            "request_id": UUID,
            "event": {"Usage": {"input_tokens": -1, "output_tokens": 0}},
        },
        {
            "type": "elicit_request",
            "request_id": UUID,
            "capsule_id": "c",
            "field": {"key": "k", "prompt": "p", "field_type": "Number"},
        },
        {
            "type": "elicit_request",
            "request_id": UUID,
            "capsule_id": "c",
            "field": {"key": "k", "prompt": "p", "field_type": {"Enum": ["a"], "x": 1}},
        },
    ],
)
def test_variant_with_a_wrong_field_is_not_that_variant(wrong: dict[str, Any]):
    kind, guest = normalise(text(wrong))
    assert kind == "custom"
    assert json.loads(guest) == wrong


@pytest.mark.parametrize(
    "event",
    [
        {"TextDelta": "x"},
        {"ToolCallStart": {"id": "1", "name": "n"}},
        {"ToolCallDelta": {"id": "1", "args_delta": "{"}},
        {"ToolCallEnd": {"id": "1"}},
        {"ReasoningDelta": "x"},
        {"Usage": {"input_tokens": 1, "output_tokens": 2}},
        {"Error": "x"},
    ],
)
def test_stream_events_keep_their_form(event: dict[str, Any]):
    value = {"type": "llm_stream_event", "request_id": UUID, "event": event}
    kind, guest = normalise(text(value))
    assert (kind, json.loads(guest)) == ("llm_stream_event", value)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        pytest.param(b"{oops", "payload.not-json", id="83-malformed"),
        pytest.param(b"{", "payload.not-json", id="guest-83-brace"),
        pytest.param(b"", "payload.not-json", id="guest-83-empty"),
        pytest.param(b"NaN", "payload.not-json", id="nan"),
        pytest.param(b'{"a":Infinity}', "payload.not-json", id="infinity"),
        pytest.param(b"-Infinity", "payload.not-json", id="minus-infinity"),
        pytest.param(b"1e999", "payload.not-json", id="out-of-range"),
        pytest.param(b"1" * 5000, "payload.not-json", id="huge-integer"),
        pytest.param(b"1 2", "payload.not-json", id="two-values"),
        pytest.param(b'"\xff"', "payload.not-json", id="not-utf8"),
        pytest.param(b'"\\ud800"', "payload.not-json", id="lone-surrogate-escape"),
        pytest.param('"\ud800"', "payload.not-json", id="lone-surrogate"),
        pytest.param(b"\xef\xbb\xbf1", "payload.not-json", id="byte-order-mark"),
        pytest.param(b"[" * 129 + b"]" * 129, "payload.too-deep", id="lists"),
        pytest.param(b'{"a":' * 129 + b"1" + b"}" * 129, "payload.too-deep", id="objects"),
        pytest.param("[" * 129 + "]" * 129, "payload.too-deep", id="text"),
        pytest.param('["]\\\\", ' + "[" * 128 + "]" * 129, "payload.too-deep", id="after-quotes"),
        pytest.param(
            b"[[],[]," + b'{"[":[' * 64 + b"]}" * 64 + b"]", "payload.too-deep", id="mixed"
        ),
        pytest.param(b"[" * 50_000 + b"]" * 50_000, "payload.too-deep", id="very-deep"),
    ],
)
def test_text_refused(raw: bytes | str, code: str):
    with pytest.raises(PayloadError) as caught:
        normalise(raw)
    assert caught.value.code == code
    assert caught.value.hint


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * MAX_NESTING + b"]" * MAX_NESTING,
        b"[" + b",".join([b"[]"] * 500) + b"]",
        b'"' + b"[" * 500 + b'"',
        b'["a\\"' + b"[" * 500 + b'", "\\\\", "' + b"{" * 500 + b'\\n"]',
        '"' + "ä[" * 500 + '"',
        ("[" * MAX_NESTING + "]" * MAX_NESTING),
    ],
)
def test_wide_text_and_the_deepest_allowed_pass(raw: bytes | str):
    kind, guest = normalise(raw)
    assert kind == "custom"
    assert json.loads(guest) == json.loads(raw)


def test_nesting_limit_lies_below_the_interpreter_s_own():
    assert sys.getrecursionlimit() > 4 * MAX_NESTING


def test_repeated_keys_have_one_meaning_for_every_reader():
    _, guest = normalise(b'{"a":1,"a":2,"type":"x"}')
    assert guest.count(b'"a"') == 1
    kind, guest = normalise(b'{"type":"raw_json","type":"custom","data":1}')
    assert (kind, guest) == ("custom", b"1")


@pytest.mark.parametrize(
    ("kind", "guest", "wire"),
    [
        pytest.param("raw_json", b'{"a":1}', {"a": 1, "type": "raw_json"}, id="85-raw"),
        pytest.param("raw_json", b"{}", {"type": "raw_json"}, id="raw-empty"),
        pytest.param("custom", b'{"a":1}', {"data": {"a": 1}, "type": "custom"}, id="85-custom"),
        pytest.param("custom", b"5", {"data": 5, "type": "custom"}, id="84-custom"),
        pytest.param("connect", b'{"type":"connect"}', {"type": "connect"}, id="84-connect"),
        pytest.param("unknown", b'{"type":"unknown"}', {"type": "unknown"}, id="unknown"),
    ],
)
def test_wire_form(kind: str, guest: bytes, wire: dict[str, Any]):
    assert to_wire(kind, guest) == wire
    assert json.loads(to_wire_json(kind, guest)) == wire
    assert from_wire(wire) == (kind, guest)


def test_payload_of_a_future_version_is_unknown():
    """Vector 86."""
    assert from_wire({"type": "future_kind", "x": 1}) == ("unknown", b'{"type":"unknown"}')


@pytest.mark.parametrize("value", [5, [], {}, {"type": 1}, {"data": 1}, None])
def test_untagged_wire_payload_refused(value: object):
    with pytest.raises(PayloadError) as caught:
        from_wire(value)
    assert caught.value.code == "payload.untagged"


def test_wire_custom_without_data_refused():
    with pytest.raises(PayloadError):
        from_wire({"type": "custom"})


def test_deep_wire_payload_refused():
    deep: Any = 1
    for _ in range(MAX_NESTING - 1):
        deep = [deep]
    assert from_wire({"type": "custom", "data": deep})[0] == "custom"
    with pytest.raises(PayloadError, match="nested deeper"):
        from_wire({"type": "custom", "data": [deep]})


@pytest.mark.parametrize("kind", ["raw_json", "user_input"])
def test_wire_form_of_something_else_than_an_object_refused(kind: str):
    with pytest.raises(PayloadError):
        to_wire(kind, b"[1]")


def test_decode_gives_consumers_typed_records():
    assert decode("custom", b"[1]") == Custom(data=[1])
    assert decode("raw_json", b'{"a":1}') == RawJson(value={"a": 1})
    assert decode("unknown", b"anything") == Unknown()
    assert decode("connect", b'{"type":"connect"}') == Connect()
    assert decode(
        "tool_execute_request",
        b'{"type":"tool_execute_request","call_id":"c","tool_name":"t","arguments":{"q":1}}',
    ) == ToolExecuteRequest(call_id="c", tool_name="t", arguments={"q": 1})


@pytest.mark.parametrize(
    ("kind", "guest"),
    [
        ("raw_json", b"[1]"),
        ("nope", b"{}"),
        ("tool_execute_result", b'{"type":"tool_execute_request"}'),
        ("approval_response", b'{"type":"user_input","text":"x"}'),
        ("custom", b"{"),
    ],
)
def test_decode_refuses_what_does_not_fit_the_kind(kind: str, guest: bytes):
    with pytest.raises(PayloadError):
        decode(kind, guest)


@pytest.mark.parametrize(
    ("record", "kind", "guest"),
    [
        (Custom(data={"lagged_count": 3}), "custom", b'{"lagged_count":3}'),
        (RawJson(value={"status": "ready"}), "raw_json", b'{"status":"ready"}'),
        (Disconnect(), "disconnect", b'{"type":"disconnect"}'),
        (Unknown(), "unknown", b'{"type":"unknown"}'),
        (
            UserInput(text="t"),
            "user_input",
            b'{"type":"user_input","text":"t","session_id":"default"}',
        ),
        (
            ApprovalResponse(request_id="7", decision="approve"),
            "approval_response",
            b'{"type":"approval_response","request_id":"7","decision":"approve"}',
        ),
    ],
)
def test_encode(record: Any, kind: str, guest: bytes):
    assert encode(record) == (kind, guest)


def test_raw_object_with_a_type_key_cannot_be_encoded():
    with pytest.raises(PayloadError):
        encode(RawJson(value={"type": "x"}))


def test_results_of_tools_read_as_documented():
    _, guest = normalise(text(tagged("tool_execute_result")))
    record = decode("tool_execute_result", guest)
    assert isinstance(record, ToolExecuteResult)
    assert record.result.content == "2 notes"


@pytest.mark.parametrize(
    ("kind", "guest", "method"),
    [
        ("raw_json", b'{"method":"GetStatus"}', "GetStatus"),
        ("raw_json", b'{"method":7}', None),
        ("raw_json", b"{}", None),
        ("raw_json", b"[1]", None),
        ("custom", b'{"method":"GetStatus"}', None),
    ],
)
def test_request_method(kind: str, guest: bytes, method: str | None):
    assert request_method(kind, guest) == method


@given(JSON_VALUES)
@pytest.mark.slow
def test_every_json_value_reaches_guests_and_the_wire_unchanged(value: Any):
    kind, guest = normalise(text(value))
    assert parse_json(guest) == value if kind == "custom" else isinstance(value, dict)
    assert from_wire(to_wire(kind, guest)) == (kind, guest)
    assert from_wire(json.loads(to_wire_json(kind, guest))) == (kind, guest)
