"""A tool call whose client goes away at an awkward moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from astrid_core.daemon.deadlines import Deadlines
from astrid_core.daemon.tool_call import ClientCall
from astrid_core.domain.kernel_request import KernelRequest
from astrid_hookspecs.buses import Attribution
from astrid_hookspecs.errors import ToolError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL


class Client:
    """A connection that can end."""

    def __init__(self) -> None:
        self.end: Callable[[], None] | None = None

    def begin(self) -> None: ...

    def done(self) -> None: ...

    def at_end(self, _key: object, action: Callable[[], None]) -> None:
        self.end = action

    def take_back(self, _key: object) -> Callable[[], None] | None:
        taken, self.end = self.end, None
        return taken

    def leave(self) -> None:
        end = self.take_back(None)
        assert end is not None
        end()


class Answering:
    """What waits for a policy; the client leaves meanwhile."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def in_thread(self, work: Callable[..., Any], *arguments: object) -> Any:
        self._client.leave()
        return work(*arguments)


class Clients:
    """Refuses every call, and knows who listens."""

    def __init__(self) -> None:
        self.listening: set[str] = set()

    def listen(self, topic: str, _deliver: object) -> Callable[[], None]:
        self.listening.add(topic)
        return lambda: self.listening.discard(topic)

    def start_call(self, *_arguments: object, **_named: object) -> None:
        raise ToolError("the call was cancelled")


def test_a_call_that_is_refused_after_its_client_has_gone_listens_no_more() -> None:
    async def main() -> None:
        client, clients = Client(), Clients()
        call = ClientCall(
            cast("Any", client),
            "astrid.v1.response.call",
            KernelRequest("CallTool", {"name": "ask", "progress": True}, request_id=None),
            deadlines=Deadlines(asyncio.get_running_loop()),
            source_id="kernel",
        )
        answering = cast("Any", Answering(client))
        await call.start_aside(
            answering, cast("Any", clients), DEFAULT_PRINCIPAL, Attribution.VERIFIED
        )
        assert clients.listening == set()

    asyncio.run(main())
