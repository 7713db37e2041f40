"""Expectations of what a body has to be."""

from __future__ import annotations

import base64
import hashlib

import pytest

from astrid_core.domain.http_integrity import MAX_TEXT, IntegrityText


def digest_of(body: bytes, kind: str = "sha256") -> str:
    return f"{kind}-{base64.b64encode(hashlib.new(kind, body).digest()).decode()}"


@pytest.mark.parametrize(
    ("text", "is_met"),
    [
        (digest_of(b"ab"), True),
        (digest_of(b"ba"), False),
        (f"{digest_of(b'ba')}  {digest_of(b'ab')}", True),
        (f"{digest_of(b'ab')} {digest_of(b'ba', 'sha512')}", False),
        (f"{digest_of(b'ba')} {digest_of(b'ab', 'sha512')}", True),
    ],
)
def test_any_digest_of_the_strongest_kind_counts(text: str, is_met: bool) -> None:
    expectation = IntegrityText(text)
    expectation.feed(b"a")
    expectation.feed(b"b")
    assert expectation.matches() is is_met


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there is no digest"),
        ("sha256-?", "a digest is not base64"),
        ("md5-" + "A" * 22 + "==", "no known algorithm has such a digest"),
        ("sha256-AAAA", "no known algorithm has such a digest"),
        (digest_of(b"").ljust(MAX_TEXT + 1), "it has more than 4096 characters"),
    ],
)
def test_what_is_no_expectation_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        IntegrityText(text)


def test_the_longest_text_is_read() -> None:
    assert IntegrityText(digest_of(b"").ljust(MAX_TEXT)).matches()
