"""How far a call is, as its client hears it: what the tool says, or that time passes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

EACH_S: Final = 1.0
_MOST: Final = 32
"""Steps that wait; a client that is slow hears the latest."""


class Session(Protocol):
    """The part of the SDK's session that tells a client."""

    async def report_progress(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        """Tell it."""
        ...


class _Step(NamedTuple):
    progress: float
    total: float | None
    message: str | None


class Progress:
    """Of one call. Used on the loop."""

    def __init__(self) -> None:
        self._steps: asyncio.Queue[_Step] = asyncio.Queue()
        self._said = 0.0
        self._base: float | None = None

    def step(self, value: object) -> None:
        """The tool says how far it is; what is no progress is passed over."""
        if not isinstance(value, Mapping):
            return
        progress = _number(value.get("progress"))
        if progress is None:
            return
        message = value.get("message")
        while self._steps.qsize() >= _MOST:
            self._steps.get_nowait()
        self._steps.put_nowait(
            _Step(
                progress,
                _number(value.get("total")),
                message if isinstance(message, str) and message else None,
            )
        )

    async def report(self, session: Session) -> None:
        """Tell a client until cancelled. The number grows, whatever the tool says."""
        while True:
            step = await self._next()
            if step is None:
                self._said += EACH_S
                await session.report_progress(self._said, None, "running")
                continue
            if self._base is None:
                self._base = self._said  # the seconds that were told before
            if self._base + step.progress > self._said:
                self._said = self._base + step.progress
                total = None if step.total is None else self._base + step.total
                await session.report_progress(self._said, total, step.message)

    async def _next(self) -> _Step | None:
        """What the tool says next; None each second while it says nothing at all."""
        if self._base is not None:
            return await self._steps.get()
        try:
            async with asyncio.timeout(EACH_S):
                return await self._steps.get()
        except TimeoutError:
            return None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)
