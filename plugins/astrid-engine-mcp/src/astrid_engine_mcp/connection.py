"""One server as one principal has it: from its start to its end, with the SDK's session between.

Everything here runs on the engine's loop. A connection is one task, because the session and the
transport have to be left by the task that entered them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from mcp import ClientSession, MCPError, types
from mcp.client._transport import ReadStream, WriteStream
from mcp.client.session import ClientRequestContext, IncomingMessage, LoggingFnT, MessageHandlerFnT
from mcp.shared.dispatcher import ProgressFnT
from mcp.shared.message import SessionMessage
from mcp_types import CONNECTION_CLOSED
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_HANDSHAKE_VERSION
from pydantic import BaseModel, ValidationError

from astrid_engine_mcp import bounds
from astrid_engine_mcp.content import dumped
from astrid_engine_mcp.patience import Patience
from astrid_engine_mcp.questions import Questions, refusal
from astrid_engine_mcp.stdio import Ended, Log, Streams
from astrid_hookspecs.engines import Call
from astrid_hookspecs.errors import AstridError, ServerError
from astrid_hookspecs.values import Principal

CLIENT: Final = types.Implementation(name="astrid", version="1")
PLANNED: Final = frozenset({"idle", "unloaded", "evicted"})
"""Reasons of ends that say nothing against a server."""
_DEFINITION: Final = (
    *("name", "title", "description", "inputSchema", "outputSchema", "annotations"),
)
_NOBODYS: Final = "nobody's call is under way that this could be about"
_SEVERAL: Final = "calls of several principals are under way, so nobody can tell whom to ask"
_OVER: Final = "the call that it asked for is over"
_BUSY: Final = "it asks too much at the same time"
_LOOK_S: Final = 5.0
_CLOSED: Final = "Connection closed"
_RELIST_S: Final = 0.2
ResultT = TypeVar("ResultT", bound=BaseModel)


class Transport(Protocol):
    """Opens the streams of one connection."""

    def __call__(self, *, ended: Ended, log: Log) -> AbstractAsyncContextManager[Streams]:
        """The streams; left when the connection is over."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class UnderWay:
    """A call that a server works on.

    Attributes:
        call: Of the kernel.
        patience: Its clock.
    """

    call: Call
    patience: Patience


@dataclass(frozen=True, slots=True)
class Asking:
    """What a server may ask, and who answers.

    Attributes:
        questions: Answers; what the server was not told that it may ask is refused there.
        people: Whether it is told that it may ask people.
        models: Whether it is told that it may ask models.
    """

    questions: Questions
    people: bool = False
    models: bool = False

    def capabilities(self) -> types.ClientCapabilities:
        """What the server is told."""
        forms = types.ElicitationCapability(form=types.FormElicitationCapability())
        return types.ClientCapabilities(
            roots=types.RootsCapability(list_changed=False),
            elicitation=forms if self.people else None,
            sampling=types.SamplingCapability() if self.models else None,
        )


Listed = Callable[["Connection", Sequence[Mapping[str, Any]]], Awaitable[None]]

Asked = Callable[[types.InputRequest], Awaitable[types.InputResponse | types.ErrorData]]


