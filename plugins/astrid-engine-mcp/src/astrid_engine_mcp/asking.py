"""What one server may ask, and about whose calls.

Trusted with the principal: over a pipe nothing says which call a question is about, so it belongs
to the one principal whose calls the server works on, or to nobody. Runs on the engine's loop.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from mcp import types

from astrid_engine_mcp import bounds
from astrid_engine_mcp.patience import Patience
from astrid_engine_mcp.questions import Questions, refusal
from astrid_hookspecs.engines import Call
from astrid_hookspecs.tool_servers import ServerGround
from astrid_hookspecs.values import Principal

_NOBODYS: Final = "nobody's call is under way that this could be about"
_SEVERAL: Final = "calls of several principals are under way, so nobody can tell whom to ask"
_OVER: Final = "the call that it asked for is over"
_BUSY: Final = "it asks too much at the same time"


@dataclass(frozen=True, eq=False, slots=True)
class UnderWay:
    """A call that a server works on.

    Attributes:
        call: Of the kernel.
        patience: Its clock.
    """

    call: Call
    patience: Patience


class Asking:
    """Answers the questions of one server.

    Args:
        server: Its id.
        ground: What it stands on.
        questions: Whom it asks; what the server was not told that it may ask is refused there.
    """

    def __init__(self, server: str, ground: ServerGround, *, questions: Questions) -> None:
        self._server = server
        self._ground = ground
        self._questions = questions
        self._under_way: set[UnderWay] = set()
        self._open: dict[asyncio.Task[Any], Principal] = {}

    def capabilities(self) -> types.ClientCapabilities:
        """What the server is told."""
        forms = types.ElicitationCapability(form=types.FormElicitationCapability())
        return types.ClientCapabilities(
            roots=types.RootsCapability(list_changed=False),
            elicitation=forms if self._ground.asks_people else None,
            sampling=types.SamplingCapability() if self._ground.asks_models else None,
        )

    def begin(self, under_way: UnderWay) -> None:
        """The server works on a call."""
        self._under_way.add(under_way)

    def end(self, under_way: UnderWay) -> None:
        """A call is over; nobody waits for answers once it was the last of its principal."""
        self._under_way.discard(under_way)
        principal = under_way.call.principal
        if any(one.call.principal == principal for one in self._under_way):
            return
        for asking, whose in tuple(self._open.items()):
            if whose == principal:
                asking.cancel()

    def close(self) -> None:
        """End every question."""
        for asking in tuple(self._open):
            asking.cancel()

    async def answer(self, request: types.InputRequest) -> types.InputResponse | types.ErrorData:
        """Answer what the server asks."""
        if isinstance(request, types.ListRootsRequest):
            own = types.Root.model_validate({"uri": self._ground.directory.as_uri()})
            return types.ListRootsResult(roots=[own])
        asked_for = tuple(self._under_way)
        principals = {one.call.principal for one in asked_for}
        if len(principals) != 1:
            why = _SEVERAL if principals else _NOBODYS
            return refusal(why, code=types.INVALID_REQUEST)
        if len(self._open) >= bounds.QUESTIONS:
            return refusal(_BUSY, code=types.INVALID_REQUEST)
        call = asked_for[0].call
        asking = asyncio.ensure_future(self._questions.answer(self._server, request, call))
        self._open[asking] = call.principal
        for one in asked_for:
            one.patience.begin()
        try:
            await asyncio.wait((asking,))
            if asking.cancelled():
                return refusal(_OVER, code=types.INVALID_REQUEST)
            return asking.result()
        finally:
            asking.cancel()
            del self._open[asking]
            for one in asked_for:
                one.patience.end()
