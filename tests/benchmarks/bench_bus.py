"""Publishing when few of many subscriptions match, against a bus with only those few."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from astrid_core.builtin.memory_bus import MemoryBus
from astrid_hookspecs.buses import Envelope
from tests.benchmarks.measure import Row, alternate, at_most

MATCHING = 100
TOPICS = 5000
"""More than the bus remembers the receivers of, so that each publish has to look them up."""


def publisher(*, others: int, topics: int) -> Callable[[], object]:
    """Publishes on the next topic each time it is called."""
    bus = MemoryBus()
    for _ in range(MATCHING):
        bus.subscribe("notes.v1.*", capacity=16)
    for number in range(others):
        bus.subscribe(f"other.v1.topic-{number}", capacity=16)
    events = itertools.cycle(
        [Envelope(f"notes.v1.note-{number}", b"{}") for number in range(topics)]
    )
    return lambda: bus.publish(next(events))


def run(*, quick: bool = False) -> list[Row]:
    """Measure."""
    rows = []
    for name, topics in (("one topic", 1), (f"{TOPICS} topics in turn", TOPICS)):
        alone = publisher(others=0, topics=topics)
        among = publisher(others=10_000 - MATCHING, topics=topics)
        sides = alternate(alone, among, times=(500, 500), rounds=5 if quick else 15)
        rows.append(
            at_most(
                f"publish to {MATCHING} of 10,000 subscriptions, {name}, against {MATCHING} alone",
                sides.ratio,
                1.5,
                detail=sides.detail("alone", "among"),
            )
        )
    return rows
