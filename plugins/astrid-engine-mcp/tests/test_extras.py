from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import pytest
from mcp import types

from astrid_engine_mcp import bounds
from astrid_engine_mcp.connection import Connection
from astrid_engine_mcp.extras import call_extra
from astrid_hookspecs.errors import ToolError
from astrid_hookspecs.tool_servers import ToolAnswer


class Endless:
    """A server that always has one more page; the first one says most."""

    def __init__(self, numbers: int, *, later: int = 0) -> None:
        self.pages = 0
        self._numbers = numbers
        self._later = later

    async def request(self, request: object, result: Any, *, under_way: object) -> Any:
        assert under_way is None
        if isinstance(request, types.ListResourceTemplatesRequest):
            return types.ListResourceTemplatesResult(resource_templates=[])
        self.pages += 1
        count = self._numbers if self.pages == 1 else self._later
        entry = {"uri": "memo://x", "name": "x", "_meta": {"numbers": [1] * count}}
        field = "resources" if result is types.ListResourcesResult else "prompts"
        return result.model_validate({field: [entry], "nextCursor": "more"})


def ask(server: Endless, name: str) -> ToolAnswer:
    connection = cast("Connection", server)
    return asyncio.run(call_extra(connection, name, {}, under_way=cast("Any", None)))


@pytest.mark.parametrize("name", ["list_resources", "list_prompts"])
def test_a_list_without_end_costs_what_it_holds(name: str) -> None:
    server = Endless(1_000_000)
    began = time.process_time()
    answer = ask(server, name)
    assert time.process_time() - began < 5
    assert server.pages == bounds.PAGES
    assert len(answer.content) < bounds.LIST_BYTES


@pytest.mark.parametrize("name", ["list_resources", "list_prompts"])
def test_a_list_is_given_up_when_it_is_too_long(name: str) -> None:
    server = Endless(300_000, later=300_000)
    with pytest.raises(ToolError, match="more than 4 MiB"):
        ask(server, name)
    assert server.pages == 5
