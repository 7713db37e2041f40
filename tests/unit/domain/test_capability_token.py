"""Capability tokens and what is derived from them. Spec: kernel-and-security 7.1, 97 to 101."""

from __future__ import annotations

import base64
import uuid
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from astrid_core.domain.capability_token import (
    MAX_CAVEATS,
    PREFIX,
    SKEW_S,
    Caveat,
    Permission,
    SignedToken,
    Token,
    TokenError,
    parse_record,
    parse_token,
    to_record,
)
from astrid_core.domain.resource_pattern import PatternError

KEY = SigningKey(bytes(range(32)))
ISSUER = bytes(KEY.verify_key)
NOW = 1_700_000_100


def sign(data: bytes) -> bytes:
    return KEY.sign(data).signature


def token(**changes: Any) -> Token:
    fields: dict[str, Any] = {
        "id": uuid.UUID("11111111-2222-4333-8444-555555555555"),
        "resource": "file:///srv/data/**",
        "permissions": ("read", "write"),
        "issued_at": 1_700_000_000,
        "expires_at": 1_700_003_600,
        "scope": "persistent",
        "issuer": ISSUER,
        "user_id": ISSUER[:8],
        "approval_audit_id": uuid.UUID("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"),
        "single_use": False,
        "principal": "alice",
    }
    return Token(**{**fields, **changes})


SECOND = {
    "resource": "mcp://files:list",
    "permissions": ("invoke",),
    "expires_at": None,
    "scope": "session",
    "single_use": True,
    "principal": "default",
}


def signed(**changes: Any) -> SignedToken:
    made = token(**changes)
    return SignedToken(token=made, proof=sign(made.signing_bytes()))


def check(one: SignedToken, *, now: float = NOW, issuer: bytes = ISSUER) -> None:
    one.check(sign=sign, issuer=issuer, now=now)


def refused(one: SignedToken, code: str, **how: Any) -> None:
    with pytest.raises(TokenError) as caught:
        check(one, **how)
    assert caught.value.code == f"token.{code}"


@pytest.mark.parametrize(
    ("changes", "size", "digest", "signature"),
    [
        pytest.param(
            {},
            166,
            "7dd380c872cb9185fcffabaf4c227ad1f3024dbaeae1b5173dba91cd3b5297b2",
            "C0c0FYUP4iXL9qCOekuUOx5QdeClA+jn4EyPDV+6WwqpMpn/MSrXBR2Gqa7vtF1+xQseRPXKrR4XhgD4k/R4BA==",
            id="97",
        ),
        pytest.param(
            SECOND,
            147,
            "300d347bbe717310482d6ae1c5bd16b59e84271c4ce750d0243a990b6baae85a",
            "cejKTk1KiCmJ1NBnFb2yjwiqiC3hDeFPFgNoy3qunso6F2i2UIENJWIckO3LBI+01+qam1FeQYLYDtKjJUDOCw==",
            id="98",
        ),
    ],
)
def test_signing_bytes(changes: dict[str, Any], size: int, digest: str, signature: str) -> None:
    made = signed(**changes)
    assert len(made.token.signing_bytes()) == size
    assert made.token.content_hash() == digest
    assert base64.b64encode(made.proof).decode() == signature
    check(made)


def test_99_a_token_of_somebody_else_is_not_told_from_a_forged_one() -> None:
    stolen = msgspec.structs.replace(signed(), token=token(principal="bob"))
    refused(stolen, "signature")


def test_100_fractions_of_seconds_are_not_covered() -> None:
    record = to_record(signed()).replace(b"2023-11-14T22:13:20Z", b"2023-11-14T22:13:20.500Z")
    check(parse_record(record))


def test_101_an_end_is_an_end() -> None:
    check(signed(), now=1_700_003_599)
    refused(signed(), "expired", now=1_700_003_600)
    check(signed(), now=1_700_000_000 - SKEW_S)
    refused(signed(), "not-yet", now=1_700_000_000 - SKEW_S - 1)


def test_a_token_of_another_kernel_is_worth_nothing() -> None:
    other = SigningKey(bytes(32))
    theirs = token(issuer=bytes(other.verify_key))
    foreign = SignedToken(token=theirs, proof=other.sign(theirs.signing_bytes()).signature)
    refused(foreign, "signature")
    resigned = SignedToken(token=theirs, proof=sign(theirs.signing_bytes()))
    refused(resigned, "signature")


def test_a_derived_token_allows_less() -> None:
    narrow = signed().attenuate(
        Caveat(resource="**/*.txt", permissions=("read",), expires_at=NOW + 10, single_use=True)
    )
    check(narrow)
    assert narrow.covers("alice", "file:///srv/data/a.txt", "read")
    assert not narrow.covers("alice", "file:///srv/data/a.txt", "write")
    assert not narrow.covers("alice", "file:///srv/data/a.bin", "read")
    assert not narrow.covers("bob", "file:///srv/data/a.txt", "read")
    assert narrow.is_single_use()
    assert not signed().is_single_use()
    refused(narrow, "expired", now=NOW + 10)
    assert signed(expires_at=None).ends_at() is None


