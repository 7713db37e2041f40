"""Paths as guests write them. Spec: host-abi 5.1, 20.2."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from astrid_core.domain.guest_path import GuestPath, format_guest_path, parse_guest_path
from astrid_hookspecs.errors import VfsError

SCHEMES = frozenset({"workspace", "home", "tmp", "docs"})
NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/"), min_size=1)


def parse(text: str) -> GuestPath:
    return parse_guest_path(text, schemes=SCHEMES)


@pytest.mark.parametrize(
    ("text", "scheme", "parts"),
    [
        ("a.txt", "workspace", "a.txt"),
        ("/a.txt", "workspace", "a.txt"),
        ("cwd://a.txt", "workspace", "a.txt"),
        ("workspace://a.txt", "workspace", "a.txt"),
        ("", "workspace", ""),
        (".", "workspace", ""),
        ("cwd://", "workspace", ""),
        ("/", "workspace", ""),
        ("/etc/passwd", "workspace", "etc/passwd"),
        ("//server", "workspace", "server"),
        ("//tmp/x", "workspace", "tmp/x"),
        ("tmp/x", "workspace", "tmp/x"),
        ("/tmpx", "workspace", "tmpx"),
        ("a//./b/", "workspace", "a/b"),
        ("workspace:/a", "workspace", "workspace:/a"),
        ("home://x", "home", "x"),
        ("home:///etc/passwd", "home", "etc/passwd"),
        ("home://a://b", "home", "a:/b"),
        ("tmp://x", "tmp", "x"),
        ("/tmp", "tmp", ""),
        ("/tmp/", "tmp", ""),
        ("/tmp/x", "tmp", "x"),
        ("docs://x/y", "docs", "x/y"),
        ("../a/..", "workspace", "../a/.."),
        ("\u00e9", "workspace", "\u00e9"),
    ],
)
def test_scheme_and_parts(text: str, scheme: str, parts: str) -> None:
    assert parse(text) == (scheme, tuple(part for part in parts.split("/") if part))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a\0b", id="nul"),
        pytest.param("a\nb", id="newline"),
        pytest.param("a\x7f", id="delete"),
        pytest.param("a\x85", id="c1"),
        pytest.param("e\u0301", id="not-nfc"),
        pytest.param("\ud800", id="surrogate"),
        pytest.param("a/" * 2048 + "b", id="4097-bytes"),
        pytest.param("a/" * 1024 + "\u00e9" * 1025, id="4098-bytes-in-fewer-characters"),
        pytest.param("a" * 256, id="name-of-256"),
        pytest.param("\u00e9" * 128, id="name-of-256-bytes"),
        pytest.param("d/.astrid-tmp-1/x", id="temporary"),
        pytest.param("ftp://x", id="unknown-scheme"),
        pytest.param("HOME://x", id="upper-case"),
        pytest.param("://x", id="no-scheme"),
        pytest.param("d/home://x", id="scheme-inside"),
        pytest.param(" home://x", id="blank-before-scheme"),
    ],
)
def test_path_refused_when_no_file_can_have_it(text: str) -> None:
    with pytest.raises(VfsError) as caught:
        parse(text)
    assert caught.value.code == "vfs.invalid-path"


def test_the_longest_path_and_name() -> None:
    longest = "a/" * 2047 + "ab"
    assert len(longest) == 4096
    assert len(parse(longest).parts) == 2048
    assert parse("\u00e9" * 127 + "a").parts == ("\u00e9" * 127 + "a",)


def parsed(text: str) -> GuestPath | str:
    """The path, or the code of the refusal."""
    try:
        return parse(text)
    except VfsError as error:
        return error.code


@given(st.text() | st.text("./:twmph\u00e9 ~"))
def test_any_text_is_read_or_refused_with_a_code(text: str) -> None:
    path = parsed(text)
    if not isinstance(path, GuestPath):
        assert path == "vfs.invalid-path"
        return
    assert path.scheme in SCHEMES
    assert all(part not in ("", ".") and "/" not in part for part in path.parts)
    assert parse(format_guest_path(*path)) == path


@given(st.sampled_from(sorted(SCHEMES)), st.lists(NAMES, max_size=6))
@pytest.mark.slow
def test_a_formatted_path_reads_back(scheme: str, names: list[str]) -> None:
    parts = tuple(unicodedata.normalize("NFC", name)[:60] for name in names)
    assume("." not in parts and not any(part.startswith(".astrid-tmp-") for part in parts))
    text = format_guest_path(scheme, parts)
    assume(unicodedata.is_normalized("NFC", text))
    assert parse(text) == GuestPath(scheme, parts)
