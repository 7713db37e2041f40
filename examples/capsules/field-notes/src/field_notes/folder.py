"""Chooses the text files of a folder in the workspace, and words the report about them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from astrid_sdk import fs
from field_notes.text import Stats

MAX_FILE_BYTES = 256 * 1024
MAX_VISITED = 20_000
GENERATED = frozenset(
    {"node_modules", "target", "dist", "build", "venv", "__pycache__", "site-packages"}
)
TEXT = re.compile(
    r".*\.(md|rst|txt|org|tex|py|toml|wi?t|wat|js|ts|rs|go|c|h|cpp|java|sh|css|html|ini|cfg|ya?ml|json)"
)
PROSE = (".md", ".rst", ".txt", ".org")


def text_files(path: str, *, limit: int) -> Iterator[tuple[str, str]]:
    """Paths and texts, prose first, then by name; hidden, generated and large files are left out.

    Args:
        path: Of a directory in the workspace, or of one file.
        limit: At most so many.
    """
    found = [path] if fs.is_file(path) else _candidates(path)
    for name in sorted(found, key=lambda name: (not name.endswith(PROSE), name)):
        if limit <= 0:
            return
        text = _read(name)
        if text:
            limit -= 1
            yield name, text


def tidied(text: str) -> str:
    """The text without blanks at the ends of lines, and with one line end at its end."""
    lines = [line.rstrip(" \t") for line in text.rstrip().split("\n")]
    return "\n".join(lines) + "\n"


def report(files: Sequence[Stats], top_terms: Sequence[tuple[str, int]]) -> str:
    """What is in a folder, as Markdown."""
    words = sum(item.words for item in files)
    markers = [(item.name, marker) for item in files for marker in item.markers]
    longest = sorted(files, key=lambda item: (-item.words, item.name))
    minutes = sum(item.reading_minutes for item in files)
    lines = [
        "# Field notes",
        "",
        f"{len(files)} text files, {words} words, {minutes:.0f} minutes to read.",
        "",
        "About: " + ", ".join(word for word, _ in top_terms[:8]) + ".",
        "",
        "## Longest",
        "",
        *(f"- `{item.name}`: {item.words} words, {item.lines} lines" for item in longest[:10]),
    ]
    if markers:
        lines += ["", "## Left for later", ""]
        lines += [
            f"- `{name}:{marker.line}` {marker.kind} {marker.text}".rstrip()
            for name, marker in markers[:20]
        ]
    return "\n".join(lines) + "\n"


def _candidates(folder: str) -> Iterator[str]:
    visited = 0
    for directory, folders, names in fs.walk(folder):
        folders[:] = [name for name in folders if name[0] != "." and name not in GENERATED]
        visited += len(folders) + len(names)
        for name in names:
            if name[0] != "." and TEXT.fullmatch(name):
                yield fs.join(directory, name)
        if visited > MAX_VISITED:
            return


def _read(path: str) -> str | None:
    try:
        if fs.lstat(path).kind != "regular" or fs.stat(path).size > MAX_FILE_BYTES:
            return None
        return fs.read_text(path)
    except (OSError, UnicodeDecodeError):
        return None
