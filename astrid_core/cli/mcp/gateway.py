"""An MCP server in front of the daemon: lists what a principal may call, and calls it.

Trusted with the principal: everything is asked for the one it was started for, and the kernel
decides about each call. What a client names that is not served is refused here already.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import anyio
import anyio.from_thread
import anyio.to_thread
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from astrid_core.cli.attending import Reply
from astrid_core.cli.mcp.lines import Lines
from astrid_core.cli.mcp.names import ServedTool, served_tools
from astrid_core.cli.mcp.people import approval_form, approval_reply, value_form, value_reply
from astrid_core.daemon.client import DaemonClient, Message
from astrid_core.daemon.client_errors import ConnectionLostError
from astrid_core.domain.topic import APPROVAL_TOPIC
from astrid_core.domain.version import VERSION
from astrid_hookspecs.errors import AstridError

PROGRESS_S: Final = 1.0
_INSTRUCTIONS: Final = (
    "Tools run in a sandbox on the person's machine, under a policy of theirs. A refusal names the "
    "rule; do not try to get around it, tell the person."
)
Context = ServerRequestContext[Any, Any]


class Gateway:
    """Serves one principal to any number of clients.

    Args:
        lines: Connections for it.
        only: Patterns of tools; none for all.
    """

    def __init__(self, lines: Lines, *, only: Sequence[str] = ()) -> None:
        self._lines = lines
        self._only = only
        self._tools: Mapping[str, ServedTool] = {}
        self._answered: set[str] = set()
        self._sessions: set[Any] = set()

    def server(self) -> Server[Any]:
        """The protocol side."""
        return Server(
            "astrid",
            version=VERSION,
            instructions=_INSTRUCTIONS,
            on_list_tools=self._list,
            on_call_tool=self._call,
        )

    async def tools_changed(self) -> None:
        """Tell every client that asked before that there may be other tools now."""
        for session in tuple(self._sessions):
            try:
                await session.send_tool_list_changed()
            except Exception:  # noqa: BLE001 - a client that has gone needs no news
                self._sessions.discard(session)

    async def _list(
        self, context: Context, _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        self._sessions.add(context.session)
        await self._refresh()
        return types.ListToolsResult(tools=[_as_mcp(tool) for tool in self._tools.values()])

    async def _call(
        self, context: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        tool = self._tools.get(params.name)
        if tool is None:
            await self._refresh()
            tool = self._tools.get(params.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"there is no tool {params.name!r} here")
        answers = getattr(params, "input_responses", None) or {}
        for request_id, response in answers.items():
            await self._deliver(_reply_of(request_id, response))
        call = _Call(self, context, tool, params.arguments or {})
        return await call.run()

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
            client.publish(reply.topic, reply.payload)
            client.request("GetStatus")  # what was published before it has been dealt with
            self._lines.give_back(client)

        await anyio.to_thread.run_sync(deliver)

    def claim(self, request_id: str) -> bool:
        """Whether a question is the caller's to ask; each is asked once, whoever hears it."""
        if request_id in self._answered:
            return False
        self._answered.add(request_id)
        return True

    def unclaim(self, request_id: str) -> None:
        """It may be asked again: the client was told to call once more."""
        self._answered.discard(request_id)

    @property
    def lines(self) -> Lines:
        """Connections to the daemon."""
        return self._lines


