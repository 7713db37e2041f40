"""Ending long work from outside: at its next report, because nothing stops a thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from astrid_hookspecs.engines import Progress


class EndableReport:
    """Passes reports of work on, and ends it at the next one after an interrupt.

    Args:
        progress: Where to pass them on to; None for nowhere.
        ending: Makes what the next report raises in the work.

    Attributes:
        interrupted: Whether the next report ends the work.
    """

    def __init__(self, progress: Progress | None, *, ending: Callable[[], BaseException]) -> None:
        self._progress = progress
        self._ending = ending
        self.interrupted = False

    def __call__(self, step: str, fraction: float | None) -> None:
        """As `Progress`."""
        if self.interrupted:
            raise self._ending()
        if self._progress is not None:
            self._progress(step, fraction)
