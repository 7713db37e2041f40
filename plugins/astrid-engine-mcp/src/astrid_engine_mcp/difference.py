"""What changed between two definitions of a tool, as text for a person.

Trusted with staying short of time and memory: servers write both definitions, and comparing lines
can take the square of their number.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

MAX_CHARACTERS: Final = 2 * 1024 * 1024
"""Of all differences together; they travel in one frame."""
MAX_PAIRS: Final = 4_000_000
"""Lines times lines that are compared, of all differences together: less than a second."""
_MAX_INDENT: Final = 12
_TOO_DEEP: Final = re.compile(rf"^ {{{_MAX_INDENT},}}", re.MULTILINE)
_NO_ROOM: Final = (
    "(not shown: more waits than one answer holds; decide about the others, or remove their server)"
)


class Differences:
    """Makes the texts of one answer, within its bounds."""

    def __init__(self) -> None:
        self._characters = MAX_CHARACTERS
        self._pairs = MAX_PAIRS

    def of(self, accepted: Mapping[str, Any] | None, proposed: Mapping[str, Any]) -> str:
        """A unified diff; non-ASCII characters show as escapes.

        Where the lines are too many to be compared, what differs is shown as taken away as a whole
        and added as a whole. Where there is no room left at all, the text says so.

        Args:
            accepted: As it was accepted; None where nothing was.
            proposed: As it is now.
        """
        if self._characters <= 0:
            return _NO_ROOM
        before = [] if accepted is None else _pretty(accepted)
        after = _pretty(proposed)
        pairs = len(before) * len(after)
        if pairs <= self._pairs:
            self._pairs -= pairs
            lines = list(difflib.unified_diff(before, after, "accepted", "proposed", lineterm=""))
        else:
            lines = _whole(before, after)
        text = "\n".join(lines)
        self._characters -= len(text)
        return text if self._characters >= 0 else _NO_ROOM


def _whole(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Everything between what both begin with and what both end with."""
    start, shorter = 0, min(len(before), len(after))
    while start < shorter and before[start] == after[start]:
        start += 1
    end = 0
    while end < shorter - start and before[-1 - end] == after[-1 - end]:
        end += 1
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    place = f"@@ -{start + 1},{len(old)} +{start + 1},{len(new)} @@"
    gone, come = (f"-{line}" for line in old), (f"+{line}" for line in new)
    return ["--- accepted", "+++ proposed", place, *gone, *come]


def _pretty(definition: Mapping[str, Any]) -> list[str]:
    text = json.dumps(definition, indent=1, sort_keys=True, ensure_ascii=True)
    return _TOO_DEEP.sub(" " * _MAX_INDENT, text).split("\n")
