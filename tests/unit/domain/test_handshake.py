"""Spec: kernel-and-security 3.4, vectors 15 to 21."""

from __future__ import annotations

import json
from typing import Any

import pytest

from astrid_core.domain.framing import encode_frame
from astrid_core.domain.handshake import Verdict, check_hello, parse_hello, reply
from astrid_hookspecs.errors import RemoteProtocolError
from astrid_hookspecs.values import Principal

TOKEN = bytes(range(32))


def hello(**changes: Any) -> bytes:
    fields = {"token": TOKEN.hex(), "protocol_version": 1, "client_version": "0.7.0"}
    return json.dumps({**fields, **changes}, separators=(",", ":")).encode()


def verdict(**changes: Any) -> Verdict:
    return check_hello(parse_hello(hello(**changes)), token=TOKEN)


def test_the_reference_frame_has_122_bytes() -> None:
    assert encode_frame(hello())[:4].hex() == "0000007a"


def test_the_owner_token_acts_for_the_default_principal() -> None:
    assert verdict() == Verdict(Principal("default"))
    assert json.loads(reply(verdict(), server_version="0.7.0")) == {
        "status": "ok",
        "protocol_version": 1,
        "server_version": "0.7.0",
    }


def test_the_version_is_checked_before_the_token() -> None:
    refused = verdict(protocol_version=2, token="0" * 64)
    assert refused.principal is None
    assert "version 2" in refused.reason
    assert "version 1" in refused.reason


@pytest.mark.parametrize(
    "token",
    [TOKEN.hex()[:63], "x" * 64, "f" * 64, "0" * 64, "", TOKEN.hex() + "\n", "\u0661" * 64],
    ids=["short", "no hex", "wrong", "zeros", "empty", "line end", "other digits"],
)
def test_wrong_tokens_get_one_answer(token: str) -> None:
    answer = json.loads(reply(verdict(token=token), server_version="9"))
    assert answer == {
        "status": "error",
        "protocol_version": 1,
        "server_version": "9",
        "reason": "authentication failed",
    }


def test_a_malformed_token_is_denied_even_when_the_daemon_has_the_stand_in() -> None:
    said = parse_hello(hello(token="x" * 64))
    assert check_hello(said, token=bytes(32)).principal is None


def test_a_token_in_upper_case_is_right() -> None:
    assert verdict(token=TOKEN.hex().upper()).principal == "default"


def test_a_connection_may_ask_for_a_narrower_principal() -> None:
    assert verdict(principal="alice").principal == "alice"
    assert verdict(principal=None).principal == "default"


@pytest.mark.parametrize("principal", ["bad name", "", "x" * 65, "a/b"])
def test_an_invalid_principal_is_denied_with_a_reason(principal: str) -> None:
    refused = verdict(principal=principal)
    assert refused.principal is None
    assert "principal" in refused.reason


def test_a_wrong_token_hides_that_the_principal_is_invalid_too() -> None:
    assert verdict(token="f" * 64, principal="bad name").reason == "authentication failed"


def test_unknown_keys_are_ignored() -> None:
    assert verdict(extra={"deep": [1]}).principal == "default"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'{"token":1}',
        hello(protocol_version=256),
        hello(protocol_version="1"),
        hello(protocol_version=True),
        hello(protocol_version=-1),
        hello(principal=7),
        json.dumps({"token": TOKEN.hex(), "protocol_version": 1}).encode(),
        b"[" * 4000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_hello_is_no_answer(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_hello(body)
