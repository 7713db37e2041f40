"""Threads aside, and whose time a call uses."""

from __future__ import annotations

import asyncio
import threading

import pytest

from astrid_engine_mcp.aside import Aside
from astrid_engine_mcp.patience import MOST_S, Patience
from astrid_hookspecs.errors import GuestLimitError, ServerError


def test_work_aside_gives_its_result_or_its_error() -> None:
    async def main() -> None:
        aside = Aside("tests", threads=2)
        assert await aside.run(lambda: 42) == 42
        with pytest.raises(ZeroDivisionError):
            await aside.run(lambda: 1 // 0)
        aside.close()

    asyncio.run(main())


def test_work_that_hangs_is_given_up_and_counts_until_it_ends() -> None:
    hangs = threading.Event()

    async def main() -> None:
        aside = Aside("tests", threads=1)
        with pytest.raises(ServerError, match="took longer"):
            await aside.run(hangs.wait, timeout_s=0.02)
        with pytest.raises(GuestLimitError):
            await aside.run(lambda: 1)
        await asyncio.wait_for(asyncio.to_thread(lambda: 1), 5)  # the loop's own threads are free
        hangs.set()
        aside.close()
        assert await aside.run(lambda: 1) == 1
        aside.close()

    asyncio.run(main())


def test_time_of_others_is_excused_once_and_up_to_a_bound() -> None:
    now = 0.0
    patience = Patience(clock=lambda: now)
    assert patience.excused_s() == 0
    patience.begin()
    now = 2.0
    patience.begin()  # a second question at the same time
    now = 3.0
    assert patience.excused_s() == 3.0
    patience.end()
    patience.end()
    now = 10.0
    assert patience.excused_s() == 3.0
    patience.begin()
    now = 10.0 + MOST_S
    assert patience.excused_s() == MOST_S
