"""The pattern index gives the answers of its matcher, in a fixed order."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrid_core.domain.topic import EVERYTHING, matches_acl, matches_receiver
from astrid_core.domain.topic_trie import Matcher, TopicTrie

MATCHERS = [
    pytest.param(Matcher.ACL, matches_acl, id="acl"),
    pytest.param(Matcher.RECEIVER, matches_receiver, id="receiver"),
]
SEGMENTS = st.sampled_from(["a", "b", "c", "*", "", "a*", "**"])
TEXTS = st.lists(SEGMENTS, min_size=1, max_size=5).map(".".join)
LONG = st.sampled_from([".".join("a" * n) for n in (20, 21)])


@pytest.mark.parametrize(("matcher", "matches"), MATCHERS)
@given(patterns=st.lists(TEXTS, max_size=25), topics=st.lists(TEXTS | LONG, max_size=8))
def test_index_agrees_with_its_matcher(
    matcher: Matcher,
    matches: Callable[[str, str], bool],
    patterns: list[str],
    topics: list[str],
):
    trie: TopicTrie[int] = TopicTrie(matcher)
    handles = [trie.insert(pattern, number) for number, pattern in enumerate(patterns)]
    for topic in topics:
        expected = tuple(n for n, pattern in enumerate(patterns) if matches(topic, pattern))
        assert trie.match(topic) == expected
        assert trie.match(topic) == expected, "a remembered result differs"
    for handle in handles[::2]:
        trie.remove(handle)
    for topic in topics:
        expected = tuple(
            n for n, pattern in enumerate(patterns) if n % 2 and matches(topic, pattern)
        )
        assert trie.match(topic) == expected
    for handle in handles:
        trie.remove(handle)
    assert len(trie) == 0
    assert trie._root.is_empty(), "nodes of removed patterns stay behind"


def test_equal_patterns_and_values_are_separate_entries():
    trie: TopicTrie[str] = TopicTrie(Matcher.RECEIVER)
    first = trie.insert("a.*", "x")
    trie.insert("a.*", "x")
    assert trie.match("a.b") == ("x", "x")
    trie.remove(first)
    trie.remove(first)
    assert trie.match("a.b") == ("x",)
    assert len(trie) == 1


def test_results_follow_the_sort_key_then_insertion():
    trie: TopicTrie[tuple[int, str]] = TopicTrie(Matcher.ACL, sort_key=lambda value: value[0])
    trie.insert("a.b", (20, "late"))
    trie.insert("a.*", (10, "first"))
    trie.insert("*.b", (20, "later"))
    trie.insert("*.*", (10, "second"))
    assert [name for _, name in trie.match("a.b")] == ["first", "second", "late", "later"]


def test_everything_is_a_wildcard_for_receivers_only():
    receivers: TopicTrie[str] = TopicTrie(Matcher.RECEIVER)
    receivers.insert(EVERYTHING, "all")
    bindings: TopicTrie[str] = TopicTrie(Matcher.ACL)
    bindings.insert(EVERYTHING, "all")
    assert receivers.match("a.b.c") == ("all",)
    assert bindings.match("a.b.c") == ()


def test_memory_of_results_is_bounded():
    trie: TopicTrie[int] = TopicTrie(Matcher.RECEIVER)
    for number in range(300):
        trie.insert("many.*", number)
    trie.insert("few.*", 0)
    assert len(trie.match("many.x")) == 300
    assert not trie._cache, "a long result is remembered"
    for number in range(1500):
        trie.match(f"few.x{number}")
    assert 0 < len(trie._cache) <= 1024
