"""Chooses the text files of a folder in the workspace, and words the report about them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence

from astrid_sdk import fs
from field_notes.text import Stats

log = logging.getLogger(__name__)

REPORT = "FIELD-NOTES.md"
"""Where the report goes; it is not read when the folder is looked at again."""
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


def tidied(text: str, *, keep_breaks: bool) -> str:
    """The text without blanks at the ends of lines, and with one line end at its end.

    Args:
        text: Of a file; line ends stay what they are.
        keep_breaks: Two blanks before a line that goes on mean a line break, as in Markdown.
    """
    whole = text.rstrip(" \t\r\n")
    if not whole:
        return text
    lines = whole.split("\n")
    kept = [
        _tidied_line(line, is_break=keep_breaks and bool(after.strip()))
        for line, after in zip(lines, [*lines[1:], ""], strict=True)
    ]
    return "\n".join(kept) + ("\r\n" if "\r\n" in text else "\n")


def report(files: Sequence[Stats], top_terms: Sequence[tuple[str, int]]) -> str:
    """What is in a folder, as Markdown."""
    words = sum(item.words for item in files)
    rows = sum(item.lines for item in files)
    markers = [(item.name, marker) for item in files for marker in item.markers]
    longest = sorted(files, key=lambda item: (-item.words, item.name))
    minutes = sum(item.reading_minutes for item in files)
    lines = [
        "# Field notes",
        "",
        f"{len(files)} text files, {rows} lines, {words} words, {minutes:.0f} minutes to read.",
        "",
        "About: " + ", ".join(word for word, _ in top_terms[:8]) + ".",
        "",
        "## Longest",
        "",
        *(f"- `{item.name}`: {item.words} words, {item.lines} lines" for item in longest[:10]),
    ]
    titled = [item for item in files if item.headings]
    if titled:
        lines += ["", "## Headings", ""]
        lines += [f"- `{item.name}`: {', '.join(item.headings[:5])}" for item in titled[:10]]
    if markers:
        lines += ["", "## Left for later", ""]
        lines += [
            f"- `{name}:{marker.line}` {marker.kind} {marker.text}".rstrip()
            for name, marker in markers[:20]
        ]
    return "\n".join(lines) + "\n"


def _tidied_line(line: str, *, is_break: bool) -> str:
    body = line.removesuffix("\r")
    if is_break and body.endswith("  "):
        return line
    return body.rstrip(" \t") + line[len(body) :]


def _candidates(folder: str) -> Iterator[str]:
    visited = 0
    for directory, folders, names in fs.walk(folder):
        folders[:] = [name for name in folders if name[0] != "." and name not in GENERATED]
        visited += len(folders) + len(names)
        for name in names:
            path = fs.join(directory, name)
            if name[0] != "." and TEXT.fullmatch(name) and path != REPORT:
                yield path
        if visited > MAX_VISITED:
            log.warning("stopped looking for files after %d names", visited)
            return


def _read(path: str) -> str | None:
    try:
        if fs.lstat(path).kind != "regular" or fs.stat(path).size > MAX_FILE_BYTES:
            return None
        return fs.read_text(path)
    except (OSError, UnicodeDecodeError):
        return None
