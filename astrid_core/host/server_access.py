"""May a tool server be used at all: its program, or its URL and the host of it."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from astrid_core.security.decider import Grant
from astrid_core.security.gate import Gate
from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.engines import McpServerSpec
from astrid_hookspecs.values import Principal


class ServerAccess(NamedTuple):
    """Proof that a server may be used.

    Attributes:
        grant: For its program, or for its host.
        host: None for a program.
        port: Of the host; 0 for a program.
    """

    grant: Grant
    host: str | None
    port: int


def check_server(
    gate: Gate,
    grants: CapsuleGrants,
    server: McpServerSpec,
    principal: Principal,
    *,
    enabled: bool,
) -> ServerAccess:
    """May the capsule use this server, for the principal?

    Args:
        gate: Decides.
        grants: Of the capsule.
        server: As the manifest has it.
        principal: For whom.
        enabled: The principal's profile switch.

    Raises:
        DeniedError: As the checks of the gate; `check_address` decides about the address.

    Spec: capsules-and-bus 5.1 step 2.
    """
    if server.type != "http":
        command = server.command or ""
        grant = gate.check_server_command(grants, principal, command, enabled=enabled)
        return ServerAccess(grant, None, 0)
    gate.check_server_url(grants, principal, server.url or "", enabled=enabled)
    return ServerAccess(*check_server_host(gate, grants, server, principal))


def check_server_host(
    gate: Gate, grants: CapsuleGrants, server: McpServerSpec, principal: Principal
) -> tuple[Grant, str, int]:
    """May requests go to the host of a server's URL? Host and port come with the proof.

    Raises:
        DeniedError: They may not.
    """
    parts = urlsplit(server.url or "")
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    grant = gate.check_http(grants, principal, scheme=parts.scheme, host=host, port=port)
    return grant, host, port
