"""The connections of one capsule: one per server and principal, or one for all where it says so.

Runs on the engine's loop. Trusted with keeping principals apart: a connection is found by the
principal that it was started for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from astrid_engine_mcp import bounds
from astrid_engine_mcp.aside import Aside
from astrid_engine_mcp.asking import Asking
from astrid_engine_mcp.connection import PLANNED, Connection, Transport
from astrid_engine_mcp.extras import extra_tools
from astrid_engine_mcp.pins import HOOK_TOOL, PinBook
from astrid_engine_mcp.questions import Questions
from astrid_hookspecs.engines import McpServerSpec
from astrid_hookspecs.errors import GuestLimitError, ServerError
from astrid_hookspecs.tool_servers import OfferedTool, ServerGround, ToolHost
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, Principal

Key = tuple[str, Principal]
MakeTransport = Callable[[McpServerSpec, ServerGround, Principal], Transport]
_CLOSE_S: Final = 10.0


class Slots:
    """Counts the processes of one engine, and knows which can go."""

    def __init__(self) -> None:
        self._live: set[Connection] = set()

    async def take(self, make: Callable[[], Connection]) -> Connection:
        """Make a connection, in place of the idle one that was not used for longest if need be.

        Its process ends before another one starts, so that there are never more than the bound; one
        that is still starting has somebody who waits for it, and is left.

        Raises:
            GuestLimitError: All are busy.
        """
        end = time.monotonic() + bounds.ROOM_S
        while len(self._live) >= bounds.PROCESSES:
            ending = self._ending()
            if ending is None or time.monotonic() >= end:
                raise GuestLimitError(
                    f"{bounds.PROCESSES} servers are running and busy",
                    hint="wait for calls to finish",
                )
            await asyncio.wait({ending.task}, timeout=max(0.0, end - time.monotonic()))
        connection = make()
        self._live.add(connection)
        connection.task.add_done_callback(lambda _task: self._live.discard(connection))
        return connection

    def _ending(self) -> Connection | None:
        """One that makes room soon; None while there is none."""
        idle = [one for one in self._live if one.is_idle]
        if idle:
            victim = min(idle, key=lambda one: one.used)
            victim.stop("evicted")
            return victim
        return next((one for one in self._live if one.is_over), None)


class Servers:
    """The servers of one loaded capsule.

    Args:
        specs: By id.
        host: The kernel's side.
        book: What was accepted.
        slots: Of the engine.
        aside: Where it waits for people and models; of the engine.
        transport: Makes the transport for a server.
    """

    def __init__(
        self,
        specs: Mapping[str, McpServerSpec],
        *,
        host: ToolHost,
        book: PinBook,
        slots: Slots,
        aside: Aside,
        transport: MakeTransport,
    ) -> None:
        self._specs = specs
        self._host = host
        self._book = book
        self._slots = slots
        self._questions = Questions(host, aside)
        self._transport = transport
        self._open: dict[Key, Connection] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._making: dict[Key, asyncio.Lock] = {}
        self._backoffs: dict[Key, bounds.Backoff] = {}
        self._offered: Mapping[str, OfferedTool] = {}
        self._is_closed = False
        self.starts = 0
        self.ends = 0

    def offered(self, name: str) -> OfferedTool | None:
        """The tool that is offered under a name now."""
        return self._offered.get(name)

    def count(self) -> int:
        """How many are there now."""
        return sum(not connection.is_over for connection in self._open.values())

    def memory(self) -> Mapping[Principal, int]:
        """Bytes that the servers of each principal use now; shared ones are the owner's.

        From any thread.
        """
        found: dict[Principal, int] = {}
        for (_, principal), connection in [*self._open.items()]:
            found[principal] = found.get(principal, 0) + connection.memory_bytes()
        return found

    async def get(self, server: str, principal: Principal) -> Connection:
        """The connection of a principal, ready for calls; started if need be.

        Raises:
            ServerError: It does not start, or ended a moment ago: `engine.server.backoff`.
            DeniedError, SecretError, AuditError: It may not be started.
            GuestLimitError: Too many run.
        """
        spec = self._specs[server]
        key = (server, DEFAULT_PRINCIPAL if spec.shared else principal)
        connection = self._open.get(key)
        if connection is None or connection.is_over:
            async with self._making.setdefault(key, asyncio.Lock()):
                connection = self._open.get(key)
                if connection is None or connection.is_over:
                    connection = await self._start(spec, key)
        await connection.ready()
        return connection

    def stop(self, principal: Principal, *, reason: str) -> None:
        """End what a principal has, unless a call is under way."""
        for (_, owner), connection in self._open.items():
            if owner == principal and connection.calls == 0:
                connection.stop(reason)

    async def close(self) -> None:
        """End everything and wait for it."""
        self._is_closed = True
        for connection in tuple(self._open.values()):
            connection.stop("unloaded")
        if self._tasks:
            _, late = await asyncio.wait(tuple(self._tasks), timeout=_CLOSE_S)
            for task in late:
                task.cancel()

    async def _start(self, spec: McpServerSpec, key: Key) -> Connection:
        self._check_open(spec)
        backoff = self._backoffs.setdefault(key, bounds.Backoff())
        if (wait_s := backoff.wait_s()) > 0:
            raise ServerError(
                f"server {spec.id!r} ended a moment ago and is not started yet",
                code="engine.server.backoff",
                hint=f"try again in {wait_s:.1f} s; its log says why it ended",
            )
        _, principal = key
        ground = await asyncio.to_thread(self._host.open_server, spec, principal)

        def make() -> Connection:
            self._check_open(spec)
            return Connection(
                spec.id,
                transport=self._transport(spec, ground, principal),
                asking=Asking(spec.id, ground, questions=self._questions),
                listed=self._listed,
                log=lambda level, line: self._host.log(principal, level, f"{spec.id}: {line}"),
            )

        try:
            connection = await self._slots.take(make)
        except BaseException:  # its start is on record already
            self._record_end(spec, principal, reason="it was not started")
            raise
        self.starts += 1
        self._open[key] = connection
        self._tasks.add(connection.task)  # it goes on for a moment after a successor took its key
        connection.task.add_done_callback(lambda _task: self._over(spec, key, connection))
        return connection

    def _check_open(self, spec: McpServerSpec) -> None:
        if self._is_closed:
            raise ServerError(f"server {spec.id!r} is being unloaded", code="engine.server.ended")

    def _over(self, spec: McpServerSpec, key: Key, connection: Connection) -> None:
        _, principal = key
        reason = connection.reason or "it ended"
        if reason not in PLANNED:
            self.ends += 1
            self._host.log(principal, "ERROR", f"{spec.id}: over: {reason}")
            self._backoffs[key].ended(lived_s=time.monotonic() - connection.since)
        self._record_end(spec, principal, reason=reason)
        self._tasks.discard(connection.task)
        if self._open.get(key) is connection:
            del self._open[key]

    def _record_end(self, spec: McpServerSpec, principal: Principal, *, reason: str) -> None:
        closing = asyncio.get_running_loop().run_in_executor(
            None, lambda: self._host.close_server(spec, principal, reason=reason)
        )
        closing.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _listed(self, connection: Connection, found: Sequence[Mapping[str, Any]]) -> None:
        """Judge what a server lists, and offer what the judgement leaves."""
        connection.has_hook = any(tool["name"] == HOOK_TOOL for tool in found)
        able = connection.capabilities
        self._book.note_extras(
            connection.name,
            resources=able.resources is not None,
            prompts=able.prompts is not None,
        )
        taken = await asyncio.to_thread(self._host.taken_tools)
        judged = await asyncio.to_thread(
            self._book.judge, connection.name, found, taken=taken.__contains__
        )
        connection.usable = judged.usable
        for line in judged.news:
            self._host.log(DEFAULT_PRINCIPAL, "WARN", f"{connection.name}: {line}")
        await asyncio.to_thread(self.offer)

    async def judge_again(self, server: str) -> None:
        """Look again at what running connections may use, after an approval."""
        for (name, _), connection in tuple(self._open.items()):
            if name == server and not connection.is_over:
                await connection.list_again()

    def offer(self) -> None:
        """Tell the kernel what can be called now; from any thread."""
        extras = [
            tool
            for server, has in self._book.extras().items()
            if server in self._specs
            for tool in extra_tools(server, resources=has[0], prompts=has[1])
        ]
        taken = {tool.name for tool in extras}
        tools = [tool for tool in self._book.offers() if tool.name not in taken]
        self._offered = {tool.name: tool for tool in (*tools, *extras)}
        self._host.offer_tools(tuple(self._offered.values()))
