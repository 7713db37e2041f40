"""Signs of life of a run loop: its calls into the host.

A run loop has no deadline, so nothing stops one that computes without end. What does not come to
the host for long, neither to receive nor to do anything else, hangs; the supervisor decides when.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Beat(NamedTuple):
    """What was felt.

    Attributes:
        calls: Host calls that have begun.
        is_inside: Whether one is under way: the guest waits for the host, not the other way round.
    """

    calls: int
    is_inside: bool


class Pulse:
    """Counts the host calls of one instance; written by its thread, read by any."""

    __slots__ = ("_begun", "_ended")

    def __init__(self) -> None:
        self._begun = 0
        self._ended = 0

    def felt(self, handler: Callable[..., object]) -> Callable[..., object]:
        """The same handler, its calls counted."""

        def call(*arguments: object) -> object:
            self._begun += 1
            try:
                return handler(*arguments)
            finally:
                self._ended += 1

        return call

    def beat(self) -> Beat:
        """The count so far."""
        ended = self._ended  # read first: a call that ends in between then still counts as inside
        begun = self._begun
        return Beat(begun, begun > ended)
