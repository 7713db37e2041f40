"""Topics, and the two ways in which patterns match them.

Manifest entries (grants and handler bindings) match segment by segment. A subscription's trailing
`*` stands for one or more segments. The two must never be mixed up.

Spec: capsules-and-bus 6.5.
"""

from __future__ import annotations

import re
from typing import Final

MAX_TOPIC_BYTES: Final = 256
MAX_SEGMENTS: Final = 8
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_:-]+")


def is_topic(text: str) -> bool:
    """Whether something can be published under `text`."""
    segments = text.split(".")
    return (
        len(text.encode()) <= MAX_TOPIC_BYTES
        and len(segments) <= MAX_SEGMENTS
        and all(_SEGMENT.fullmatch(segment) for segment in segments)
    )


def is_pattern(text: str) -> bool:
    """Whether `text` can stand in a manifest: a topic in which `*` replaces whole segments."""
    return is_topic(".".join("x" if part == "*" else part for part in text.split(".")))


def is_subscribable(text: str) -> bool:
    """Whether a capsule can subscribe to `text`: a pattern with `*` as the last segment only."""
    return is_pattern(text) and "*" not in text.split(".")[:-1]


def matches_entry(topic: str, pattern: str) -> bool:
    """Matcher A: as many segments, each `*` or equal. For grants and handler bindings."""
    left, right = topic.split("."), pattern.split(".")
    return (
        len(left) == len(right)
        and all(left)
        and all(right)
        and all(part in ("*", own) for own, part in zip(left, right, strict=True))
    )


def matches_subscription(topic: str, pattern: str) -> bool:
    """Matcher B: as matcher A, but a trailing `.*` takes one or more segments."""
    left, right = topic.split("."), pattern.split(".")
    if len(right) > 1 and right[-1] == "*":
        right.pop()
        if len(left) <= len(right):
            return False
        left = left[: len(right)]
    if len(left) != len(right):
        return False
    return all(part in ("*", own) for own, part in zip(left, right, strict=True))
