"""One server as one principal has it: from its start to its end, with the SDK's session between.

Everything here runs on the engine's loop. A connection is one task, because the session and the
transport have to be left by the task that entered them.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Final, Protocol, TypeVar

from mcp import ClientSession, MCPError, types
from mcp.client.session import IncomingMessage
from mcp.shared.dispatcher import ProgressFnT
from mcp_types import CONNECTION_CLOSED
from pydantic import BaseModel, ValidationError

from astrid_engine_mcp import bounds
from astrid_engine_mcp.asking import Asking, UnderWay
from astrid_engine_mcp.content import dumped
from astrid_engine_mcp.session import Session
from astrid_engine_mcp.stdio import Ended, Log, Streams
from astrid_hookspecs.errors import AstridError, ServerError
from astrid_hookspecs.process_memory import tree_memory

PLANNED: Final = frozenset({"idle", "unloaded", "evicted"})
"""Reasons of ends that say nothing against a server."""
_DEFINITION: Final = (
    *("name", "title", "description", "inputSchema", "outputSchema", "annotations"),
)
_LOOK_S: Final = 5.0
_CLOSED: Final = "Connection closed"
_RELIST_S: Final = 0.2
ResultT = TypeVar("ResultT", bound=BaseModel)


class Transport(Protocol):
    """Opens the streams of one connection."""

    def __call__(self, *, ended: Ended, log: Log) -> AbstractAsyncContextManager[Streams]:
        """The streams; left when the connection is over."""
        ...


Listed = Callable[["Connection", Sequence[Mapping[str, Any]]], Awaitable[None]]


class Connection:
    """A server that was started, or is being started.

    Args:
        name: For messages.
        transport: Opens its streams.
        asking: Answers what it asks.
        listed: Told of every list of tools, the first one before anybody can call.
        log: Takes what it logs.

    Attributes:
        usable: The server's own name of each tool that may be called, by its name on the bus.
        capabilities: What it can do; after the start.
        calls: How many are under way.
        used: When the latest call began, monotonic.
    """

    def __init__(
        self,
        name: str,
        *,
        transport: Transport,
        asking: Asking,
        listed: Listed,
        log: Log,
    ) -> None:
        self.name = name
        self.usable: Mapping[str, str] = {}
        self.has_hook = False
        self.capabilities = types.ServerCapabilities()
        self.calls = 0
        self.used = self.since = time.monotonic()
        self._transport = transport
        self._asking = asking
        self._listed = listed
        self._log = log
        self._ended = Ended()
        self._session: ClientSession | None = None
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._started.add_done_callback(_look_at)
        self._relist: asyncio.Task[None] | None = None
        self._relisted = 0.0
        self._asides: set[asyncio.Task[None]] = set()
        self.task = asyncio.create_task(self._run())
        self.task.add_done_callback(self._settle)

    @property
    def reason(self) -> str:
        """Why it is over; empty while it is not."""
        return self._ended.reason

    @property
    def is_over(self) -> bool:
        """Whether no call can be made any more."""
        return self._ended.event.is_set() or self.task.done()

    @property
    def is_idle(self) -> bool:
        """Whether it has started, and nobody uses it or waits for it."""
        return self.calls == 0 and self._started.done() and not self.is_over

    def memory_bytes(self) -> int:
        """What its process and the descendants of it use now; 0 without a process. Any thread."""
        process = self._ended.process
        if process is None or process.returncode is not None:
            return 0
        return tree_memory(process.pid)

    async def ready(self) -> None:
        """Wait until it can be called.

        Raises:
            ServerError: It did not start.
            AstridError: It may not be started.
        """
        await asyncio.shield(self._started)

    def stop(self, reason: str) -> None:
        """Ask it to end."""
        self._ended.set(reason)
        if not self._started.done():
            self.task.cancel()

    async def list_again(self) -> None:
        """Ask for the list of tools again and have it judged."""
        session = self._session
        if session is None:
            return
        try:
            await self._list(session)
        except (MCPError, ValidationError, AstridError) as error:
            self._log("WARN", f"its tools cannot be listed again: {type(error).__name__}")

    async def request(
        self,
        request: types.ClientRequest,
        result: type[ResultT],
        *,
        under_way: UnderWay,
        progress: ProgressFnT | None = None,
    ) -> ResultT:
        """Ask the server; a caller that is cancelled tells it so.

        Args:
            request: What.
            result: What comes back.
            under_way: For whose call; whom the server may ask until it is over.
            progress: Told how far it is.

        Raises:
            MCPError: The server answered with an error.
            ServerError: `engine.server.ended`, `engine.server.protocol`.
        """
        await self.ready()
        session = self._session
        if session is None or self.is_over:
            raise self._over()
        self.calls += 1
        self.used = time.monotonic()
        self._asking.begin(under_way)
        try:
            return await session.send_request(request, result, progress_callback=progress)
        except asyncio.CancelledError:
            self._aside(self._check_alive(session))
            raise
        except MCPError as error:
            # Servers use this code as well, so the SDK's own words decide.
            is_closed = (error.code, error.message) == (CONNECTION_CLOSED, _CLOSED)
            if is_closed or self._ended.event.is_set():
                await self._settle_reason()
                raise self._over() from error
            raise
        except (ValidationError, ValueError) as error:
            raise ServerError(
                f"server {self.name!r} broke the protocol", code="engine.server.protocol"
            ) from error
        finally:
            self.calls -= 1
            self._asking.end(under_way)

    async def _run(self) -> None:
        try:
            async with self._transport(ended=self._ended, log=self._log) as streams:
                session = Session(
                    *streams, log=self._on_log, message=self._on_message, asking=self._asking
                )
                async with session:
                    async with asyncio.timeout(bounds.START_S):
                        await self._greet(session)
                    self._started.set_result(None)
                    await self._until_over()
        except asyncio.CancelledError:
            self._ended.set("unloaded")
            raise
        except AstridError as error:
            self._fail(error)
        except TimeoutError as error:
            self._ended.set(f"it did not start within {bounds.START_S:g} s")
            self._fail(self._not_started(error))
        except Exception as error:  # noqa: BLE001 - whatever a server provokes ends its connection
            await self._settle_reason()
            self._fail(self._not_started(error))
        finally:
            self._ended.set("it ended")
            self._session = None
            relist = () if self._relist is None else (self._relist,)
            self._asking.close()
            for task in (*self._asides, *relist):
                task.cancel()

    def _settle(self, _task: asyncio.Task[None]) -> None:
        """Tell who waits for the start: who is stopped before its first step comes here only."""
        self._ended.set("it ended")
        if not self._started.done():
            self._started.set_exception(self._not_started(None))

    async def _greet(self, session: Session) -> None:
        hello = await session.greet()
        self.capabilities = hello.capabilities
        self._session = session
        await self._list(session)

    async def _settle_reason(self) -> None:
        """Wait a moment for the reason of an end: the session may hear of it before it is known."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.event.wait(), bounds.STOP_S)
        self._ended.set("it broke the protocol")

    async def _until_over(self) -> None:
        while not self._ended.event.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.event.wait(), _LOOK_S)
            if self.calls == 0 and time.monotonic() - self.used > bounds.IDLE_S:
                self._ended.set("idle")

    async def _list(self, session: ClientSession) -> None:
        """Read the list of tools, page by page, within bounds."""
        found: list[dict[str, Any]] = []
        size = 0
        if self.capabilities.tools is not None:
            cursor: str | None = None
            for _page in range(bounds.PAGES):
                params = types.PaginatedRequestParams(cursor=cursor) if cursor else None
                page = await session.send_request(
                    types.ListToolsRequest(params=params), types.ListToolsResult
                )
                listed = [_definition(tool) for tool in page.tools]
                size += len(json.dumps(listed))
                if size > bounds.LIST_BYTES:
                    self._log("WARN", "its list of tools is too long; the rest is left out")
                    break
                found += listed
                cursor = page.next_cursor
                if not cursor or len(found) > bounds.TOOLS:
                    break
        if len(found) > bounds.TOOLS:
            self._log("WARN", f"it lists more than {bounds.TOOLS} tools; the rest is left out")
        self._relisted = time.monotonic()
        await self._listed(self, found[: bounds.TOOLS])

    async def _on_message(self, message: IncomingMessage) -> None:
        if isinstance(message, types.ToolListChangedNotification) and (
            self._relist is None or self._relist.done()
        ):
            self._relist = asyncio.create_task(self._list_again())

    async def _list_again(self) -> None:
        """Once for all changes of a moment, and not again and again."""
        pause_s = self._relisted + bounds.RELIST_S - time.monotonic()
        await asyncio.sleep(max(pause_s, _RELIST_S))
        await self.list_again()

    async def _on_log(self, params: types.LoggingMessageNotificationParams) -> None:
        level = {"debug": "DEBUG", "info": "INFO", "notice": "INFO", "warning": "WARN"}
        text = params.data if isinstance(params.data, str) else repr(params.data)
        self._log(level.get(params.level, "ERROR"), text[: bounds.LOG_LINE_BYTES])

    async def _check_alive(self, session: ClientSession) -> None:
        """After a call that was given up: a server that does not even answer a ping has to go."""
        try:
            async with asyncio.timeout(bounds.PING_S):
                await session.send_ping()
        except TimeoutError:
            self._ended.set("it does not answer")
        except MCPError:
            return  # an error is an answer

    def _aside(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._asides.add(task)
        task.add_done_callback(self._asides.discard)

    def _fail(self, error: Exception) -> None:
        self._ended.set(getattr(error, "message", type(error).__name__))
        if not self._started.done():
            self._started.set_exception(error)

    def _not_started(self, error: Exception | None) -> ServerError:
        why = self._ended.reason or "it broke the protocol"
        if isinstance(error, MCPError):
            why = self._ended.reason or f"it refused: {error.message[:200]}"
        return ServerError(
            f"server {self.name!r} did not start: {why}",
            code="engine.server.start",
            hint="its log says more: astrid logs CAPSULE",
        )

    def _over(self) -> ServerError:
        return ServerError(
            f"server {self.name!r} is gone: {self._ended.reason or 'it ended'}",
            code="engine.server.ended",
            hint="the next call starts it again; its log says more",
        )


def _definition(tool: types.Tool) -> dict[str, Any]:
    """What a model may read of a tool."""
    shown = dumped(tool)
    return {key: shown[key] for key in _DEFINITION if key in shown}


def _look_at(future: asyncio.Future[None]) -> None:
    """Take the exception, so that a start which nobody waited for is no warning."""
    if not future.cancelled():
        future.exception()
