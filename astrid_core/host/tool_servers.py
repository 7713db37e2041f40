"""The kernel's side of a capsule's tool servers: what they stand on, and what they say.

Trusted with three things. A server is started only after the gate agreed and the audit log has it.
It gets the settings and secrets of its own capsule and principal, and no others. Whatever it
answers goes on the bus as the answer of this capsule, for the principal of the call, and only on
the topics of tools that the capsule offers. Spec: capsules-and-bus 5.1, 8.1.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Final, Literal

from astrid_core.domain.payload import (
    MAX_PAYLOAD_BYTES,
    PayloadError,
    check_text_nesting,
    encode,
)
from astrid_core.domain.payload_variants import (
    Payload,
    RawJson,
    ToolCallResult,
    ToolExecuteResult,
)
from astrid_core.domain.server_environment import usable
from astrid_core.domain.topic import MAX_CAUSAL_DEPTH, TOOL_PREFIX
from astrid_core.host.context import CapsuleContext
from astrid_core.host.log_line import log_line
from astrid_core.host.server_access import check_server, check_server_host
from astrid_core.host.server_questions import ServerQuestions, depth_of
from astrid_core.host.services import HostServices
from astrid_hookspecs.engines import Call, McpServerSpec
from astrid_hookspecs.errors import SecretNotFoundError, ServerError, ToolError
from astrid_hookspecs.sandboxes import SandboxLimits
from astrid_hookspecs.tool_servers import OfferedTool, ServerGround, ToolAnswer
from astrid_hookspecs.values import Principal

MIB: Final = 1024 * 1024
LIMITS: Final = SandboxLimits(processes=256, open_files=1024)
"""Of one server. Address space is not limited: run times of scripts reserve far more than they
use."""

Taken = Callable[[], frozenset[str]]
Changed = Callable[[], None]


class ToolServers(ServerQuestions):
    """Implements what `astrid_hookspecs.tool_servers.ToolHost` adds to `HostApi`.

    Args:
        context: The capsule.
        services: What it acts on.
    """

    def __init__(self, context: CapsuleContext, *, services: HostServices) -> None:
        super().__init__(context, services=services)
        self._lock = threading.Lock()
        self._offered: Mapping[str, OfferedTool] = {}
        self._taken: Taken = frozenset
        self._changed: Changed | None = None

    @property
    def offered(self) -> Mapping[str, OfferedTool]:
        """What is offered now, by name on the bus."""
        return self._offered

    def watch_offers(self, *, taken: Taken, changed: Changed) -> None:
        """Say who wants to know about offers.

        Args:
            taken: Gives the names that others offer.
            changed: Called after every change of `offered`; must not block.
        """
        self._taken, self._changed = taken, changed

    def open_server(self, server: McpServerSpec, principal: Principal) -> ServerGround:
        """As `ToolHost.open_server`."""
        services, context = self._services, self._context
        enabled = services.profiles.is_enabled(principal)
        check_server(services.gate, context.grants, server, principal, enabled=enabled)
        environment, refused = usable(self._settings(server, principal))
        if refused:
            self.log(principal, "WARN", f"{server.id}: not passed on: {', '.join(refused)}")
        ground = ServerGround(
            directory=services.servers.directory(principal, context.id, server.id),
            environment=environment,
            readable=(context.spec.directory,),
            network=context.grants.any_host and services.processes.allows_network,
            limits=LIMITS,
            asks_people=not {server.id, "*"}.isdisjoint(context.grants.mcp_elicitation),
            asks_models=not {server.id, "*"}.isdisjoint(context.grants.mcp_sampling),
        )
        self._record(
            principal,
            "server_started",
            {"name": self._name(server.id), "transport": server.type, "binary_hash": None},
        )
        return ground

    def server_address(self, server: McpServerSpec, principal: Principal) -> str:
        """As `ToolHost.server_address`."""
        services = self._services
        grant, host, port = check_server_host(
            services.gate, self._context.grants, server, principal
        )
        try:
            found = services.network.look_up(principal, host, port)
        except OSError as error:
            raise ServerError(f"{host!r} has no address", code="engine.server.address") from error
        if not found:
            raise ServerError(f"{host!r} has no address", code="engine.server.address")
        checked = services.gate.check_address(
            self._context.grants,
            principal,
            found[0],
            port,
            grant=grant,
            host=host,
            consent=services.network.consent,
        )
        return str(checked.address)

    def close_server(self, server: McpServerSpec, principal: Principal, *, reason: str) -> None:
        """As `ToolHost.close_server`."""
        self._record(principal, "server_stopped", {"name": self._name(server.id), "reason": reason})

    def offer_tools(self, tools: Sequence[OfferedTool]) -> None:
        """As `ToolHost.offer_tools`."""
        offered = {tool.name: tool for tool in tools}
        with self._lock:
            is_news = offered != self._offered
            self._offered, changed = offered, self._changed
        if changed is not None and is_news:
            changed()

    def taken_tools(self) -> frozenset[str]:
        """As `ToolHost.taken_tools`."""
        return self._taken()

    def answer(self, call: Call, tool: str, *, call_id: str, answer: ToolAnswer) -> None:
        """As `ToolHost.answer`."""
        result = ToolCallResult(
            call_id=call_id,
            content=answer.content,
            is_error=answer.is_error,
            blocks=[dict(block) for block in answer.blocks] or None,
            structured=answer.structured,
        )
        self._say(call, tool, "result", ToolExecuteResult(call_id=call_id, result=result))

    def report_progress(
        self,
        call: Call,
        tool: str,
        *,
        call_id: str,
        progress: float,
        total: float | None,
        message: str,
    ) -> None:
        """As `ToolHost.report_progress`."""
        value = {"call_id": call_id, "progress": progress, "total": total, "message": message}
        self._say(call, tool, "progress", RawJson(value=value))

    def record_use(
        self, call: Call, *, kind: Literal["resource", "prompt"], server: str, what: str
    ) -> None:
        """As `ToolHost.record_use`."""
        action, field = (
            ("mcp_resource_read", "uri") if kind == "resource" else ("mcp_prompt_get", "name")
        )
        self._record(call.principal, action, {"server": self._name(server), field: what})

    def log(self, principal: Principal, level: str, line: str) -> None:
        """As `ToolHost.log`."""
        self._services.logs.write(principal, self._context.id, level, log_line(line))

    def blocked(self) -> AbstractContextManager[object]:
        """As `ToolHost.blocked`."""
        return self._services.blocked()

    def _settings(self, server: McpServerSpec, principal: Principal) -> dict[str, str]:
        """Settings and secrets that the server names; without a list, every setting."""
        plain = self._context.spec.environment
        wanted = [*plain] if server.env is None else [*server.env]
        if server.bearer is not None and server.bearer not in wanted:
            wanted.append(server.bearer)
        values = {}
        for key in wanted:
            if key in self._context.secret_keys:
                values[key] = self._secret(key, server, principal)
            elif key in plain:
                values[key] = plain[key]
        return values

    def _secret(self, key: str, server: McpServerSpec, principal: Principal) -> str:
        lookup = self._services.secrets
        text = None if lookup is None else lookup(principal, self._context.id, key)
        if text is None:
            raise SecretNotFoundError(
                f"server {server.id!r} of capsule {self._context.id!r} needs the secret {key!r}, "
                f"which {principal!r} has not set",
                hint=f"set it: astrid secret set {key} --capsule {self._context.id}",
            )
        return text

    def _say(self, call: Call, tool: str, last: str, said: Payload) -> None:
        """Publish on a topic of an offered tool, for the principal of the call."""
        services = self._services
        topic = f"{TOOL_PREFIX}{tool}.{last}"
        own = (topic,) if tool in self._offered else ()
        grants = replace(self._context.grants, publish=own)
        services.gate.check_publish(grants, call.principal, topic)
        try:
            kind, payload = encode(said)
            if len(payload) <= MAX_PAYLOAD_BYTES:
                check_text_nesting(payload)  # who is to receive it would refuse it
        except (PayloadError, TypeError, ValueError, RecursionError) as error:
            raise ToolError(
                f"what {tool!r} answered cannot be sent: {error}", code="tool.answer"
            ) from error
        if len(payload) > MAX_PAYLOAD_BYTES or depth_of(call) > MAX_CAUSAL_DEPTH:
            raise ToolError(
                f"{tool!r} answered with {len(payload)} bytes; at most {MAX_PAYLOAD_BYTES} can be "
                "sent",
                code="tool.answer",
                hint="ask for less at once",
            )
        services.bus.publish(self._outgoing(call, topic, kind, payload))