class Connection:
    """A server that was started, or is being started.

    Args:
        name: For messages.
        transport: Opens its streams.
        roots: What it is told when it asks for roots, as URIs.
        asking: What it may ask besides.
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
        roots: tuple[str, ...],
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
        self._roots = roots
        self._asking = asking
        self._under_way: set[UnderWay] = set()
        self._questions: dict[asyncio.Task[Any], Principal] = {}
        self._listed = listed
        self._log = log
        self._ended = Ended()
        self._session: ClientSession | None = None
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._started.add_done_callback(_look_at)
        self._relist: asyncio.Task[None] | None = None
        self._asides: set[asyncio.Task[None]] = set()
        self.task = asyncio.create_task(self._run())

    @property
    def reason(self) -> str:
        """Why it is over; empty while it is not."""
        return self._ended.reason

    @property
    def is_over(self) -> bool:
        """Whether no call can be made any more."""
        return self._ended.event.is_set() or self.task.done()

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
        self._under_way.add(under_way)
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
            self._under_way.discard(under_way)
            self._end_questions(under_way.call.principal)

    async def _run(self) -> None:
        try:
            async with self._transport(ended=self._ended, log=self._log) as streams:
                session = _Session(
                    *streams, log=self._on_log, message=self._on_message, asked=self._on_asked
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
            if not self._started.done():
                self._started.set_exception(self._not_started(None))
            relist = () if self._relist is None else (self._relist,)
            for task in (*self._asides, *self._questions, *relist):
                task.cancel()

    async def _greet(self, session: ClientSession) -> None:
        # Not the SDK's `initialize`: it would promise what this client does not do.
        params = types.InitializeRequestParams(
            protocol_version=LATEST_HANDSHAKE_VERSION,
            capabilities=self._asking.capabilities(),
            client_info=CLIENT,
        )
        hello = await session.send_request(
            types.InitializeRequest(params=params), types.InitializeResult
        )
        if hello.protocol_version not in HANDSHAKE_PROTOCOL_VERSIONS:
            raise ServerError(
                f"server {self.name!r} speaks another version of the protocol",
                code="engine.server.protocol",
            )
        session.adopt(hello)
        await session.send_notification(types.InitializedNotification())
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
        if self.capabilities.tools is not None:
            cursor: str | None = None
            for _page in range(bounds.PAGES):
                params = types.PaginatedRequestParams(cursor=cursor) if cursor else None
                page = await session.send_request(
                    types.ListToolsRequest(params=params), types.ListToolsResult
                )
                found += [_definition(tool) for tool in page.tools]
                cursor = page.next_cursor
                if not cursor or len(found) > bounds.TOOLS:
                    break
        if len(found) > bounds.TOOLS:
            self._log("WARN", f"it lists more than {bounds.TOOLS} tools; the rest is left out")
        await self._listed(self, found[: bounds.TOOLS])

    async def _on_message(self, message: IncomingMessage) -> None:
        if isinstance(message, types.ToolListChangedNotification) and (
            self._relist is None or self._relist.done()
        ):
            self._relist = asyncio.create_task(self._list_again())

    async def _list_again(self) -> None:
        """Once for all changes of a moment."""
        await asyncio.sleep(_RELIST_S)
        await self.list_again()

    async def _on_log(self, params: types.LoggingMessageNotificationParams) -> None:
        level = {"debug": "DEBUG", "info": "INFO", "notice": "INFO", "warning": "WARN"}
        text = params.data if isinstance(params.data, str) else repr(params.data)
        self._log(level.get(params.level, "ERROR"), text[: bounds.LOG_LINE_BYTES])

    async def _on_asked(self, request: types.InputRequest) -> types.InputResponse | types.ErrorData:
        """Answer what the server asks, for the one principal whose calls it works on."""
        if isinstance(request, types.ListRootsRequest):
            roots = [types.Root.model_validate({"uri": uri}) for uri in self._roots]
            return types.ListRootsResult(roots=roots)
        principals = {one.call.principal for one in self._under_way}
        if len(principals) != 1:
            why = _SEVERAL if principals else _NOBODYS
            return refusal(why, code=types.INVALID_REQUEST)
        if len(self._questions) >= bounds.QUESTIONS:
            return refusal(_BUSY, code=types.INVALID_REQUEST)
        asked_for = tuple(self._under_way)
        call = asked_for[0].call
        asking = asyncio.ensure_future(self._asking.questions.answer(self.name, request, call))
        self._questions[asking] = call.principal
        for one in asked_for:
            one.patience.begin()
        try:
            await asyncio.wait((asking,))
            if asking.cancelled():
                return refusal(_OVER, code=types.INVALID_REQUEST)
            return asking.result()
        finally:
            asking.cancel()
            del self._questions[asking]
            for one in asked_for:
                one.patience.end()

    def _end_questions(self, principal: Principal) -> None:
        """Nobody waits for answers once the last call of a principal is over."""
        if any(one.call.principal == principal for one in self._under_way):
            return
        for asking, whose in tuple(self._questions.items()):
            if whose == principal:
                asking.cancel()

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


class _Session(ClientSession):
    """The SDK's session, which leaves whatever a server asks to one function."""

    def __init__(
        self,
        reader: ReadStream[SessionMessage | Exception],
        writer: WriteStream[SessionMessage],
        *,
        log: LoggingFnT,
        message: MessageHandlerFnT,
        asked: Asked,
    ) -> None:
        super().__init__(
            reader, writer, logging_callback=log, message_handler=message, client_info=CLIENT
        )
        self._asked = asked

    async def dispatch_input_request(
        self, ctx: ClientRequestContext, request: types.InputRequest
    ) -> types.InputResponse | types.ErrorData:
        """As the base class."""
        del ctx
        return await self._asked(request)


def _definition(tool: types.Tool) -> dict[str, Any]:
    """What a model may read of a tool."""
    shown = dumped(tool)
    return {key: shown[key] for key in _DEFINITION if key in shown}


def _look_at(future: asyncio.Future[None]) -> None:
    """Take the exception, so that a start which nobody waited for is no warning."""
    if not future.cancelled():
        future.exception()
