"""Reads the parts of a page that tests look at: fenced blocks, headings, links.

A fenced block may carry a directive, an HTML comment on the line before it:

    <!-- file: weather/Capsule.toml -->      the reader writes this file
    <!-- append: weather/Capsule.toml -->    the reader adds this to the file
    <!-- not run -->                         shown only
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = ROOT / "docs"

_FENCE: Final = re.compile(r"(?P<indent> *)(?P<marks>`{3,})(?P<language>[a-z]*)")
_DIRECTIVE: Final = re.compile(r"<!-- (?P<name>file|append|not run)(?:: (?P<value>.+?))? -->")
_HEADING: Final = re.compile(r"(?P<marks>#{1,6}) (?P<text>.+)")
_LINK: Final = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        language: As written after the fence, may be empty.
        text: The lines between the fences.
        line: Of the opening fence, from 1.
        directive: Name of the comment before it, empty without one.
        value: What the directive names.
    """

    language: str
    text: str
    line: int
    directive: str = ""
    value: str = ""


def pages() -> list[Path]:
    """Every page of the documentation, the ones of packages included."""
    patterns = ("*.md", "docs/**/*.md", "hookspecs/*.md", "plugins/*/*.md", "examples/**/*.md")
    return sorted({path for pattern in patterns for path in ROOT.glob(pattern)})


def page_id(path: Path) -> str:
    """A page's name in test ids."""
    return str(path.relative_to(ROOT))


def blocks(path: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found: list[Block] = []
    index = 0
    while index < len(lines):
        opening = _FENCE.fullmatch(lines[index].rstrip())
        if opening is None:
            index += 1
            continue
        closing = next(
            (at for at in range(index + 1, len(lines)) if lines[at].strip() == opening["marks"]),
            None,
        )
        if closing is None:
            raise ValueError(f"{path.name}:{index + 1}: the fence is not closed")
        before = _DIRECTIVE.fullmatch(lines[index - 1].strip()) if index else None
        found.append(
            Block(
                language=opening["language"],
                text="".join(f"{line}\n" for line in lines[index + 1 : closing]),
                line=index + 1,
                directive=before["name"] if before else "",
                value=(before["value"] or "") if before else "",
            )
        )
        index = closing + 1
    return found


def prose(path: Path) -> str:
    """The page without its fenced blocks."""
    text = path.read_text(encoding="utf-8")
    return re.sub(r"^( *)(`{3,}).*?^ *\2$", "", text, flags=re.MULTILINE | re.DOTALL)


def headings(path: Path) -> list[str]:
    """The texts of a page's headings."""
    found = (_HEADING.fullmatch(line) for line in prose(path).splitlines())
    return [match["text"] for match in found if match is not None]


def sections(path: Path) -> dict[str, str]:
    """The page cut at its headings: heading to the text below it."""
    out: dict[str, str] = {}
    current = ""
    for line in prose(path).splitlines():
        match = _HEADING.fullmatch(line)
        if match is not None:
            current = match["text"]
        out[current] = out.get(current, "") + line + "\n"
    return out


def anchor(heading: str) -> str:
    """The fragment that leads to a heading."""
    text = re.sub(r"[^\w\- ]", "", heading.lower())
    return text.replace(" ", "-")


def links(path: Path) -> Iterator[str]:
    """Targets of the page's links, code left out."""
    text = re.sub(r"`[^`\n]*`", "", prose(path))
    for match in _LINK.finditer(text):
        yield match["target"]


def first_column(section: str) -> list[str]:
    """Code words in the first cell of each row of the section's tables."""
    out: list[str] = []
    for line in section.splitlines():
        if line.startswith("| `"):
            out += re.findall(r"`([^`]+)`", line.split(" | ")[0])
    return out
