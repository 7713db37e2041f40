"""A server that is stopped while it is being started."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from astrid_engine_mcp.connection import Connection
from astrid_engine_mcp.stdio import Ended, Log, Streams
from astrid_hookspecs.errors import ServerError


class Asking:
    def close(self) -> None:
        pass


@asynccontextmanager
async def silent(*, ended: Ended, log: Log) -> AsyncIterator[Streams]:
    del ended, log
    await asyncio.Event().wait()
    yield cast("Any", None)


async def listed(*_arguments: object) -> None:
    pass


@pytest.mark.parametrize("steps", [0, 1, 5], ids=["before it began", "at once", "under way"])
def test_who_waits_for_a_start_that_is_stopped_is_told(steps: int) -> None:
    async def work() -> None:
        connection = Connection(
            "one",
            transport=silent,
            asking=cast("Any", Asking()),
            listed=listed,
            log=lambda _level, _line: None,
        )
        for _ in range(steps):
            await asyncio.sleep(0)
        connection.stop("unloaded")
        async with asyncio.timeout(10):
            with pytest.raises(ServerError, match="did not start: unloaded"):
                await connection.ready()
        assert connection.is_over

    asyncio.run(work())
