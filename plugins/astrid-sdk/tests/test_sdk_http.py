"""The wrapper of requests, against the fake host. Spec: host-abi 7.1."""

from __future__ import annotations

import pytest

from astrid_sdk import http
from astrid_sdk.bindings import WitCaseError
from astrid_sdk.errors import CapabilityDeniedError, HttpError, InvalidRequestError
from astrid_sdk.testing import FakeHost
from astrid_sdk.testing.web import FakeHttp

pytestmark = pytest.mark.usefixtures("host")
URL = "https://example.org/letters"


def test_an_answer(host: FakeHost) -> None:
    host.web = {f"GET {URL}": (404, b'{"no": "letters"}'), f"PURGE {URL}": (204, b"")}
    found = http.get(URL, headers={"accept": "text/plain"})
    assert (found.status, found.json(), found.text) == (404, {"no": "letters"}, '{"no": "letters"}')
    assert found.header("x") is None
    assert host.sent[0] == ("GET", URL, {"accept": "text/plain"}, None)
    assert http.request("PURGE", URL).status == 204


def test_what_is_sent_as_json(host: FakeHost) -> None:
    host.web = {f"POST {URL}": (200, b"")}
    http.request("post", URL, json={"to": "bob"})
    http.request("POST", URL, body=b"x")
    assert [one[2:] for one in host.sent] == [
        ({"content-type": "application/json"}, b'{"to":"bob"}'),
        ({}, b"x"),
    ]


def test_headers_are_found_by_name() -> None:
    answer = http.Response(200, [("x-a", "1"), ("x-a", "2")], b"")
    assert answer.header("X-A") == "1"


@pytest.mark.parametrize(
    ("url", "kind"), [(URL, CapabilityDeniedError), ("ftp://x", InvalidRequestError)]
)
def test_a_refusal(url: str, kind: type[Exception]) -> None:
    with pytest.raises(HttpError) as caught:
        http.get(url)
    assert isinstance(caught.value, kind)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("airlock-rejected", "local_egress"),
        ("capability-denied", "net of Capsule.toml"),
        ("timeout", "http-request: timeout"),
    ],
)
def test_a_refusal_says_who_can_allow_it(
    monkeypatch: pytest.MonkeyPatch, case: str, words: str
) -> None:
    def refuse(*_: object) -> object:
        raise WitCaseError(case)

    monkeypatch.setattr(FakeHttp, "http_request", refuse)
    with pytest.raises(HttpError, match=words) as caught:
        http.get(URL)
    assert caught.value.case == case


def test_a_request_that_a_test_forgot_is_named() -> None:
    with pytest.raises(
        HttpError, match=r"harness\.host\.web\['GET https://example\.org/letters'\]"
    ):
        http.get(URL)
