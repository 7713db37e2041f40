"""Entries about starts of the kernel that did not come to pass."""

from __future__ import annotations

import time

from astrid_core.domain.payload_message import format_timestamp
from astrid_core.ports.audit import AuditTrail
from astrid_hookspecs.audit import AuditEntry
from astrid_hookspecs.errors import PluginError


def record_refused_boot(audit: AuditTrail, error: PluginError) -> None:
    """Record that the kernel did not start because of a plugin, and whose.

    The distribution and the code only: what the plugin said may hold anything.

    Raises:
        AuditError: It was not recorded.
    """
    audit.append(
        AuditEntry(
            timestamp=format_timestamp(time.time_ns()),
            principal=None,
            capsule=None,
            action="kernel.boot",
            resource=error.distribution,
            outcome="denied",
            rule=f"plugin:{error.distribution}" if error.distribution else "plugins",
            detail={"error": error.code},
            severity="high",
        ),
        durable=True,
    )
