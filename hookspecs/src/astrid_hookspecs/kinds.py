"""The list of hooks: which module declares each, of which kind, and with which record."""

from __future__ import annotations

import enum
from types import ModuleType
from typing import NamedTuple

from astrid_hookspecs import (
    audit,
    authz,
    builders,
    buses,
    commands,
    engines,
    events,
    sandboxes,
    secrets,
    stores,
    vfs,
)


class HookKind(enum.Enum):
    """How results and failures of a hook are treated. See `docs/hooks.md`."""

    DECLARE = "declare"
    VOTE = "vote"
    OBSERVE = "observe"
    SELECT = "select"


class HookInfo(NamedTuple):
    """One hook of the contract.

    Attributes:
        kind: How its results and failures are treated.
        module: Where it is specified.
        record: For declare hooks, the record class it returns.
        plugin_kind: For declare hooks, the word people use (`engine`, `kv-store`).
        product: The protocol of what the record's factory makes; None for commands.
    """

    kind: HookKind
    module: ModuleType
    record: type | None = None
    plugin_kind: str | None = None
    product: type | None = None


_D = HookKind.DECLARE

HOOKS: dict[str, HookInfo] = {
    "astrid_register_engines": HookInfo(
        _D, engines, engines.EngineRecord, "engine", engines.Engine
    ),
    "astrid_register_vfs_backends": HookInfo(
        _D, vfs, vfs.VfsBackendRecord, "vfs-backend", vfs.VfsDirectory
    ),
    "astrid_register_vfs_overlays": HookInfo(
        _D, vfs, vfs.VfsOverlayRecord, "vfs-overlay", vfs.VfsOverlay
    ),
    "astrid_register_secret_stores": HookInfo(
        _D, secrets, secrets.SecretStoreRecord, "secret-store", secrets.SecretStore
    ),
    "astrid_register_kv_stores": HookInfo(
        _D, stores, stores.KvStoreRecord, "kv-store", stores.KvStore
    ),
    "astrid_register_buses": HookInfo(_D, buses, buses.BusRecord, "bus", buses.Bus),
    "astrid_register_process_sandboxes": HookInfo(
        _D, sandboxes, sandboxes.ProcessSandboxRecord, "process-sandbox", sandboxes.ProcessSandbox
    ),
    "astrid_register_capsule_builders": HookInfo(
        _D, builders, builders.CapsuleBuilderRecord, "capsule-builder", builders.CapsuleBuilder
    ),
    "astrid_register_commands": HookInfo(_D, commands, commands.CommandGroupRecord, "command"),
    "astrid_register_audit_sinks": HookInfo(
        _D, audit, audit.AuditSinkRecord, "audit-sink", audit.AuditSink
    ),
    "astrid_authorize": HookInfo(HookKind.VOTE, authz),
    "astrid_capsule_changed": HookInfo(HookKind.OBSERVE, events),
    "astrid_decision_made": HookInfo(HookKind.OBSERVE, events),
}
