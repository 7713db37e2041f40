"""What a client hears of how far a call is."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from astrid_core.cli.mcp import progress
from astrid_core.cli.mcp.progress import Progress

Heard = list[tuple[float, float | None, str | None]]


class Session:
    def __init__(self) -> None:
        self.heard: Heard = []

    async def report_progress(
        self, value: float, total: float | None = None, message: str | None = None
    ) -> None:
        self.heard.append((value, total, message))


def heard(monkeypatch: pytest.MonkeyPatch, *steps: Any, pause_s: float = 0.0) -> Heard:
    """What was told after the steps, which begin after a pause."""

    async def main() -> Heard:
        monkeypatch.setattr(progress, "EACH_S", 0.02)
        told, session = Progress(), Session()
        reporting = asyncio.ensure_future(told.report(session))
        await asyncio.sleep(pause_s)
        for step in steps:
            told.step(step)
        await asyncio.sleep(0.01)
        reporting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reporting
        return session.heard

    return asyncio.run(main())


def test_what_the_tool_says_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [{"progress": 1, "total": 2, "message": "half"}, {"progress": 2, "total": 2}]
    assert heard(monkeypatch, *steps) == [(1.0, 2.0, "half"), (2.0, 2.0, None)]


def test_the_number_only_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [{"progress": one} for one in (3, 1, 3, 4)]
    assert [value for value, _, _ in heard(monkeypatch, *steps)] == [3.0, 4.0]


def test_time_that_was_told_before_comes_on_top(monkeypatch: pytest.MonkeyPatch) -> None:
    said = heard(monkeypatch, {"progress": 1, "total": 2}, pause_s=0.05)
    assert said[0] == (0.02, None, "running")
    assert said[-1][0] == pytest.approx(said[-2][0] + 1)
    assert said[-1][1] == pytest.approx(said[-2][0] + 2)


@pytest.mark.parametrize("step", [None, {}, {"progress": "1"}, {"progress": True}, [1]])
def test_what_is_no_progress_is_passed_over(monkeypatch: pytest.MonkeyPatch, step: object) -> None:
    assert heard(monkeypatch, step) == []


def test_a_slow_client_hears_the_latest(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [{"progress": one} for one in range(1, 101)]
    assert [value for value, _, _ in heard(monkeypatch, *steps)] == [*map(float, range(69, 101))]
