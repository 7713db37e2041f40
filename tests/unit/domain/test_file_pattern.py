"""Entries of `fs_read` and `fs_write`. Spec: host-abi 5.2, kernel-and-security 11 and D-08."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrid_core.domain.file_pattern import (
    FilePattern,
    FilePatternError,
    FilePlace,
    parse_file_pattern,
    parse_file_patterns,
)


def place(text: str, *, root: str | None = "/w") -> FilePlace:
    """`scheme://canonical/path`; for a mount at `root`."""
    scheme, _, path = text.partition("://")
    return FilePlace(scheme, tuple(part for part in path.split("/") if part), root)


@pytest.mark.parametrize(
    ("entry", "at", "expected"),
    [
        ("*", "workspace://", True),
        ("*", "workspace://a/b", True),
        pytest.param("*", "home://x", False, id="33"),
        ("*", "tmp://x", False),
        ("*", "docs://x", False),
        ("cwd://d", "workspace://d", True),
        ("cwd://d", "workspace://d/a", True),
        ("cwd://d", "workspace://d2", False),
        ("cwd://d", "workspace://", False),
        ("cwd://d", "home://d", False),
        ("workspace://d/", "workspace://d/a", True),
        ("cwd://", "workspace://a", True),
        pytest.param("home://notes", "home://notes2/a", False, id="32-sibling"),
        pytest.param("home://notes", "home://notes/a", True, id="32-below"),
        pytest.param("home://notes", "home://notes", True, id="32-itself"),
        ("home://", "home://x", True),
        ("home://", "tmp://x", True),
        ("home://.local/tmp", "tmp://x", True),
        ("home://.local/tmp/a", "tmp://a/b", True),
        ("home://.local/tmp/a", "tmp://b", False),
        ("tmp://", "tmp://x", True),
        ("tmp://", "home://.local/tmp/x", True),
        ("tmp://", "home://x", False),
        ("/tmp", "tmp://x", True),
        ("/tmp/a", "tmp://a", True),
        ("/tmp/a", "tmp://b", False),
        ("docs://a", "docs://a/b", True),
        ("docs://a", "workspace://a", False),
        pytest.param("/w/src", "workspace://src", True, id="161-itself"),
        pytest.param("/w/src", "workspace://src/a", True, id="161-below"),
        pytest.param("/w/src", "workspace://src2", False, id="161-sibling"),
        pytest.param("/w/src", "workspace://src/../x", False, id="161-parent"),
        pytest.param("/w/d", "workspace://d2/x", False, id="32-literal"),
        ("//w/./src/", "workspace://src/a", True),
        ("/", "workspace://a", True),
        ("/x", "workspace://a", False),
        ("*", "workspace://src/../../x", False),
    ],
)
def test_covers(entry: str, at: str, expected: bool) -> None:
    assert parse_file_pattern(entry).covers(place(at)) is expected


@pytest.mark.parametrize(
    ("at", "root", "expected"),
    [
        pytest.param("workspace://a", "/w", True, id="162-inside"),
        pytest.param("docs://x", "/", False, id="162-outside"),
    ],
)
def test_star_covers_the_workspace_only(at: str, root: str, expected: bool) -> None:
    assert parse_file_pattern("*").covers(place(at, root=root)) is expected


def test_a_literal_path_covers_nothing_in_a_mount_that_is_not_on_the_disk() -> None:
    assert not parse_file_pattern("/").covers(place("workspace://a", root=None))


def test_a_root_that_is_not_canonical_is_covered_by_no_literal_path() -> None:
    assert not parse_file_pattern("/w").covers(place("workspace://a", root="/w/../etc"))


@pytest.mark.parametrize(
    ("entry", "hint"),
    [
        ("docs", "cwd://docs"),
        ("", "cwd://"),
        ("a/*", "cwd://a/*"),
        ("cwd://a/..", None),
        ("/w/../x", None),
        ("/tmp/../x", None),
        ("cwd://src/*", "leave it out"),
        ("home://**", "leave it out"),
        ("Docs://x", None),
        ("a b://x", None),
        ("://x", None),
        ("cwd://a\nb", None),
        ("/a\0", None),
        ("home://" + "a" * 256, None),
    ],
)
def test_entry_refused_when_it_can_cover_nothing(entry: str, hint: str | None) -> None:
    with pytest.raises(FilePatternError) as caught:
        parse_file_pattern(entry)
    assert caught.value.code == "file-pattern.invalid"
    assert (hint or "") in (caught.value.hint or "")


def test_an_entry_that_is_none_grants_nothing() -> None:
    patterns = parse_file_patterns(["docs", "cwd://a", "../x"])
    assert [pattern.text for pattern in patterns] == ["cwd://a"]


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("home://.config", True),
        ("home://.config/x", True),
        ("home://.CONFIG/x", True),
        ("home://.con\ufb01g/x", True),
        ("home://.local", True),
        ("home://.local/audit/x", True),
        ("home://.Local/tmp/x", True),
        ("home://.local/TMP/x", True),
        ("home://.local/tmpx", True),
        ("home://.local/tmp", False),
        ("home://.local/tmp/x", False),
        ("tmp://x", False),
        ("tmp://.config", False),
        ("home://", False),
        ("home://x/.config", False),
        ("home://.configs", False),
        ("workspace://.config", False),
        ("docs://.local/audit", False),
    ],
)
def test_the_kernels_own_things_in_a_home(at: str, expected: bool) -> None:
    assert place(at).is_reserved is expected


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("workspace://", True),
        ("tmp://", True),
        ("home://.local/tmp", True),
        ("workspace://.local/tmp", False),
        ("home://x", False),
    ],
)
def test_roots(at: str, expected: bool) -> None:
    assert place(at).is_root is expected


def test_the_text_of_a_place() -> None:
    assert place("home://data/x").text == "home://data/x"


@given(st.text() | st.text("./:*twmphc "))
def test_any_text_is_an_entry_or_refused(text: str) -> None:
    for pattern in parse_file_patterns([text]):
        assert isinstance(pattern, FilePattern)
        assert pattern.text == text
        assert not {"..", ".", ""} & set(pattern.parts)


NAME = st.sampled_from(["a", "b", "..", ".local", "tmp", ".config", "a.txt"])


@given(
    st.sampled_from(["*", "cwd://a", "home://", "home://a", "tmp://", "/", "/w/a", "docs://b"]),
    st.sampled_from(["workspace", "home", "tmp", "docs"]),
    st.lists(NAME, max_size=5),
    st.lists(NAME, max_size=2),
)
def test_what_is_covered_has_no_parent_part_and_all_below_is_covered(
    entry: str, scheme: str, parts: list[str], more: list[str]
) -> None:
    pattern = parse_file_pattern(entry)
    at = FilePlace(scheme, tuple(parts), "/w")
    inner = FilePlace(scheme, (*parts, *more), "/w")
    if pattern.covers(at):
        assert ".." not in at.parts
        assert pattern.covers(inner) is (".." not in more)
