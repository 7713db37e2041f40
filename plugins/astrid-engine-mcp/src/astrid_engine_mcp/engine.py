"""The engine: checks what a manifest declares, and makes loaded capsules of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from astrid_engine_mcp import bounds
from astrid_engine_mcp.aside import Aside
from astrid_engine_mcp.capsule import McpCapsule
from astrid_engine_mcp.connection import Transport
from astrid_engine_mcp.http import http_streams
from astrid_engine_mcp.loop import LoopThread
from astrid_engine_mcp.names import is_server_id
from astrid_engine_mcp.pins import PinBook
from astrid_engine_mcp.programs import sandbox_request
from astrid_engine_mcp.questions import AT_ONCE
from astrid_engine_mcp.servers import Servers, Slots
from astrid_engine_mcp.stdio import stdio_streams
from astrid_hookspecs.engines import (
    CapsuleSpec,
    ComponentReport,
    EngineEnvironment,
    HostApi,
    LoadedCapsule,
    McpServerSpec,
    Progress,
)
from astrid_hookspecs.errors import ComponentError
from astrid_hookspecs.tool_servers import ServerGround, ToolHost

TYPES: Final = frozenset({"stdio", "http"})


class McpEngine:
    """Implements `astrid_hookspecs.engines.Engine` for `[[mcp_server]]` entries.

    Args:
        environment: Sandbox and directories.
    """

    def __init__(self, environment: EngineEnvironment) -> None:
        self._environment = environment
        self._lock = threading.Lock()
        self._loop: LoopThread | None = None
        self._slots = Slots()
        self._look_ups = Aside("look-ups of names", threads=bounds.LOOK_UPS)
        self._questions = Aside("questions of servers", threads=AT_ONCE)

    def inspect(self, component: Path) -> ComponentReport:
        """As `Engine.inspect`; always refuses."""
        raise ComponentError(
            f"{component.name} is no MCP server", code="engine.component.not-supported"
        )

    def prepare(self, component: Path, *, progress: Progress | None = None) -> None:
        """As `Engine.prepare`; always refuses."""
        del progress
        self.inspect(component)

    def forget(self, component_hash: str) -> None:
        """As `Engine.forget`; nothing was prepared."""
        del component_hash

    def load(self, spec: CapsuleSpec, host: HostApi) -> LoadedCapsule:
        """As `Engine.load`; no process is started yet.

        Raises:
            ComponentError: `engine.component.server`: a declaration cannot be used;
                `engine.component.host`: the kernel knows no tool servers.
            ToolError: `tool.pins`.
        """
        if not isinstance(host, ToolHost):
            raise ComponentError(
                "this kernel hands no tool servers out", code="engine.component.host"
            )
        specs: dict[str, McpServerSpec] = {}
        for server in spec.servers:
            if server.type in TYPES:
                _check(server, known=specs.keys() | set())
                specs[server.id] = server
        state = self._environment.state_dir
        path = None if state is None else state / f"{spec.id}.json"
        book = PinBook.open(spec.id, path=path)
        servers = Servers(
            specs,
            host=host,
            book=book,
            slots=self._slots,
            aside=self._questions,
            transport=lambda server, ground, principal: self._transport(
                spec, server, ground, address=lambda: host.server_address(server, principal)
            ),
        )
        return McpCapsule(
            tuple(specs), servers=servers, host=host, book=book, loop=self._running_loop()
        )

    def close(self) -> None:
        """As `Engine.close`."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.close()
        self._questions.close()
        self._look_ups.close()

    def _running_loop(self) -> LoopThread:
        with self._lock:
            if self._loop is None:
                self._loop = LoopThread()
            return self._loop

    def _transport(
        self,
        spec: CapsuleSpec,
        server: McpServerSpec,
        ground: ServerGround,
        *,
        address: Callable[[], str],
    ) -> Transport:
        if server.type == "http":
            token = None if server.bearer is None else ground.environment.get(server.bearer)
            url = server.url or ""
            look_up = partial(self._look_ups.run, address, timeout_s=bounds.LOOK_UP_S)
            return lambda *, ended, log: http_streams(
                url, token=token, address=look_up, ended=ended, log=log
            )
        request = sandbox_request(server, ground, capsule_directory=spec.directory)
        command = self._environment.sandbox().command(request)
        return lambda *, ended, log: stdio_streams(command, ended=ended, log=log)


def _check(server: McpServerSpec, *, known: set[str]) -> None:
    """Refuse a declaration that could not be used later."""
    problem = ""
    if not is_server_id(server.id):
        problem = "its id has other characters than letters, digits, '_' and '-'"
    elif server.id in known:
        problem = "another server of the capsule has the same id"
    elif server.type == "stdio" and not server.command:
        problem = "it has no `command`"
    elif server.type == "http" and not server.url:
        problem = "it has no `url`"
    if problem:
        raise ComponentError(
            f"server {server.id[:64]!r} cannot be used: {problem}", code="engine.component.server"
        )
