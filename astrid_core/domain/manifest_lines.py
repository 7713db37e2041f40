"""Where each key of a TOML text stands, for messages that name a line.

Trusted with nothing but line numbers: the values come from the TOML reader, this scan only follows
the text far enough to know which key is where. It is meant for text that the reader has accepted;
on anything else it stops at the first place it cannot follow, and never raises.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from typing import Final

import tomli

KeyPath = tuple[str | int, ...]
"""Place of a value in a document: keys, and indices of array entries."""

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_KEY: Final = re.compile(r"[ \t]*([A-Za-z0-9_-]+|\"(?:[^\"\\\n]|\\.)*+\"|'[^'\n]*')[ \t]*")
_BLANK: Final = re.compile(r"(?:[ \t\r\n,]|#[^\n]*)*+")
_SCALAR: Final = re.compile(
    r'"""(?s:[^"\\]++|\\.|"(?!""))*+"""(?:"{0,2})'
    r"|'''(?s:[^']++|'(?!''))*+'''(?:'{0,2})"
    r'|"(?:[^"\\\n]|\\.)*+"'
    r"|'[^'\n]*'"
    r"|[^\s,\[\]{}#\"'][^,\]}\n#]*"
)
_MAX_SHOWN: Final = 80


def dotted(path: KeyPath) -> str:
    """The path as a person writes it: `component[0].file`, `publish."a.b"`."""
    out = ""
    for part in path:
        if isinstance(part, int):
            out += f"[{part}]"
            continue
        text = part if len(part) <= _MAX_SHOWN else f"{part[:_MAX_SHOWN]}..."
        out += "." if out else ""
        out += text if _BARE.fullmatch(text) else json.dumps(text, ensure_ascii=False)
    return out


def key_lines(text: str) -> dict[KeyPath, int]:
    """The 1-based line of every table header, key and array entry.

    A table that occurs in several places has the line of the first.
    """
    return _Scan(text).run()


class _Lost(Exception):  # noqa: N818 - ends the scan, is no error
    """The text goes on in a way that the scan does not know."""


class _Scan:
    """One pass over a document. Nested values recurse; too deep a nesting ends the scan."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._starts = [0, *(m.end() for m in re.finditer("\n", text))]
        self._entries: dict[KeyPath, int] = {}
        self._lines: dict[KeyPath, int] = {}

    def run(self) -> dict[KeyPath, int]:
        prefix: KeyPath = ()
        try:
            self._skip(_BLANK)
            while self._at < len(self._text):
                if self._next("["):
                    prefix = self._header()
                else:
                    self._pair(prefix)
                self._skip(_BLANK)
        except (_Lost, RecursionError):
            pass
        return self._lines

    def _header(self) -> KeyPath:
        """`[a.b]` or `[[a.b]]`; keys below an array of tables mean its latest entry."""
        start = self._at - 1
        repeated = self._next("[")
        *outer, last = self._keys()
        path: KeyPath = ()
        for key in outer:
            path = self._latest((*path, key))
            self._note(path, start)
        path = (*path, last)
        self._note(path, start)
        if repeated:
            self._entries[path] = self._entries.get(path, -1) + 1
        path = self._latest(path)
        self._note(path, start)
        if not self._next("]]" if repeated else "]"):
            raise _Lost
        return path

    def _latest(self, path: KeyPath) -> KeyPath:
        index = self._entries.get(path)
        return path if index is None else (*path, index)

    def _pair(self, prefix: KeyPath) -> None:
        start = self._at
        path = prefix
        for key in self._keys():
            path = (*path, key)
            self._note(path, start)
        if not self._next("="):
            raise _Lost
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        self._skip(_BLANK)
        if self._next("["):
            index = 0
            while not self._closes("]"):
                self._note((*path, index), self._at)
                self._value((*path, index))
                index += 1
        elif self._next("{"):
            while not self._closes("}"):
                self._pair(path)
        else:
            self._skip(_SCALAR)

    def _closes(self, bracket: str) -> bool:
        self._skip(_BLANK)
        return self._next(bracket)

    def _keys(self) -> list[str]:
        keys = [self._key()]
        while self._next("."):
            keys.append(self._key())
        return keys

    def _key(self) -> str:
        found = _KEY.match(self._text, self._at)
        if found is None:
            raise _Lost
        self._at = found.end()
        raw = found[1]
        if raw[0] == "'":
            return raw[1:-1]
        return _unescaped(raw) if raw[0] == '"' else raw

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise _Lost
        self._at = found.end()

    def _next(self, token: str) -> bool:
        if not self._text.startswith(token, self._at):
            return False
        self._at += len(token)
        return True

    def _note(self, path: KeyPath, offset: int) -> None:
        if path not in self._lines:
            self._lines[path] = bisect_right(self._starts, offset)


def _unescaped(raw: str) -> str:
    """The value of a quoted key; a wrong escape sequence ends the scan."""
    if "\\" not in raw:
        return raw[1:-1]
    try:
        return str(tomli.loads(f"key = {raw}")["key"])
    except ValueError as error:
        raise _Lost from error
