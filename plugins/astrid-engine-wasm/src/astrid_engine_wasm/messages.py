"""Turns the runtime library's error texts into one line for people.

Trusted with wording: no host path, no address of the host process, bounded length. A guest words
parts of these texts: the names of its functions stand in them as they are, line ends included, and
no deadline of the guest covers the time that this module takes.
"""

from __future__ import annotations

import re
from typing import Final

MAX_CHARACTERS: Final = 400

_BACKTRACE = re.compile(
    r"error while executing at wasm backtrace:\n(?P<frames>(?:[ \t]+\d+:.*\n?|[ \t]+at .*\n?)+)"
)
_FRAME = re.compile(r"^[ \t]*\d+:\s+(?:0x[0-9a-f]+\s+-\s+)?(?P<where>.*)$", re.MULTILINE)
_HASH_SUFFIX = re.compile(r"::h[0-9a-f]{16}\b")
_NUMBERED_CAUSE = re.compile(r"^\d+:\s+")
_PATH = re.compile(r"(?:(?<=[\s'\"`(=:])|^)(?:/|[A-Za-z]:\\)[^\s'\"`:)]*")
_NOTE = re.compile(r"^note: using the `WASMTIME_BACKTRACE_DETAILS")
_MAX_FRAMES: Final = 3
_ENOUGH_CHARACTERS: Final = 4 * MAX_CHARACTERS
"""More of the causes is not looked at: they are cut, and paths in them become shorter at most."""


def clean_message(text: str) -> str:
    """Reduce an error text to its causes and, for a trap, the innermost guest functions.

    Args:
        text: As the library words it, possibly with many lines and a backtrace.

    Returns:
        One line without control characters and paths, at most `MAX_CHARACTERS` long.
    """
    frames: list[str] = []
    match = _BACKTRACE.search(text)
    if match is not None:
        frames = [_function(found["where"]) for found in _FRAME.finditer(match["frames"])]
        text = text[: match.start()] + text[match.end() :]
    message = ": ".join(_causes(text)) or "unknown error"
    shown = [frame for frame in frames if frame][:_MAX_FRAMES]
    if shown:
        message += f" (in {', called by '.join(shown)})"
    message = _PATH.sub("<path>", message)
    message = "".join(c if c.isprintable() else " " for c in message)
    if len(message) > MAX_CHARACTERS:
        message = message[: MAX_CHARACTERS - 1] + "…"
    return message


def _causes(text: str) -> list[str]:
    """The different lines that say something, as many as a message can show."""
    causes: dict[str, None] = {}
    characters = 0
    for line in text.splitlines():
        cause = _NUMBERED_CAUSE.sub("", line.strip()).rstrip(":")
        if cause and cause != "Caused by" and cause not in causes and not _NOTE.match(cause):
            causes[cause] = None
            characters += len(cause)
            if characters >= _ENOUGH_CHARACTERS:
                break
    return [*causes]


def _function(where: str) -> str:
    """`module!function` of one backtrace line, without the symbol hash."""
    name = _HASH_SUFFIX.sub("", where.split("\n", 1)[0]).strip()
    return name[:80]
