"""Reads the text files of a folder, remembers what is in them, and writes about them."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Annotated, Any

from astrid_sdk import HostError, ToolError, fs, interceptor, ipc, kv, sys, tool
from astrid_sdk.errors import CapabilityDeniedError
from field_notes.folder import REPORT, report, text_files, tidied
from field_notes.text import Marker, Stats, analyse, snippet, terms

log = logging.getLogger(__name__)

LONGEST_NAME = 200
TEXT_CHUNK = 512 * 1024
"""Bytes of text per key; the store takes at most 1 MiB."""


@dataclass
class Hit:
    """A file that contains what was searched for."""

    name: str
    score: int
    snippet: str


@dataclass
class Summary:
    """What is known about all files together."""

    files: int
    lines: int
    words: int
    reading_minutes: float
    open_markers: int
    top_terms: list[tuple[str, int]]


@tool
def ingest(
    name: Annotated[str, "File name, for example docs/plan.md"],
    text: Annotated[str, "The text, or its next part"],
    *,
    append: Annotated[bool, "Add to what was handed over under this name before"] = False,
) -> Stats:
    """Take in a text file, or the next part of a large one, and say what is in it."""
    if not 1 <= len(name) <= LONGEST_NAME:
        raise ToolError(f"name must have 1 to {LONGEST_NAME} characters")
    before = _load_text(name)
    if append:
        text = before + text
    rate = sys.config_json("READING_WPM", 230)
    stats = analyse(name, text, words_per_minute=rate)
    _index(name, before=before, after=text)
    _store_text(name, text)
    kv.set_json(_key("stats", name), stats)
    ipc.publish_json("notes.v1.ingested", {"name": name, "words": stats.words})
    log.info("ingested %s: %d words", name, stats.words)
    return stats


@tool
def survey(
    path: Annotated[str, "A folder or a file of the workspace"] = "",
    limit: Annotated[int, "At most so many files"] = 40,
) -> list[str]:
    """Read the text files of a folder, prose first; the names of those that were read."""
    names = []
    for name, text in text_files(path, limit=limit):
        if len(name) <= LONGEST_NAME:
            ingest(name, text)
            names.append(name)
    return names


@tool
def write_report(path: Annotated[str, "Where to write it"] = REPORT) -> str:
    """Write what is known about all files into a Markdown file of the workspace."""
    stats = [_stats(kv.get_json(key)) for key in kv.keys("stats:")]
    fs.write_text(path, report(stats, _totals().most_common(8)))
    return f"wrote {path}"


@tool
def tidy(path: Annotated[str, "A text file of the workspace"]) -> bool:
    """Remove blanks at the ends of lines and end the file with one line end; whether it changed.

    What means something stays: line breaks of Markdown, the kind of line ends.
    """
    text = fs.read_text(path)
    better = tidied(text, keep_breaks=path.endswith(".md"))
    if better == text:
        return False
    fs.write_text(path, better)
    return True


@tool
def peek(path: Annotated[str, "Any path"]) -> str:
    """Try to read a file, also one that must not be read. The kernel decides."""
    try:
        return f"read {len(fs.read_bytes(path))} bytes, which should never happen"
    except HostError as error:
        return f"refused: {error.function}: {error.case}"


@tool
def summary() -> Summary:
    """Say what is in all files together."""
    files: list[dict[str, Any]] = [kv.get_json(key) for key in kv.keys("stats:")]
    return Summary(
        files=len(files),
        lines=sum(item["lines"] for item in files),
        words=sum(item["words"] for item in files),
        reading_minutes=round(sum(item["reading_minutes"] for item in files), 1),
        open_markers=sum(len(item["markers"]) for item in files),
        top_terms=_totals().most_common(10),
    )


@tool
def search(
    query: Annotated[str, "Words that must all occur"],
    limit: Annotated[int, "At most so many files"] = 5,
) -> list[Hit]:
    """Find the files that contain every word of the query, best first."""
    words = list(terms(query))
    if not words:
        raise ToolError("the query has no word worth searching for")
    found: list[dict[str, int]] = [kv.get_json(_shard(word), {}).get(word, {}) for word in words]
    names = set(found[0]).intersection(*found[1:])
    ranked = sorted(names, key=lambda name: (-sum(hits[name] for hits in found), name))
    return [
        Hit(name, sum(hits[name] for hits in found), snippet(_load_text(name), words[0]))
        for name in ranked[: max(0, limit)]
    ]


@tool
def forget() -> str:
    """Drop everything that was taken in."""
    removed = len(list(kv.keys("stats:")))
    kv.clear()
    return f"forgot {removed} files"


@tool
def leak(topic: Annotated[str, "Where to send it"]) -> str:
    """Try to send the notes somewhere they must not go. The kernel refuses."""
    try:
        ipc.publish_json(topic, {"stolen": list(kv.keys("stats:"))})
    except CapabilityDeniedError as error:
        return f"refused: {error}"
    except HostError as error:
        return f"failed: {error}"
    return "published, which should never happen"


@interceptor("notes.v1.requested")
def on_requested(event: dict[str, Any]) -> dict[str, Any]:
    """Add what is known about a file to an event that names it."""
    return {**event, "stats": kv.get_json(_key("stats", str(event.get("name", ""))))}


def _totals() -> Counter[str]:
    """How often each word occurs in all files."""
    return Counter(
        {
            word: sum(counts.values())
            for shard in kv.keys("index:")
            for word, counts in kv.get_json(shard).items()
        }
    )


def _stats(stored: dict[str, Any]) -> Stats:
    return Stats(**{**stored, "markers": [Marker(**marker) for marker in stored["markers"]]})


def _key(kind: str, name: str) -> str:
    """A key for any name: keys are short, names need not be."""
    return f"{kind}:{hashlib.blake2b(name.encode(), digest_size=16).hexdigest()}"


def _load_text(name: str) -> str:
    prefix = _key("text", name)
    return b"".join(kv.get(key) or b"" for key in kv.keys(prefix)).decode()


def _store_text(name: str, text: str) -> None:
    prefix, data = _key("text", name), text.encode()
    kv.clear(prefix)
    for number, start in enumerate(range(0, len(data), TEXT_CHUNK)):
        kv.set(f"{prefix}:{number:04}", data[start : start + TEXT_CHUNK])


def _shard(word: str) -> str:
    """The index is spread over 256 keys, so that taking in a file rewrites each at most once."""
    return f"index:{hashlib.blake2b(word.encode(), digest_size=1).hexdigest()}"


def _index(name: str, *, before: str, after: str) -> None:
    """Bring the inverted index up to date: word to {file: count}."""
    old, new = terms(before), terms(after)
    changed: defaultdict[str, list[str]] = defaultdict(list)
    for word in old.keys() | new.keys():
        if old[word] != new[word]:
            changed[_shard(word)].append(word)
    for shard, words in changed.items():
        index: dict[str, dict[str, int]] = kv.get_json(shard, {})
        for word in words:
            files = index.setdefault(word, {})
            files.pop(name, None)
            if new[word]:
                files[name] = new[word]
            if not files:
                del index[word]
        kv.set_json(shard, index)
