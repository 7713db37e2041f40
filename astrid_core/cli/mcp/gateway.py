"""An MCP server in front of the daemon: lists what a principal may call, and calls it.

Trusted with the principal: everything is asked for the one it was started for, and the kernel
decides about each call, also of a tool that was not listed or that `--only` leaves out: its refusal
is on record. Nothing is refused here but names that no tool can have.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Mapping
from typing import Any, Final

import anyio
import anyio.to_thread
import mcp_types as types
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from astrid_core.cli.attending import Reply
from astrid_core.cli.mcp.calls import PATIENCE_S, Call, Context, input_required, replies
from astrid_core.cli.mcp.lines import Lines
from astrid_core.cli.mcp.names import ServedTool, served_tools, target_of
from astrid_core.domain.tool_filter import EVERYTHING, ToolFilter
from astrid_core.domain.version import VERSION
from astrid_core.security.client_checks import NOT_OFFERED
from astrid_hookspecs.errors import AstridError, ToolNotFoundError

_MAX_REMEMBERED: Final = 1024
"""Questions asked lately; every one of them is asked of each connection at the same time."""
_MAX_LISTENERS: Final = 256
_MAX_CALLS: Final = 128
"""At the same time; each has a thread and a connection, and waits longer than they would take."""
_TOGETHER_S: Final = 0.2
_NEWS_S: Final = 5.0
"""How long a client may take to read that there are other tools."""
_INSTRUCTIONS: Final = (
    "Tools run in a sandbox on the person's machine, under a policy of theirs. A refusal names the "
    "rule; do not try to get around it, tell the person."
)


class _AnnouncingServer(Server[Any]):
    """Says to clients, over either transport, that it tells them when there are other tools."""

    def create_initialization_options(
        self, notification_options: NotificationOptions | None = None, *args: Any, **more: Any
    ) -> InitializationOptions:
        options = notification_options or NotificationOptions(tools_changed=True)
        return super().create_initialization_options(options, *args, **more)


class Gateway:
    """Serves one principal to any number of clients.

    Args:
        lines: Connections for it.
        only: What is served of what it may call.
    """

    def __init__(self, lines: Lines, *, only: ToolFilter = EVERYTHING) -> None:
        self._lines = lines
        self._only = only
        self._tools: Mapping[str, ServedTool] = {}
        self._asked: dict[str, None] = {}
        self._lock = threading.Lock()
        self._calls: dict[str, Call] = {}
        self._running = 0
        self._listeners: dict[int, Any] = {}
        self._news = InMemorySubscriptionBus()
        self._is_news = False

    def server(self) -> Server[Any]:
        """The protocol side."""
        return _AnnouncingServer(
            "astrid",
            version=VERSION,
            instructions=_INSTRUCTIONS,
            on_list_tools=self._list,
            on_call_tool=self._call,
            on_subscriptions_listen=ListenHandler(self._news, max_subscriptions=_MAX_LISTENERS),
        )

    async def tools_changed(self) -> None:
        """Tell every client that listens, or asked before, that there may be other tools now."""
        if self._is_news:  # said together with what came before
            return
        self._is_news = True
        await anyio.sleep(_TOGETHER_S)
        self._is_news = False
        await self._news.publish(ToolsListChanged())
        for key, session in tuple(self._listeners.items()):
            try:
                with anyio.fail_after(_NEWS_S):
                    await session.send_tool_list_changed()
            except Exception:  # noqa: BLE001 - a client that has gone needs no news
                self._listeners.pop(key, None)

    async def _list(
        self, context: Context, _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        self._remember(context)
        await self._refresh()
        return types.ListToolsResult(tools=[_as_mcp(tool) for tool in self._tools.values()])

    def _remember(self, context: Context) -> None:
        """Note whom to tell: one session for each connection of a client that cannot listen."""
        if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return
        hello = context.session.client_params  # each request has a session, each connection a hello
        if hello is not None and len(self._listeners) < _MAX_LISTENERS:
            self._listeners.setdefault(id(hello), context.session)

    async def _call(
        self, context: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        tool = self._tools.get(params.name)
        if tool is None:
            await self._refresh()
            tool = self._tools.get(params.name)
        target = target_of(params.name) if tool is None else tool.target
        if target is None:
            raise _no_tool(params.name)
        call = self._calls.pop(params.request_state or "", None)
        if call is None:
            if self._running >= _MAX_CALLS:
                raise MCPError(types.INTERNAL_ERROR, f"{_MAX_CALLS} calls are under way already")
            call = Call(self, target, params.arguments or {}, context)
        else:
            for reply in replies(call, params.input_responses or {}):
                call.settle(reply)
                await self._deliver(reply)
        self._running += 1
        try:
            outcome = await call.proceed(context)
        finally:
            self._running -= 1
        if outcome is None:
            self._calls[call.token] = call
            asyncio.get_running_loop().call_later(PATIENCE_S, self._calls.pop, call.token, None)
            return input_required(call)
        if not isinstance(outcome, AstridError):
            return _as_result(outcome)
        is_missing = outcome.code == ToolNotFoundError.default_code
        if is_missing or getattr(outcome, "rule", None) == NOT_OFFERED:
            raise _no_tool(params.name)
        return _as_failure(outcome)

    async def _refresh(self) -> None:
        rows = await anyio.to_thread.run_sync(self._rows)
        self._tools = {tool.name: tool for tool in served_tools(rows, only=self._only)}

    def _rows(self) -> list[Mapping[str, Any]]:
        client = self._lines.take()
        try:
            rows: list[Mapping[str, Any]] = client.request("ListTools").data
        except AstridError as error:
            client.close()
            raise _as_error(error) from error
        self._lines.give_back(client)
        return rows

    async def _deliver(self, reply: Reply) -> None:
        def deliver() -> None:
            client = self._lines.take()
            try:
                client.publish(reply.topic, reply.payload)
                client.request("GetStatus")  # what was published before it has been dealt with
            except BaseException:
                client.close()
                raise
            self._lines.give_back(client)

        await anyio.to_thread.run_sync(deliver)

    def claim(self, request_id: str) -> bool:
        """As `Desk.claim`; from any thread."""
        with self._lock:
            if request_id in self._asked:
                return False
            if len(self._asked) >= _MAX_REMEMBERED:
                del self._asked[next(iter(self._asked))]
            self._asked[request_id] = None
            return True

    def release(self, request_id: str) -> None:
        """As `Desk.release`; from any thread."""
        with self._lock:
            self._asked.pop(request_id, None)

    @property
    def lines(self) -> Lines:
        """Connections to the daemon."""
        return self._lines

    @property
    def only(self) -> ToolFilter:
        """What is served of what the principal may call; the kernel holds calls to it."""
        return self._only


def _as_mcp(tool: ServedTool) -> types.Tool:
    row = tool.row
    annotations = row.get("annotations") or None
    return types.Tool(
        name=tool.name,
        description=row.get("description") or None,
        input_schema=tool.input_schema,
        output_schema=row.get("output_schema") or None,
        annotations=None
        if annotations is None
        else types.ToolAnnotations.model_validate(annotations),
    )


def _as_result(data: Mapping[str, Any]) -> types.CallToolResult:
    blocks = data.get("blocks") or [{"type": "text", "text": str(data["content"])}]
    return types.CallToolResult.model_validate(
        {
            "content": blocks,
            "structuredContent": data.get("structured"),
            "isError": bool(data["is_error"]),
        }
    )


def _as_failure(error: AstridError) -> types.CallToolResult:
    """A failure as the model reads it: what happened, which rule, and what to do."""
    lines = [error.message]
    rule = getattr(error, "rule", None)
    if rule:
        lines.append(f"rule: {rule}")
    if error.hint:
        lines.append(f"hint: {error.hint}")
    facts = {"code": error.code, "message": error.message, "hint": error.hint, "rule": rule}
    return types.CallToolResult(
        content=[types.TextContent(text="\n".join(lines))],
        structured_content={"error": json.loads(json.dumps(facts))},
        is_error=True,
    )


def _no_tool(name: str) -> MCPError:
    return MCPError(types.INVALID_PARAMS, f"there is no tool {name!r} here")


def _as_error(error: AstridError) -> MCPError:
    return MCPError(types.INTERNAL_ERROR, f"{error.message} ({error.code})")