class _Call:
    """One call of a client: a thread waits for the daemon, the loop for the client."""

    def __init__(
        self, gateway: Gateway, context: Context, tool: ServedTool, arguments: Mapping[str, Any]
    ) -> None:
        self._gateway = gateway
        self._context = context
        self._tool = tool
        self._arguments = arguments
        self._client: DaemonClient | None = None
        self._lock = threading.Lock()
        self._is_over = False
        self._open: dict[str, Mapping[str, Any]] = {}

    async def run(self) -> types.CallToolResult | types.InputRequiredResult:
        """Call, and answer what is asked meanwhile."""
        try:
            async with anyio.create_task_group() as group:
                if (self._context.meta or {}).get("progress_token") is not None:
                    group.start_soon(self._report)
                outcome = await anyio.to_thread.run_sync(self._outcome, abandon_on_cancel=True)
                group.cancel_scope.cancel()
        finally:
            self._stop()
        if isinstance(outcome, AstridError):
            return self._refused(outcome)
        if self._open and outcome.get("is_error"):
            return self._needs_input()
        return _as_result(outcome)

    def _outcome(self) -> Mapping[str, Any] | AstridError:
        try:
            return self._ask()
        except AstridError as error:
            return error

    def _refused(self, error: AstridError) -> types.CallToolResult | types.InputRequiredResult:
        if self._open:
            return self._needs_input()
        return _as_failure(error)

    def _ask(self) -> Mapping[str, Any]:
        client = self._gateway.lines.take()
        with self._lock:
            self._client = client
            if self._is_over:
                client.close()
                raise ConnectionLostError("the client gave the call up")
        try:
            hear = partial(self._hear, client)
            answer = client.call_tool(self._tool.target, self._arguments, hear=hear)
        except (ConnectionLostError, OSError):
            client.close()
            raise
        except AstridError:
            self._done(client)
            raise
        self._done(client)
        return answer

    def _done(self, client: DaemonClient) -> None:
        with self._lock:
            self._client = None
        self._gateway.lines.give_back(client)

    def _stop(self) -> None:
        """Stop the guest, if it still runs."""
        with self._lock:
            self._is_over = True
            if self._client is not None:
                self._client.cut()

    def _hear(self, client: DaemonClient, message: Message) -> None:
        """A question that came while the call runs. On the call's thread."""
        asked = message.payload
        if not isinstance(asked, dict) or "request_id" not in asked:
            return
        if not self._gateway.claim(str(asked["request_id"])):
            return
        reply = self._decided(asked) if message.topic == APPROVAL_TOPIC else self._given(asked)
        client.publish(reply.topic, reply.payload)

    def _decided(self, asked: Mapping[str, Any]) -> Reply:
        request_id = str(asked["request_id"])
        if not self._can_ask():
            return approval_reply(request_id, "cancel", None)
        if not self._context.session.can_send_request:
            self._open[request_id] = asked
            return approval_reply(request_id, "cancel", None)
        return approval_reply(request_id, *self._elicited(*approval_form(asked)))

    def _given(self, asked: Mapping[str, Any]) -> Reply:
        form = value_form(asked)
        if form is None or not self._can_ask() or not self._context.session.can_send_request:
            return value_reply(asked, "cancel", None)
        return value_reply(asked, *self._elicited(*form))

    def _elicited(self, text: str, schema: dict[str, Any]) -> tuple[str, Mapping[str, Any] | None]:
        session, request_id = self._context.session, self._context.request_id
        try:
            result = anyio.from_thread.run(session.elicit_form, text, schema, request_id)
        except Exception:  # noqa: BLE001 - a client that fails to ask has not answered
            return "cancel", None
        return result.action, result.content

    def _can_ask(self) -> bool:
        declared = self._context.session.client_capabilities
        return declared is not None and declared.elicitation is not None

    def _needs_input(self) -> types.InputRequiredResult:
        """Ask the client to ask, and to call again: the yes waits for it in the queue."""
        requests: dict[str, Any] = {}
        for request_id, asked in self._open.items():
            text, schema = approval_form(asked)
            form = types.ElicitRequestFormParams(message=text, requested_schema=schema)
            requests[request_id] = types.ElicitRequest(params=form)
            self._gateway.unclaim(request_id)
        return types.InputRequiredResult(input_requests=requests)

    async def _report(self) -> None:
        seconds = 0.0
        while True:
            await anyio.sleep(PROGRESS_S)
            seconds += PROGRESS_S
            await self._context.session.report_progress(seconds, None, "running")


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


def _as_error(error: AstridError) -> MCPError:
    return MCPError(types.INTERNAL_ERROR, f"{error.message} ({error.code})")


def _reply_of(request_id: str, response: Any) -> Reply:
    action = str(getattr(response, "action", "cancel"))
    content = getattr(response, "content", None)
    if action not in ("accept", "decline"):
        return approval_reply(request_id, "cancel", None)
    return approval_reply(request_id, action, content)
