"""A server for which there is no room: what is on record about it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, cast

import pytest

from astrid_engine_mcp import bounds
from astrid_engine_mcp.aside import Aside
from astrid_engine_mcp.servers import Servers, Slots
from astrid_hookspecs.engines import McpServerSpec
from astrid_hookspecs.errors import GuestLimitError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL

SPEC = McpServerSpec("one", "stdio", "server")


class Host:
    """The kernel's side, with what it records."""

    def __init__(self) -> None:
        self.recorded: list[str] = []
        self.ended = threading.Event()

    def open_server(self, _spec: object, _principal: object) -> object:
        self.recorded.append("started")
        return object()

    def close_server(self, _spec: object, _principal: object, *, reason: str) -> None:
        self.recorded.append(reason)
        self.ended.set()


def test_a_start_for_which_there_is_no_room_is_ended_on_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "PROCESSES", 0)
    host = Host()

    async def work() -> None:
        servers = Servers(
            {"one": SPEC},
            host=cast("Any", host),
            book=cast("Any", None),
            slots=Slots(),
            aside=Aside("questions", threads=1),
            transport=cast("Any", None),
        )
        with pytest.raises(GuestLimitError):
            await servers.get("one", DEFAULT_PRINCIPAL)

    asyncio.run(work())  # which waits for the executor's threads
    assert host.ended.wait(10)
    assert host.recorded == ["started", "it was not started"]
