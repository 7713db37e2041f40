"""Checks of tool servers: which may be started, and who may call which of their tools.

A tool of a server is foreign code behind a foreign description, so being enabled is not enough to
call one: a principal needs the right `mcp:<capsule>:<server>:<tool>`, or a pattern that covers it.
"""

from __future__ import annotations

from typing import Final, Literal
from urllib.parse import urlsplit

from astrid_core.domain.capability import Decision
from astrid_core.domain.command_pattern import covering_server
from astrid_core.security.decider import Decider, Grant
from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.authz import AuthzRequest
from astrid_hookspecs.values import CapsuleId, Principal

THIS_MACHINE: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def tool_right(capsule: CapsuleId, server: str, tool: str) -> str:
    """The capability that a caller of a server's tool needs."""
    return f"mcp:{capsule}:{server}:{tool}"


class ServerChecks(Decider):
    """Decides about tool servers."""

    def check_server_command(
        self, grants: CapsuleGrants, principal: Principal, command: str, *, enabled: bool
    ) -> Grant:
        """May the capsule start this program as its server, for the principal?

        Args:
            grants: Of the capsule.
            principal: Whose process it will be.
            command: As the manifest has it, not resolved.
            enabled: The principal's profile switch.

        Raises:
            CapabilityDeniedError: The principal is disabled, or no `host_process` entry equals the
                command or begins with it and a space.
            PolicyDeniedError: A policy refused.

        Spec: capsules-and-bus 5.1 step 2, vector 120.
        """
        request = AuthzRequest(principal, "server.start", command, grants.capsule)
        self._check_enabled(request, enabled=enabled)
        entry = covering_server(grants.host_process, command)
        if entry is not None:
            return self._ask_policies(request, rule=f"host_process:{entry}")
        raise self._refuse(
            request,
            rule="host_process",
            message=f"capsule {grants.capsule!r} may not start {command!r}",
            hint=f'the manifest needs host_process = ["{command}"] under [capabilities]',
        )

    def check_server_url(
        self, grants: CapsuleGrants, principal: Principal, url: str, *, enabled: bool
    ) -> Grant:
        """May a server be at this URL? `check_http` decides about its host.

        Args:
            grants: Of the capsule.
            principal: For whom.
            url: `https://host/...`, or `http://` where the host is this machine.
            enabled: The principal's profile switch.

        Raises:
            CapabilityDeniedError: The principal is disabled, or the URL is not one of these.
            PolicyDeniedError: A policy refused.
        """
        host, problem = _host_of(url)
        request = AuthzRequest(principal, "server.connect", host, grants.capsule)
        self._check_enabled(request, enabled=enabled)
        if problem:
            raise self._refuse(
                request,
                rule="server.url",
                message=f"capsule {grants.capsule!r} may not use that server: {problem}",
                hint="write https://HOST/PATH; http:// is for this machine only",
            )
        return self._ask_policies(request, rule="server.url")

    def check_server_question(
        self,
        grants: CapsuleGrants,
        principal: Principal,
        server: str,
        *,
        of: Literal["people", "models"],
        enabled: bool,
    ) -> Grant:
        """May a tool server of the capsule ask the people or the models of the principal?

        Args:
            grants: Of the capsule.
            principal: Whose call the server is about.
            server: Its id.
            of: Whom it asks.
            enabled: The principal's profile switch.

        Raises:
            CapabilityDeniedError: The principal is disabled, or the manifest does not say so.
            PolicyDeniedError: A policy refused.
        """
        if of == "people":
            request = AuthzRequest(principal, "server.elicit", server, grants.capsule)
            right, listed = "mcp_elicitation", grants.mcp_elicitation
        else:
            request = AuthzRequest(principal, "server.sample", server, grants.capsule)
            right, listed = "mcp_sampling", grants.mcp_sampling
        self._check_enabled(request, enabled=enabled)
        for entry in listed:
            if entry in (server, "*"):
                return self._ask_policies(request, rule=f"{right}:{entry}")
        raise self._refuse(
            request,
            rule=right,
            message=f"server {server!r} of capsule {grants.capsule!r} may not ask {of}",
            hint=f'the manifest needs {right} = ["{server}"] under [capabilities]',
        )

    def check_server_tool(
        self,
        principal: Principal,
        capsule: CapsuleId,
        *,
        server: str,
        tool: str,
        decision: Decision,
    ) -> Grant:
        """May the principal call this tool of this server?

        Args:
            principal: Who calls.
            capsule: Whose server it is.
            server: Its id.
            tool: The tool's part of the right.
            decision: Whether the principal holds `tool_right`.

        Raises:
            CapabilityDeniedError: The principal is disabled, or does not hold the right.
            PolicyDeniedError: A policy refused.
        """
        right = tool_right(capsule, server, tool)
        request = AuthzRequest(principal, "server.call", f"{server}:{tool}", capsule)
        rule = self._check_right(request, decision, right=right, doing=f"call {tool!r}")
        return self._ask_policies(request, rule=rule)


def _host_of(url: str) -> tuple[str, str]:
    """The host of a server's URL, and what is wrong with the URL; empty when nothing is."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "", "its URL cannot be read"
    del port
    if not host:
        return "", "its URL names no host"
    if parts.username is not None or parts.password is not None:
        return host, "its URL holds credentials"
    if parts.scheme == "https" or (parts.scheme == "http" and host in THIS_MACHINE):
        return host, ""
    return host, "the connection would not be encrypted"