@pytest.mark.parametrize(
    "caveat",
    [
        Caveat(permissions=("execute",)),
        Caveat(permissions=("read", "delete")),
        Caveat(permissions=()),
        Caveat(principal="bob"),
    ],
)
def test_a_caveat_that_widens_is_refused(caveat: Caveat) -> None:
    with pytest.raises(TokenError) as caught:
        signed().attenuate(caveat)
    assert caught.value.code == "token.wider"


def test_a_caveat_has_a_pattern_and_there_are_not_too_many() -> None:
    with pytest.raises(PatternError):
        signed().attenuate(Caveat(resource="[a"))
    made = signed()
    for _ in range(MAX_CAVEATS):
        made = made.attenuate(Caveat(principal="alice"))
    check(made)
    with pytest.raises(TokenError):
        made.attenuate(Caveat())


CAVEATS = st.builds(
    Caveat,
    resource=st.sampled_from([None, "file:///srv/data/*", "**/a"]),
    permissions=st.sampled_from([None, ("read",), ("read", "write")]),
    expires_at=st.none() | st.integers(NOW - 5, NOW + 10),
    single_use=st.booleans(),
)
PERMISSIONS: tuple[Permission, ...] = get_args(Permission)


@given(
    st.lists(CAVEATS, max_size=5),
    st.sampled_from(["file:///srv/data/a", "file:///srv/data/b/c", "file:///etc/a"]),
    st.sampled_from(PERMISSIONS),
)
def test_no_caveats_allow_what_the_token_does_not(
    caveats: list[Caveat], resource: str, permission: Permission
) -> None:
    made = signed()
    for caveat in caveats:
        wider = made
        try:
            made = wider.attenuate(caveat)
        except TokenError:
            continue
        if made.covers("alice", resource, permission):
            assert wider.covers("alice", resource, permission)
        assert made.is_single_use() >= wider.is_single_use()
        assert (made.ends_at() or 0) <= (wider.ends_at() or 0)
    assert parse_token(made.to_text()) == made


@given(st.data())
def test_a_chain_is_broken_by_any_change(data: st.DataObject) -> None:
    made = signed().attenuate(Caveat(permissions=("read",))).attenuate(Caveat(expires_at=NOW + 9))
    kept = data.draw(st.lists(st.sampled_from(made.caveats), max_size=2))
    changed = msgspec.structs.replace(made, caveats=tuple(kept))
    if changed != made:
        refused(changed, "signature")
    bit = data.draw(st.integers(0, len(made.proof) * 8 - 1))
    proof = bytearray(made.proof)
    proof[bit // 8] ^= 1 << bit % 8
    refused(msgspec.structs.replace(made, proof=bytes(proof)), "signature")
    text = made.to_text()
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from([c for c in "Ab9_-.~" if c != text[at]]))
    try:
        check(parse_token(text[:at] + other + text[at + 1 :]))
    except TokenError:
        return
    pytest.fail("a changed text was accepted")


def test_a_record_is_read_back() -> None:
    for made in (signed(), signed(**SECOND)):
        assert parse_record(to_record(made)) == made


@pytest.mark.parametrize(
    "change",
    [
        {"principal": "a b"},
        {"issuer": "AA=="},
        {"user_id": [1, 2]},
        {"user_id": [1, 2, 3, 4, 5, 6, 7, 999]},
        {"permissions": []},
        {"permissions": ["fly"]},
        {"issued_at": "2023-11-14T22:13:20"},
        {"issued_at": "yesterday"},
        {"expires_at": 7},
        {"signature": "?"},
        {"id": "x"},
        {"principal": None},
    ],
)
def test_a_damaged_record_is_no_token(change: dict[str, Any]) -> None:
    record = {**msgspec.json.decode(to_record(signed())), **change}
    with pytest.raises(TokenError):
        parse_record(msgspec.json.encode(record))


@pytest.mark.parametrize(
    "text",
    ["", "x", PREFIX, PREFIX + "?", PREFIX + "e30", PREFIX + "A" * 20_000, "\N{SNOWMAN}"],
)
def test_a_damaged_text_is_no_token(text: str) -> None:
    with pytest.raises(TokenError):
        parse_token(text)


def test_a_text_with_too_many_caveats_is_no_token() -> None:
    made = msgspec.structs.replace(signed(), caveats=(Caveat(),) * (MAX_CAVEATS + 1))
    with pytest.raises(TokenError):
        parse_token(made.to_text())
