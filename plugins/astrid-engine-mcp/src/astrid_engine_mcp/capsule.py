"""A loaded capsule with MCP servers: from calls on kernel threads to requests on the loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import math
import time
from collections.abc import Coroutine, Mapping
from typing import Any, Final, Literal, TypeVar

from mcp import MCPError, types

from astrid_engine_mcp.asking import UnderWay
from astrid_engine_mcp.bounds import LOG_LINE_BYTES, START_S, STARTS
from astrid_engine_mcp.content import tool_answer
from astrid_engine_mcp.extras import NAMES, call_extra, subject_of
from astrid_engine_mcp.loop import LoopThread
from astrid_engine_mcp.patience import Patience
from astrid_engine_mcp.pins import HOOK_TOOL, PinBook
from astrid_engine_mcp.servers import Servers
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.engines import Call, GuestResult, Health, MemoryUse, Readiness
from astrid_hookspecs.errors import (
    AstridError,
    EngineError,
    ServerError,
    ToolError,
    ToolNotFoundError,
    UnsupportedActionError,
)
from astrid_hookspecs.tool_servers import OfferedTool, ToolAnswer, ToolHost, ToolPin
from astrid_hookspecs.values import Principal

T = TypeVar("T")
_ACTION: Final = "tool_execute_"
_PROGRESS_S: Final = 0.05
"""Progress is passed on at most this often."""


class McpCapsule:
    """Implements `LoadedCapsule` and `PinnedTools`.

    Args:
        ids: Of its servers, in declaration order.
        servers: Its connections.
        host: The kernel's side.
        book: What was accepted.
        loop: Where connections live.
    """

    def __init__(
        self,
        ids: tuple[str, ...],
        *,
        servers: Servers,
        host: ToolHost,
        book: PinBook,
        loop: LoopThread,
    ) -> None:
        self._ids = ids
        self._servers = servers
        self._host = host
        self._book = book
        self._loop = loop
        self._stop = CancelToken()
        self._first: concurrent.futures.Future[str] | None = None
        self._counts = {"calls": 0, "failures": 0}

    def start(self, call: Call) -> None:
        """Ask servers that were never asked before for their tools; returns at once."""
        self._servers.offer()
        unknown = [server for server in self._ids if not self._book.knows(server)]
        if unknown:
            self._first = self._loop.submit(self._discover(unknown, call.principal))

    def is_run_loop(self) -> bool:
        """As `LoadedCapsule.is_run_loop`."""
        return False

    def wait_ready(self, *, timeout_s: float) -> Readiness:
        """As `LoadedCapsule.wait_ready`: until every server was asked once."""
        if self._first is None:
            return Readiness.READY
        try:
            problem = self._first.result(timeout_s)
        except concurrent.futures.TimeoutError:
            return Readiness.TIMEOUT
        except concurrent.futures.CancelledError:
            return Readiness.CRASHED
        return Readiness.CRASHED if problem else Readiness.READY

    def invoke(self, action: str, payload: bytes, call: Call) -> GuestResult:
        """As `LoadedCapsule.invoke`; a tool's answer is published, not returned.

        Raises:
            ServerError: The server did not start, broke the protocol or ended.
        """
        self._counts["calls"] += 1
        name = action.removeprefix(_ACTION)
        tool = self._servers.offered(name) if name != action else None
        try:
            if tool is None:
                return self._intercept(action, payload, call)
            self._call_tool(tool, payload, call)
        except EngineError:
            self._counts["failures"] += 1
            raise
        return GuestResult("continue", None)

    def lifecycle(self, phase: Literal["astrid-install", "astrid-upgrade"], call: Call) -> bool:
        """As `LoadedCapsule.lifecycle`: servers have no such hooks."""
        del phase, call
        return False

    def health(self) -> Health:
        """Bad while its first start has failed; what fails later is started again on demand."""
        if self._first is not None and self._first.done() and not self._first.cancelled():
            problem = self._first.result()
            if problem:
                return Health(ok=False, reason=problem)
        return Health(ok=True)

    def evict(self, principal: Principal) -> None:
        """As `LoadedCapsule.evict`."""
        self._loop.submit(self._stop_idle(principal))

    def stats(self) -> Mapping[str, int]:
        """As `LoadedCapsule.stats`."""
        return {
            **self._counts,
            "instances": self._servers.count(),
            "starts": self._servers.starts,
            "ends": self._servers.ends,
        }

    def memory(self) -> Mapping[Principal, MemoryUse]:
        """As `LoadedCapsule.memory`: of the processes; no limit bounds one, so none has a peak."""
        return {
            principal: MemoryUse(current_bytes=size, peak_bytes=0)
            for principal, size in self._servers.memory().items()
        }

    def unload(self, *, grace_s: float) -> None:
        """As `LoadedCapsule.unload`."""
        self._stop.fire()
        if self._first is not None:
            self._first.cancel()
        self._loop.finish(self._servers.close(), timeout_s=max(grace_s, 0.0) + START_S)

    def pins(self) -> tuple[ToolPin, ...]:
        """As `PinnedTools.pins`."""
        return self._book.pins()

    def approve(self, server: str, tool: str, *, proposed: str) -> ToolPin:
        """As `PinnedTools.approve`; running servers are asked again for their tools."""
        pin = self._book.approve(server, tool, proposed=proposed)
        self._loop.finish(self._servers.judge_again(server), timeout_s=START_S)
        self._servers.offer()
        return pin

    async def _discover(self, unknown: list[str], principal: Principal) -> str:
        """Ask each server once.

        Returns:
            What was wrong; empty when all answered.
        """
        turns = asyncio.Semaphore(STARTS)

        async def ask(server: str) -> None:
            async with turns:
                await self._servers.get(server, principal)

        results = await asyncio.gather(*map(ask, unknown), return_exceptions=True)
        problems = [result for result in results if isinstance(result, Exception)]
        return "; ".join(
            error.message if isinstance(error, AstridError) else type(error).__name__
            for error in problems
        )

    def _call_tool(self, tool: OfferedTool, payload: bytes, call: Call) -> None:
        call_id, arguments = _request(payload)
        is_extra = tool.tool in NAMES and tool.name == f"{tool.server}:{tool.tool}"
        if is_extra and (what := subject_of(tool.tool, arguments)):
            kind: Literal["resource", "prompt"] = (
                "resource" if tool.tool == "read_resource" else "prompt"
            )
            self._host.record_use(call, kind=kind, server=tool.server, what=what)
        under_way = UnderWay(call, Patience())
        work = self._ask(tool, call_id, arguments, under_way=under_way, is_extra=is_extra)
        answer = self._wait(work, under_way, what=f"{tool.name!r}")
        self._host.answer(call, tool.name, call_id=call_id, answer=answer)

    async def _ask(
        self,
        tool: OfferedTool,
        call_id: str,
        arguments: dict[str, Any],
        *,
        under_way: UnderWay,
        is_extra: bool,
    ) -> ToolAnswer:
        call = under_way.call
        connection = await self._servers.get(tool.server, call.principal)
        try:
            if is_extra:
                return await call_extra(connection, tool.tool, arguments, under_way=under_way)
            name = connection.usable.get(tool.name)
            if name is None:
                raise ToolNotFoundError(
                    f"server {tool.server!r} does not have {tool.name!r} as it was accepted",
                    code="tool.blocked",
                    hint="see what changed: astrid mcp pins",
                )
            params = types.CallToolRequestParams(name=name, arguments=arguments)
            # Not the SDK's `call_tool`: it checks answers with patterns that the server wrote,
            # which can take for ever.
            result = await connection.request(
                types.CallToolRequest(params=params),
                types.CallToolResult,
                under_way=under_way,
                progress=_Progress(self._host, call, tool.name, call_id),
            )
            return tool_answer(result)
        except MCPError as error:
            return ToolAnswer(f"the server refused: {error.message}", is_error=True)

    def _intercept(self, action: str, payload: bytes, call: Call) -> GuestResult:
        """Let a server's hook tool answer. Spec: capsules-and-bus 5.2, vector 119."""
        try:
            value = json.loads(payload) if payload else None
        except ValueError as error:
            raise EngineError(
                f"the payload of {action!r} is not JSON", code="engine.payload"
            ) from error
        under_way = UnderWay(call, Patience())
        text = self._wait(self._ask_hook(action, value, under_way), under_way, what=f"{action!r}")
        return GuestResult("continue", None if text in ("", "null") else text)

    def _wait(self, work: Coroutine[Any, Any, T], under_way: UnderWay, *, what: str) -> T:
        """Wait for work on the loop, on a kernel thread."""
        with self._host.blocked():
            return self._loop.wait(
                work, under_way.call, stop=self._stop, patience=under_way.patience, what=what
            )

    async def _ask_hook(self, action: str, value: object, under_way: UnderWay) -> str:
        call = under_way.call
        for server in self._ids:
            connection = await self._servers.get(server, call.principal)
            if not connection.has_hook:
                continue
            params = types.CallToolRequestParams(
                name=HOOK_TOOL, arguments={"hook": action, "payload": value}
            )
            try:
                result = await connection.request(
                    types.CallToolRequest(params=params),
                    types.CallToolResult,
                    under_way=under_way,
                )
            except (MCPError, ServerError) as error:
                self._host.log(
                    call.principal, "WARN", f"{server}: hook {action}: {type(error).__name__}"
                )
                return ""
            if result.is_error:
                self._host.log(call.principal, "WARN", f"{server}: hook {action} failed")
                return ""
            return "".join(
                block.text for block in result.content if isinstance(block, types.TextContent)
            )
        raise UnsupportedActionError(f"no server here answers {action!r}")

    async def _stop_idle(self, principal: Principal) -> None:
        self._servers.stop(principal, reason="evicted")


