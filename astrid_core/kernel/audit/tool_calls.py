"""Entries about tool calls: who calls which tool of which capsule, with arguments of which hash.

Trusted with the arguments: only their hash is recorded. Spec: kernel-and-security 8.1.
"""

from __future__ import annotations

import time
from typing import Final

import msgspec
from blake3 import blake3

from astrid_core.domain.payload_message import format_timestamp
from astrid_core.ports.audit import AuditTrail
from astrid_hookspecs.audit import AuditEntry, AuditValue
from astrid_hookspecs.values import CapsuleId, Principal


class _Arguments(msgspec.Struct):
    """What of a request is looked at."""

    arguments: msgspec.Raw = msgspec.Raw(b"null")


_decode: Final = msgspec.json.Decoder(_Arguments).decode


def record_tool_call(
    audit: AuditTrail,
    *,
    principal: Principal,
    capsule: CapsuleId,
    tool: str,
    payload: bytes,
    rule: str,
) -> None:
    """Record that a capsule is about to be called as a tool.

    Args:
        audit: Where to.
        principal: Who calls.
        capsule: Who is called.
        tool: Its name on the bus.
        payload: The request as the capsule receives it. The hash is that of the JSON text of its
            `arguments`, or of the whole where an interceptor made something else of it.
        rule: Which rule allowed it.

    Raises:
        AuditError: It was not recorded and must not happen.
    """
    _record(
        audit,
        principal=principal,
        action="capsule_tool_call",
        rule=rule,
        detail={"capsule_id": capsule, "tool": tool, "args_hash": _hash(payload)},
    )


def record_server_call(
    audit: AuditTrail,
    *,
    principal: Principal,
    server: str,
    tool: str,
    payload: bytes,
    rule: str,
) -> None:
    """Record that a tool of a server is about to be called.

    Args:
        audit: Where to.
        principal: Who calls.
        server: `<capsule>:<server>`.
        tool: The tool's part of the right.
        payload: As for `record_tool_call`.
        rule: Which rule allowed it.

    Raises:
        AuditError: It was not recorded and must not happen.
    """
    _record(
        audit,
        principal=principal,
        action="mcp_tool_call",
        rule=rule,
        detail={"server": server, "tool": tool, "args_hash": _hash(payload)},
    )


def _hash(payload: bytes) -> str:
    try:
        arguments: bytes | msgspec.Raw = _decode(payload).arguments
    except (ValueError, RecursionError):
        arguments = payload
    return blake3(arguments).hexdigest()


def _record(
    audit: AuditTrail,
    *,
    principal: Principal,
    action: str,
    rule: str,
    detail: dict[str, AuditValue],
) -> None:
    audit.append(
        AuditEntry(
            timestamp=format_timestamp(time.time_ns()),
            principal=principal,
            capsule=None,
            action=action,
            resource="",
            outcome="allowed",
            rule=rule,
            detail=detail,
        )
    )
