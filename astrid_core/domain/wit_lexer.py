"""Turns WIT text into tokens.

Trusted with untrusted text: it bounds the length, refuses every character the grammar does not
know and says on which line. It interprets nothing.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from astrid_hookspecs.errors import ConfigError

MAX_TEXT_BYTES: Final = 1024 * 1024
"""Longest WIT text that is looked at."""

KEYWORDS: Final = frozenset(
    {
        "as", "async", "bool", "borrow", "char", "constructor", "enum", "error-context", "export",
        "f32", "f64", "flags", "from", "func", "future", "import", "include", "interface", "list",
        "option", "own", "package", "record", "resource", "result", "s16", "s32", "s64", "s8",
        "static", "stream", "string", "tuple", "type", "u16", "u32", "u64", "u8", "use", "variant",
        "with", "world",
    }
)  # fmt: skip
"""Words that are names only behind a `%`."""

_TOKEN: Final = re.compile(
    r"""
      (?P<space>[ \t\r\n]+)
    | (?P<line_doc>///(?!/)[^\n]*)
    | (?P<line_comment>//[^\n]*)
    | (?P<block>/\*)
    | (?P<version>[0-9]+\.[0-9]+\.[0-9]+
        (?:-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?
        (?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?)
    | (?P<integer>[0-9]+)
    | (?P<word>%?[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)*)
    | (?P<symbol>->|[{}()<>,;:=/@.*_])
    """,
    re.VERBOSE,
)
_FRAGMENT: Final = re.compile(r"[a-z0-9]+|[A-Z0-9]+")


class WitSyntaxError(ConfigError):
    """A WIT text is malformed, or refers to something that does not exist.

    Args:
        message: What is wrong.
        line: 1-based; 0 when the error has no single place.
        name: The text's name for people, usually its file name.
        hint: What would be right.
    """

    default_code = "wit.syntax"

    def __init__(self, message: str, *, line: int, name: str = "", hint: str | None = None) -> None:
        place = f"{name or 'WIT text'}:{line}" if line else name
        super().__init__(f"{place}: {message}" if place else message, hint=hint)
        self.line = line


class Token(NamedTuple):
    """One token.

    Attributes:
        kind: `name`, `keyword`, `symbol`, `integer`, `version` or `end`.
        text: Without the `%` of an escaped name.
        line: 1-based.
        docs: Documentation comments since the previous token.
    """

    kind: str
    text: str
    line: int
    docs: str

    def describe(self) -> str:
        """How error messages call it."""
        return "the end of the text" if self.kind == "end" else f"`{self.text}`"


def tokenize(text: str, *, name: str = "") -> list[Token]:
    """Split a WIT text into tokens; the last one has kind `end`.

    Args:
        text: The whole text.
        name: For error messages.

    Raises:
        WitSyntaxError: Too long, an unknown character, an open comment, or a malformed name.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_TEXT_BYTES:
        raise WitSyntaxError("the text is longer than 1 MiB", line=0, name=name)
    tokens: list[Token] = []
    docs: list[str] = []
    at, line = 0, 1
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise WitSyntaxError(
                f"unexpected character {text[at]!r}",
                line=line,
                name=name,
                hint="WIT texts use letters, digits and the symbols { } ( ) < > , ; : = / @ . * _",
            )
        kind, body = match.lastgroup or "", match.group()
        if kind == "block":
            body = _block_comment(text, at, line=line, name=name)
            if body.startswith("/**") and len(body) > len("/**/"):
                docs.append(_clean_block(body))
        elif kind == "line_doc":
            docs.append(body[3:].strip())
        elif kind not in {"space", "line_comment"}:
            tokens.append(_token(kind, body, line, "\n".join(docs).strip(), name))
            docs = []
        at += len(body)
        line += body.count("\n")
    tokens.append(Token("end", "", line, ""))
    return tokens


def _token(kind: str, body: str, line: int, docs: str, name: str) -> Token:
    if kind != "word":
        return Token(kind, body, line, docs)
    if body in KEYWORDS:
        return Token("keyword", body, line, docs)
    word = body.removeprefix("%")
    bad = next((part for part in word.split("-") if not _FRAGMENT.fullmatch(part)), None)
    if bad is not None:
        raise WitSyntaxError(
            f"`{word}` is not a name: `{bad}` mixes upper and lower case",
            line=line,
            name=name,
            hint="write names in kebab-case, each word in one case",
        )
    return Token("name", word, line, docs)


def _block_comment(text: str, start: int, *, line: int, name: str) -> str:
    """The comment that starts here; comments nest."""
    depth, at = 0, start
    while True:
        opening, closing = text.find("/*", at), text.find("*/", at)
        if closing < 0:
            raise WitSyntaxError("a comment is not closed", line=line, name=name, hint="add `*/`")
        if 0 <= opening < closing:
            depth, at = depth + 1, opening + 2
            continue
        depth, at = depth - 1, closing + 2
        if depth == 0:
            return text[start:at]


def _clean_block(body: str) -> str:
    lines = body.removeprefix("/**").removesuffix("*/").splitlines()
    return "\n".join(line.strip().removeprefix("*").strip() for line in lines).strip()
