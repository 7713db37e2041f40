"""Read what a docstring says about a function and its arguments (Google style)."""

from __future__ import annotations

import inspect
import re
from typing import Final, NamedTuple

_SECTION: Final = re.compile(r"(?P<name>[A-Z][A-Za-z ]*):\s*")
_ENTRY: Final = re.compile(r"\*{0,2}(?P<name>\w+)\s*(?:\([^)]*\))?:\s*(?P<text>.*)")
_FIELD_SECTIONS: Final = frozenset({"Args", "Arguments", "Parameters", "Attributes"})
_SECTIONS: Final = _FIELD_SECTIONS | {
    "Example",
    "Examples",
    "Note",
    "Notes",
    "Raises",
    "Returns",
    "Spec",
    "Yields",
}


class Documentation(NamedTuple):
    """What a docstring says.

    Attributes:
        summary: First paragraph, on one line; empty without a docstring.
        fields: Description by argument or attribute name, on one line each.
    """

    summary: str
    fields: dict[str, str]


def parse_docstring(text: str | None) -> Documentation:
    """Split a docstring. Never fails: what is not understood is left out."""
    if not text:
        return Documentation("", {})
    lines = inspect.cleandoc(text).splitlines()
    summary: list[str] = []
    for line in lines:
        if not line.strip() or _section(line) is not None:
            break
        summary.append(line.strip())
    return Documentation(" ".join(summary), _fields(lines))


def _section(line: str) -> str | None:
    found = _SECTION.fullmatch(line)
    return found["name"] if found and found["name"] in _SECTIONS else None


def _fields(lines: list[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    inside = False
    indent = 0
    current: str | None = None
    for line in lines:
        section = _section(line)
        if section is not None:
            inside, current, indent = section in _FIELD_SECTIONS, None, 0
            continue
        if not inside or not line.strip():
            continue
        depth = len(line) - len(line.lstrip())
        if depth == 0:
            inside = False
            continue
        indent = indent or depth
        entry = _ENTRY.fullmatch(line.strip()) if depth == indent else None
        if entry is not None:
            current = entry["name"]
            fields[current] = entry["text"].strip()
        elif current is not None:
            fields[current] = f"{fields[current]} {line.strip()}".strip()
    return fields
