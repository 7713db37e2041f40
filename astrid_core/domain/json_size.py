"""How large a value would be as JSON, found out without writing it.

Trusted with values of strangers: what is referred to a thousand times in memory is written a
thousand times, and what nests deeply is more than a reader at a deeper point of its stack can read.
Pure, and its time is that of what it accepts.
"""

from __future__ import annotations

import json
from typing import Any, Final

MAX_DEPTH: Final = 128
"""Lists and objects inside each other."""


def json_size(value: Any, *, most: int) -> int:
    """Bytes of a value as JSON in ASCII, give or take its separators.

    Args:
        value: Of what JSON has: dictionaries with texts as keys, lists, texts, numbers.
        most: Where to stop.

    Raises:
        ValueError: It has more than `most` bytes, or nests deeper than `MAX_DEPTH`; says so.
    """
    size = 0
    stack = [(value, 1)]
    while stack:
        node, depth = stack.pop()
        size += 3  # brackets, or a comma and what is counted below
        below: list[Any] = []
        if isinstance(node, dict):
            size += sum(3 + len(json.dumps(key)) for key in node)
            below = list(node.values())
        elif isinstance(node, list | tuple):
            below = list(node)
        else:
            size += len(json.dumps(node)) - 2
        if size > most:
            raise ValueError(f"it has more than {most} bytes")
        if below and depth > MAX_DEPTH:
            raise ValueError(f"it nests deeper than {MAX_DEPTH} levels")
        stack += [(child, depth + 1) for child in below]
    return size
