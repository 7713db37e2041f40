"""Makes one safe log line of what a guest wrote, and limits how many there are.

Trusted with keeping guests from forging lines, hiding text or filling the disk. Pure: the caller
passes the time in. Spec: astrid:sys@1.0.0 log.
"""

from __future__ import annotations

import re
from typing import Final

MAX_MESSAGE_BYTES: Final = 16 * 1024
MAX_LINES_PER_S: Final = 200
CUT_MARK: Final = "...[cut]"

_SHORT_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_NOT_PLAIN: Final = re.compile(r"[^\x20-\x7e]")


def log_line(message: str) -> str:
    """The message as one line of printable text, cut to 16 KiB.

    Control characters, line separators, invisible and direction-changing characters are written as
    escapes, so that neither a terminal nor a reader takes them for something else.
    """
    # Cut first: no character shrinks when it is escaped, so more than this is never shown.
    line = _NOT_PLAIN.sub(_escaped, message[: MAX_MESSAGE_BYTES + 1])
    encoded = line.encode("utf-8")
    if len(encoded) <= MAX_MESSAGE_BYTES:
        return line
    room = MAX_MESSAGE_BYTES - len(CUT_MARK)
    return encoded[:room].decode("utf-8", "ignore") + CUT_MARK


def _escaped(match: re.Match[str]) -> str:
    char = match.group()
    if char in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[char]
    if char.isprintable():
        return char
    return ascii(char)[1:-1]


class LogBudget:
    """Lets at most 200 lines per second through and counts the rest."""

    def __init__(self) -> None:
        self._window = float("-inf")
        self._lines = 0
        self._dropped = 0

    def admit(self, *, now: float) -> tuple[bool, int]:
        """Account for one line.

        Args:
            now: Monotonic time in seconds.

        Returns:
            Whether it may be written, and how many lines were dropped in earlier seconds and not
            reported yet.
        """
        dropped = 0
        if now - self._window >= 1.0:
            self._window, self._lines = now, 0
            dropped, self._dropped = self._dropped, 0
        if self._lines >= MAX_LINES_PER_S:
            self._dropped += 1
            return False, dropped
        self._lines += 1
        return True, dropped
