"""Spec: kernel-and-security 4.1, D-13, D-14, vectors 64 to 66."""

from __future__ import annotations

import json
from typing import Any

import pytest

from astrid_core.domain.kernel_request import (
    METHODS,
    KernelRequest,
    RequestError,
    answer,
    client_frame,
    error_answer,
    lag_frame,
    parse_request,
    request_id_of,
    response_topic,
    text_param,
)
from astrid_core.domain.topic import READ_ONLY_METHODS
from astrid_hookspecs.errors import AstridError, CapabilityDeniedError


def parse(value: Any, kind: str = "raw_json") -> KernelRequest:
    return parse_request(kind, json.dumps(value).encode())


def test_a_request_with_everything() -> None:
    asked = parse({"method": "Shutdown", "params": {"reason": "x"}, "request_id": "r1"})
    assert asked == KernelRequest("Shutdown", {"reason": "x"}, "r1")


@pytest.mark.parametrize("extra", [{}, {"params": None}])
def test_vector_65_params_may_be_missing_or_null(extra: dict[str, Any]) -> None:
    assert parse({"method": "ListCapsules", **extra}) == KernelRequest("ListCapsules", {}, None)


@pytest.mark.parametrize(
    ("value", "kind", "code"),
    [
        ({"method": "Nope"}, "raw_json", "request.unknown-method"),
        ({"method": 1}, "raw_json", "request.malformed"),
        ({}, "raw_json", "request.malformed"),
        ([], "raw_json", "request.malformed"),
        ({"method": "GetStatus", "params": [1]}, "raw_json", "request.malformed"),
        ({"method": "GetStatus"}, "custom", "request.malformed"),
    ],
)
def test_vector_66_a_malformed_request_says_what_is_wrong(value: Any, kind: str, code: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse(value, kind)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("value", "kind", "found"),
    [
        ({"request_id": "r1"}, "raw_json", "r1"),
        ({"request_id": 1}, "raw_json", None),
        ({"request_id": "x" * 129}, "raw_json", None),
        ({}, "raw_json", None),
        ([], "raw_json", None),
        ({"request_id": "r1"}, "custom", None),
    ],
)
def test_the_request_id_is_found_where_it_can_be_echoed(
    value: Any, kind: str, found: str | None
) -> None:
    assert request_id_of(kind, json.dumps(value).encode()) == found


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("astrid.v1.request.status", "astrid.v1.response.status"),
        ("astrid.v1.request.foo", "astrid.v1.response.foo"),
        ("astrid.v1.request.", "astrid.v1.response.error"),
        ("user.v1.prompt", "astrid.v1.response.error"),
        ("", "astrid.v1.response.error"),
    ],
)
def test_vector_64_the_suffix_decides_where_the_answer_goes(topic: str, expected: str) -> None:
    assert response_topic(topic) == expected


def test_answers_echo_the_request_id_only_where_there_is_one() -> None:
    assert json.loads(answer("Success", [1], request_id="r")) == {
        "status": "Success",
        "data": [1],
        "request_id": "r",
    }
    assert json.loads(answer("Success", None, request_id=None)) == {
        "status": "Success",
        "data": None,
    }


def test_refusals_carry_a_text_for_stock_clients_and_a_code_for_others() -> None:
    denied = CapabilityDeniedError("no", rule="r", hint="ask")
    assert json.loads(error_answer(denied, request_id="1")) == {
        "status": "Error",
        "data": "no",
        "code": "denied.capability",
        "hint": "ask",
        "rule": "r",
        "request_id": "1",
    }
    assert json.loads(error_answer(AstridError("broken"), request_id=None)) == {
        "status": "Error",
        "data": "broken",
        "code": "internal",
    }


def test_text_parameters() -> None:
    assert text_param({"name": "x"}, "name") == "x"
    for params in ({}, {"name": 1}):
        with pytest.raises(RequestError) as caught:
            text_param(params, "name")
        assert caught.value.code == "request.params"


def test_a_client_that_missed_events_is_told_how_many() -> None:
    assert json.loads(lag_frame(3)) == {
        "topic": "astrid.v1.event_bus.lagged",
        "payload": {"lagged_count": 3},
        "source_id": "00000000-0000-0000-0000-000000000000",
    }


def test_clients_get_the_bare_payload() -> None:
    assert json.loads(client_frame("a.b", b'{"x":1}', source_id="id")) == {
        "topic": "a.b",
        "payload": {"x": 1},
        "source_id": "id",
    }


def test_methods_that_capsules_may_always_use_exist() -> None:
    assert METHODS.keys() >= READ_ONLY_METHODS
