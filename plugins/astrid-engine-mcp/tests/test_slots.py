"""How many servers run at the same time, whoever starts them."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from astrid_engine_mcp import bounds
from astrid_engine_mcp.connection import Connection
from astrid_engine_mcp.servers import Slots
from astrid_hookspecs.errors import GuestLimitError

END_S = 0.02


class Process:
    """What slots know of a connection; it takes its time to end."""

    running = 0
    most = 0

    def __init__(self, *, busy: bool = False, used: float = 0.0) -> None:
        self.is_over = False
        self.busy = busy
        self.used = used
        self._stopped = asyncio.Event()
        Process.running += 1
        Process.most = max(Process.most, Process.running)
        self.task = asyncio.create_task(self._run())

    @property
    def is_idle(self) -> bool:
        return not self.busy and not self.is_over

    def stop(self, reason: str) -> None:
        assert reason == "evicted"
        self.is_over = True
        self._stopped.set()

    async def _run(self) -> None:
        await self._stopped.wait()
        await asyncio.sleep(END_S)
        Process.running -= 1


async def taken(slots: Slots, *, busy: bool = False, used: float = 0.0) -> Process:
    made = await slots.take(lambda: cast("Connection", cast("Any", Process(busy=busy, used=used))))
    return cast("Process", cast("Any", made))


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    Process.running = Process.most = 0
    monkeypatch.setattr(bounds, "PROCESSES", 4)
    monkeypatch.setattr(bounds, "ROOM_S", 5.0)


def test_a_burst_of_starts_never_runs_more_than_the_bound() -> None:
    async def work() -> None:
        slots = Slots()
        await asyncio.gather(*(taken(slots) for _ in range(40)))

    asyncio.run(work())
    assert Process.most == 4


def test_one_that_ends_makes_room_once() -> None:
    async def work() -> None:
        slots = Slots()
        first = [await taken(slots, used=float(number)) for number in range(4)]
        await taken(slots, used=9.0)
        assert [one.is_over for one in first] == [True, False, False, False]

    asyncio.run(work())


def test_start_denied_when_all_are_busy() -> None:
    async def work() -> None:
        slots = Slots()
        for _ in range(4):
            await taken(slots, busy=True)
        with pytest.raises(GuestLimitError, match="4 servers are running and busy"):
            await taken(slots)

    asyncio.run(work())


def test_start_denied_when_nothing_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "ROOM_S", 0.05)
    monkeypatch.setitem(globals(), "END_S", 5.0)

    async def work() -> None:
        slots = Slots()
        for _ in range(4):
            await taken(slots)
        with pytest.raises(GuestLimitError):
            await taken(slots)

    asyncio.run(work())
