"""An index from topic patterns to values: finds all matches without looking at every pattern.

Trusted with giving the same answer as the matcher it was made for; the tests compare the two. Not
safe from several threads at once: the owner holds a lock around each call, `match` included,
because `match` remembers results.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from astrid_core.domain.topic import EVERYTHING, MAX_RECEIVER_SEGMENTS, WILDCARD, is_subtree

T = TypeVar("T")

_CACHED_TOPICS: Final = 1024
_CACHED_VALUES: Final = 256
"""Longer results are not remembered, so that invented topics cannot fill the memory."""


class Matcher(enum.Enum):
    """Which matcher an index follows: `matches_acl` or `matches_receiver`."""

    ACL = "acl"
    RECEIVER = "receiver"


class _Node(Generic[T]):
    __slots__ = ("children", "here", "subtree")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        """By pattern segment; the wildcard is a key like any other."""
        self.here: dict[int, T] = {}
        """Values of patterns that end at this node."""
        self.subtree: dict[int, T] = {}
        """Values of patterns that continue with "one or more segments"."""

    def is_empty(self) -> bool:
        return not (self.children or self.here or self.subtree)


class TopicTrie(Generic[T]):
    """Patterns with a value each; the same pattern and the same value may occur several times.

    Args:
        matcher: The matcher whose answers the index gives.
        sort_key: Order of results; insertion order without it and between equal keys.
    """

    def __init__(self, matcher: Matcher, *, sort_key: Callable[[T], Any] | None = None) -> None:
        self._matcher = matcher
        self._sort_key = sort_key
        self._root: _Node[T] = _Node()
        self._patterns: dict[int, str] = {}
        self._next_handle = 0
        self._cache: dict[str, tuple[T, ...]] = {}

    def __len__(self) -> int:
        return len(self._patterns)

    def insert(self, pattern: str, value: T) -> int:
        """Add a pattern. Any text is accepted; one that is malformed for the matcher matches never.

        Returns:
            A handle for `remove`, never reused.
        """
        handle = self._next_handle
        self._next_handle += 1
        segments, into_subtree = self._split(pattern)
        node = self._root
        for segment in segments:
            node = node.children.setdefault(segment, _Node())
        (node.subtree if into_subtree else node.here)[handle] = value
        self._patterns[handle] = pattern
        self._cache.clear()
        return handle

    def remove(self, handle: int) -> None:
        """Remove what `insert` added; removing it twice is not an error."""
        pattern = self._patterns.pop(handle, None)
        if pattern is None:
            return
        self._cache.clear()
        segments, from_subtree = self._split(pattern)
        path = [self._root]
        for segment in segments:
            path.append(path[-1].children[segment])
        del (path[-1].subtree if from_subtree else path[-1].here)[handle]
        while segments and path[-1].is_empty():
            path.pop()
            del path[-1].children[segments.pop()]

    def match(self, topic: str) -> tuple[T, ...]:
        """Values of all patterns that match, by `sort_key`, then in insertion order."""
        cached = self._cache.get(topic)
        if cached is not None:
            return cached
        result = self._ordered(self._find(topic))
        if len(result) <= _CACHED_VALUES:
            if len(self._cache) >= _CACHED_TOPICS:
                self._cache.clear()
            self._cache[topic] = result
        return result

    def _split(self, pattern: str) -> tuple[list[str], bool]:
        """The segments that lead to a pattern's node, and whether its value covers the subtree."""
        segments = pattern.split(".")
        if self._matcher is Matcher.RECEIVER:
            if pattern == EVERYTHING:
                return [], True
            if is_subtree(segments):
                return segments[:-1], True
        return segments, False

    def _find(self, topic: str) -> list[dict[int, T]]:
        segments = topic.split(".")
        if self._matcher is Matcher.ACL:
            if "" in segments:
                return []
        elif len(segments) > MAX_RECEIVER_SEGMENTS:
            return []
        found: list[dict[int, T]] = []
        level = [self._root]
        for segment in segments:
            reached: list[_Node[T]] = []
            for node in level:
                if node.subtree:
                    found.append(node.subtree)
                exact = node.children.get(segment)
                if exact is not None:
                    reached.append(exact)
                wild = node.children.get(WILDCARD)
                if wild is not None and wild is not exact:  # a topic may hold a literal "*"
                    reached.append(wild)
            level = reached
        found.extend(node.here for node in level if node.here)
        return found

    def _ordered(self, found: list[dict[int, T]]) -> tuple[T, ...]:
        if len(found) == 1:
            values = list(found[0].values())  # handles grow, so a dict is in insertion order
        else:
            # Handles are unique, so the comparison never reaches the values.
            values = [v for _, v in sorted(item for values in found for item in values.items())]
        if self._sort_key is not None:
            values.sort(key=self._sort_key)
        return tuple(values)
