"""What can be said about a text without understanding it. Pure functions, no host calls."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

WORD = re.compile(r"[^\W\d_][\w'\u2019-]*")
HEADING = re.compile(r"(#{1,6})\s+(?P<title>.+?)\s*#*$")
MARKER = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b[:\s]*(?P<text>.*)")
STOP_WORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "but",
        "by",
        "can",
        "for",
        "from",
        "has",
        "have",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "no",
        "not",
        "of",
        "on",
        "or",
        "so",
        "than",
        "that",
        "the",
        "their",
        "then",
        "there",
        "these",
        "they",
        "this",
        "to",
        "was",
        "we",
        "were",
        "which",
        "will",
        "with",
        "you",
        "your",
    ]
)
SHORTEST_TERM = 3
SNIPPET = 60


@dataclass
class Marker:
    """A line somebody left for later."""

    line: int
    kind: str
    text: str


@dataclass
class Stats:
    """What is in one file."""

    name: str
    lines: int
    words: int
    headings: list[str]
    top_terms: list[tuple[str, int]]
    markers: list[Marker]
    reading_minutes: float


def terms(text: str) -> Counter[str]:
    """How often each word worth searching for occurs, in lower case."""
    words = (word.lower() for word in WORD.findall(text))
    return Counter(word for word in words if len(word) >= SHORTEST_TERM and word not in STOP_WORDS)


def analyse(name: str, text: str, *, words_per_minute: int) -> Stats:
    """Count and collect."""
    lines = text.splitlines()
    words = len(WORD.findall(text))
    return Stats(
        name=name,
        lines=len(lines),
        words=words,
        headings=[found["title"] for line in lines if (found := HEADING.match(line))],
        top_terms=terms(text).most_common(5),
        markers=[
            Marker(number, found[1], found["text"].strip())
            for number, line in enumerate(lines, start=1)
            if (found := MARKER.search(line))
        ],
        reading_minutes=round(words / words_per_minute, 1),
    )


def snippet(text: str, word: str) -> str:
    """The surroundings of the first occurrence of a word, on one line; empty without one."""
    found = re.search(rf"(?<!\w){re.escape(word)}", text, re.IGNORECASE)
    if found is None:
        return ""
    start, end = max(0, found.start() - SNIPPET), min(len(text), found.end() + SNIPPET)
    inner = " ".join(text[start:end].split())
    return ("…" if start else "") + inner + ("…" if end < len(text) else "")
