"""Resource patterns. Spec: kernel-and-security 7.1, vectors 102 to 108."""

from __future__ import annotations

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrid_core.domain.resource_pattern import (
    MAX_BYTES,
    PatternError,
    ResourcePattern,
    escaped,
)


@pytest.mark.parametrize(
    ("pattern", "resource", "covered"),
    [
        pytest.param("file:///srv/**", "file:///srv/a/b", True, id="102-below"),
        pytest.param("file:///srv/**", "file:///srv/", True, id="102-slash"),
        pytest.param("file:///srv/**", "file:///srv", False, id="102-itself"),
        pytest.param("file:///srv/*", "file:///srv/a/b", True, id="103"),
        pytest.param("a/**/b", "a/b", True, id="104-none"),
        pytest.param("a/**/b", "a/x/y/b", True, id="104-some"),
        pytest.param("a/**/b", "ab", False, id="104-no-slash"),
        pytest.param("a/**/b", "a/xb", False, id="104-no-component"),
        pytest.param("**/x", "x", True, id="104-leading-none"),
        pytest.param("**/x", "a/b/x", True, id="104-leading-some"),
        pytest.param("**/x", "ax", False, id="104-leading-part"),
        pytest.param("**", "a/b", True, id="all"),
        pytest.param("x/**", "x", False, id="trailing-itself"),
        pytest.param("{a,b}", "a", False, id="105-no-glob"),
        pytest.param("{a,b}", "{a,b}", True, id="105-text"),
        pytest.param("{a,b}*", "bx", True, id="105-glob"),
        pytest.param("{a,b{c,d}}?", "bdx", True, id="nested"),
        pytest.param("{a,}?", "x", True, id="empty-branch"),
        pytest.param("[^a]b", "cb", True, id="106-other"),
        pytest.param("[!a]b", "ab", False, id="106-same"),
        pytest.param("[]a]", "]", True, id="bracket-first"),
        pytest.param("[a-c-]", "-", True, id="hyphen-last"),
        pytest.param("[a-c]", "b", True, id="range"),
        pytest.param("*", "file:///srv/../etc", False, id="107"),
        pytest.param("a***b", "a/x/b", True, id="three-stars-are-one"),
        pytest.param("a**b", "axb", True, id="two-stars-in-a-name"),
        pytest.param("*.t?t", "a\nb.txt", True, id="newline"),
        pytest.param(r"a\*b*", "a*bc", True, id="escape"),
        pytest.param(r"a\*b*", "axbc", False, id="escape-literal"),
        pytest.param("a,b*", "a,bc", True, id="comma-outside"),
        pytest.param("A*", "ab", False, id="case"),
        pytest.param("mcp://files:*", "mcp://files:list", True, id="uri"),
        pytest.param("..x/*", "..x/a", True, id="dots-in-a-name"),
    ],
)
def test_what_a_pattern_covers(pattern: str, resource: str, *, covered: bool) -> None:
    assert ResourcePattern(pattern).matches(resource) is covered


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "x" * (MAX_BYTES + 1),
        "file:///a/../b",
        "../*",
        "[a",
        "[",
        "[!",
        "{a*",
        "a}*",
        "*\\",
        "[b-a]",
        "{{{{{a*}}}}}",
    ],
)
def test_a_pattern_that_cannot_be_meant_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        ResourcePattern(pattern)


def test_108_an_escaped_text_stays_exact() -> None:
    stored = escaped("file:///n/[1].txt")
    assert ResourcePattern(stored).matches("file:///n/[1].txt")
    assert not ResourcePattern(stored).matches("file:///n/1.txt")


@given(st.text(max_size=30).filter(bool))
def test_an_escaped_text_stands_for_itself_alone(text: str) -> None:
    try:
        pattern = ResourcePattern(f"{escaped(text)}*")
    except PatternError:
        assert ".." in text
        return
    assert pattern.matches(text)
    assert pattern.matches(f"{text}x")
    assert not pattern.matches(f"x{text}") or f"x{text}".startswith(text)


@given(st.text("ab*?", max_size=8).filter(bool), st.text("ab", max_size=8))
def test_stars_and_question_marks_are_those_of_the_shell(pattern: str, text: str) -> None:
    expected = re.fullmatch(fnmatch.translate(pattern), text) is not None
    assert ResourcePattern(pattern).matches(text) is expected


def test_no_pattern_and_text_take_forever() -> None:
    pattern = ResourcePattern("*a" * 400 + "b")
    assert not pattern.matches("a" * 1000)
