"""The tools as clients get them: what capsules say about them, as far as one answer holds it.

Trusted with fairness. What servers say about their tools is theirs to choose; whoever says most is
cut short, so that nobody makes the tools of others impossible to list.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Final

from loguru import logger

from astrid_core.kernel.tool_catalogue import ToolInfo

LIST_BYTES: Final = 16 * 1024 * 1024
"""Of all tools together, as JSON; far more than any model reads."""

Row = dict[str, Any]


def tool_rows(tools: Iterable[ToolInfo], *, most: int = LIST_BYTES) -> list[Row]:
    """The rows of an answer, in the order of the tools.

    Where they do not fit, each capsule gets the same share, and what those that need less leave
    goes to the others. Tools beyond that are left out, which the log says; they can be called.

    Args:
        tools: Those that the client may call.
        most: Bytes of all rows together.
    """
    rows = [asdict(tool) for tool in tools]
    sizes = [len(json.dumps(row)) for row in rows]
    if sum(sizes) <= most:
        return rows
    places: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        places[row["capsule"]].append(place)
    totals = {capsule: sum(sizes[place] for place in own) for capsule, own in places.items()}
    kept: set[int] = set()
    left = most
    for served, capsule in enumerate(sorted(places, key=lambda one: (totals[one], one))):
        share = left // (len(places) - served)
        for place in places[capsule]:
            if sizes[place] > share:
                break
            share -= sizes[place]
            left -= sizes[place]
            kept.add(place)
        missing = len(places[capsule]) - len(kept.intersection(places[capsule]))
        if missing:
            logger.warning("{} tools of {} are not listed: they say too much", missing, capsule)
    return [row for place, row in enumerate(rows) if place in kept]
