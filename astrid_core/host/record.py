"""Audit entries of host functions. Spec: host-abi 2.3, 2.4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from astrid_core.domain.payload_message import format_timestamp
from astrid_core.host.instance import Instance
from astrid_hookspecs.audit import AuditEntry

_NS_PER_S: Final = 1_000_000_000
_SHOWN: Final = 512
"""Characters of a guest's text that are kept."""


def record(
    instance: Instance,
    action: str,
    *,
    resource: str = "",
    outcome: str = "allowed",
    rule: str = "",
    detail: Mapping[str, str] | None = None,
) -> None:
    """Record what a guest does, before it happens, or how it went.

    Args:
        instance: Whose principal and capsule the entry names.
        action: `identity.link`.
        resource: What it is done to.
        outcome: `allowed`, `denied` or `failed`.
        rule: Which rule allowed or refused it.
        detail: Facts that the action's family declares; cut where they are long.

    Raises:
        AuditError: It was not recorded; the action must not happen.
    """
    services = instance.services
    services.audit.append(
        AuditEntry(
            timestamp=format_timestamp(int(services.clock.now() * _NS_PER_S)),
            principal=instance.principal,
            capsule=instance.context.id,
            action=action,
            resource=resource[:_SHOWN],
            outcome=outcome,
            rule=rule,
            detail={key: text[:_SHOWN] for key, text in (detail or {}).items()},
        )
    )