class _Progress:
    """Passes progress on, not faster than anybody looks."""

    def __init__(self, host: ToolHost, call: Call, tool: str, call_id: str) -> None:
        self._host = host
        self._call = call
        self._tool = tool
        self._call_id = call_id
        self._last = 0.0
        self._is_over = False

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        if not math.isfinite(progress):
            return
        now = time.monotonic()
        is_end = progress == total and not self._is_over
        if now - self._last < _PROGRESS_S and not is_end:
            return
        self._last, self._is_over = now, self._is_over or is_end
        known = total if total is not None and math.isfinite(total) else None
        await asyncio.to_thread(self._report, progress, known, (message or "")[:LOG_LINE_BYTES])

    def _report(self, progress: float, total: float | None, message: str) -> None:
        try:
            self._host.report_progress(
                self._call,
                self._tool,
                call_id=self._call_id,
                progress=progress,
                total=total,
                message=message,
            )
        except AstridError as error:  # the call goes on without
            self._host.log(self._call.principal, "WARN", f"progress is not told: {error.message}")


def _request(payload: bytes) -> tuple[str, dict[str, Any]]:
    """Call id and arguments of a request; what is no object is wrapped. Spec: 5.2."""
    try:
        request = json.loads(payload)
        call_id, arguments = request["call_id"], request.get("arguments")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ToolError("this is no tool request", code="tool.arguments") from error
    if arguments is None:
        return str(call_id), {}
    return str(call_id), arguments if isinstance(arguments, dict) else {"value": arguments}
