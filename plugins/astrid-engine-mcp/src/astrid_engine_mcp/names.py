"""Names and texts of servers: what they are called on the bus, and what hides in them.

Trusted with finding characters that a person does not see and a model does. Pure.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Final

MAX_NAME: Final = 64
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_-]")
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NOT_PLAIN: Final = re.compile(r"[^ -~\n\r\t]")
_UNSEEN: Final = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
)
"""Letters and marks that show nothing."""
_EMOJI_STYLE: Final = frozenset("\ufe0e\ufe0f")
_HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})


def is_server_id(text: str) -> bool:
    """Whether a server can be named so in rights and on the bus."""
    return _ID.fullmatch(text) is not None


def plain_name(name: str) -> str:
    """A tool's name in the letters of the bus and of rights; empty where nothing is left."""
    return _NOT_IN_NAMES.sub("_", name)[:MAX_NAME]


def hidden_characters(value: object) -> list[str]:
    """Every invisible or direction-changing character in the texts of a JSON value.

    Returns:
        Names like `U+202E`, in order of appearance, each once.
    """
    found: dict[str, None] = {}
    for text in _texts(value):
        for match in _NOT_PLAIN.finditer(text):
            at, char = match.start(), match.group()
            if _is_hidden(char, before=text[at - 1] if at else ""):
                found.setdefault(f"U+{ord(char):04X}")
    return list(found)


def _is_hidden(char: str, *, before: str) -> bool:
    if char in _EMOJI_STYLE:  # one after a visible sign is its style; more carry something else
        return not before or before.isspace() or before in _EMOJI_STYLE
    if "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef":
        return True
    return char in _UNSEEN or unicodedata.category(char) in _HIDDEN_CATEGORIES


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
