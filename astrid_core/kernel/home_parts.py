"""Opens what a kernel has in its home: the audit log, local sockets, file systems."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path

from loguru import logger

from astrid_core.config import Settings
from astrid_core.domain.audit_commit import LogKey
from astrid_core.kernel.audit.boots import record_refused_boot
from astrid_core.kernel.audit.log import AuditLog
from astrid_core.kernel.audit.places import AuditPlaces
from astrid_core.kernel.audit.retention import DAY_S, MIB, Retention
from astrid_core.kernel.home import Home
from astrid_core.kernel.local_sockets import LocalSockets
from astrid_core.kernel.mounts.configured import configured_mounts
from astrid_core.kernel.mounts.openers import MountOpeners
from astrid_core.kernel.profiles import ProfileStore
from astrid_core.kernel.session_token import SessionToken
from astrid_core.pluginhost.registry import Registry
from astrid_core.security.gate import Gate
from astrid_hookspecs.audit import AuditSink
from astrid_hookspecs.errors import AuditError, PluginError
from astrid_hookspecs.vfs import VfsOverlayRecord


def record_boot_refusal(home: Home, settings: Settings, error: PluginError) -> None:
    """Record which distribution kept the kernel from starting; it does not start either way."""
    try:
        with closing(open_audit(home, settings)) as audit:
            record_refused_boot(audit, error)
    except AuditError as failure:
        logger.error("the refused start could not be recorded: {}", failure)


def open_local_sockets(home: Home, gate: Gate, release: ExitStack) -> LocalSockets:
    """The local sockets of capsules; what guards them is removed on release."""
    session = SessionToken(home.run / "system.token")
    release.callback(session.remove)
    made = LocalSockets(home.run / "net", session=session, gate=gate)
    release.callback(made.close)
    return made


def open_audit(
    home: Home, settings: Settings, *, sinks: Mapping[str, AuditSink] | None = None
) -> AuditLog:
    """The audit log of a home, within the bounds of its settings.

    Raises:
        AuditError: It cannot be written; or it does not verify, where that is asked for.
    """
    bounds = Retention(settings.audit.max_mib * MIB, settings.audit.max_age_days * DAY_S)
    return AuditLog(
        AuditPlaces(home.audit),
        key=LogKey(home.runtime_key()),
        retention=bounds,
        sinks=sinks,
        strict=settings.audit.strict,
    )


def mount_openers(
    home: Home,
    settings: Settings,
    registry: Registry,
    profiles: ProfileStore,
    *,
    workspace: Path | None,
) -> MountOpeners:
    """What opens the file systems that guests see.

    Raises:
        ConfigError, PluginError: A configured one cannot be had.
    """
    wanted = settings.files.overlay
    overlay = None
    if wanted is not None or registry.records(VfsOverlayRecord):
        overlay = registry.choose(VfsOverlayRecord, wanted)
    return MountOpeners(
        home,
        workspace=workspace,
        overlay=overlay,
        storage_limit=lambda principal: profiles.quotas(principal).max_storage_bytes,
        mounts=configured_mounts(settings.mounts, registry),
        multi_linked=settings.files.reads_hard_links,
    )
