"""Ending long work from outside: at its next report, because nothing stops a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from astrid_hookspecs.engines import Progress

T = TypeVar("T")


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


async def to_its_end(work: asyncio.Future[T], report: EndableReport | None) -> T:
    """Wait for work on a thread; who is cancelled waits for it all the same.

    Nothing stops a thread, and what it works on must be neither removed nor changed by others. One
    that reports ends at its next report.
    """
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        if report is not None:
            report.interrupted = True
        while not work.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({work})
        if not work.cancelled():
            work.exception()  # nobody else takes it
        raise
