"""Which checks belong to which plugin kind, and how to make their subject from a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from astrid_conformance import checks as _all  # importing it fills the lists
from astrid_conformance.check import CheckList
from astrid_conformance.checks.audit_sink import AUDIT_SINK, audit_subject
from astrid_conformance.checks.authz_policy import AUTHZ_POLICY, policy_subject
from astrid_conformance.checks.bus import BUS, bus_subject
from astrid_conformance.checks.capsule_builder import CAPSULE_BUILDER, builder_subject
from astrid_conformance.checks.engine import ENGINE, engine_subject
from astrid_conformance.checks.kv_subject import KV_STORE, kv_subject
from astrid_conformance.checks.process_sandbox import PROCESS_SANDBOX, sandbox_subject
from astrid_conformance.checks.secret_store import SECRET_STORE, secret_subject
from astrid_conformance.checks.vfs_backend import VFS_BACKEND, vfs_subject
from astrid_conformance.checks.vfs_overlay import VFS_OVERLAY, overlay_subject

del _all


def _claimed(record: Any) -> frozenset[str]:
    capabilities: frozenset[str] = getattr(record, "capabilities", frozenset())
    return capabilities


def _always(_record: Any) -> str | None:
    return None


def _serves_components(record: Any) -> str | None:
    if "component" in record.serves:
        return None
    return "it does not run components"


def _serves_files(record: Any) -> str | None:
    if "file" in record.schemes:
        return None
    return "it does not serve file://; use VfsBackendConformance with a root of its own"


def _works_here(record: Any) -> str | None:
    reason: str | None = record.factory().unavailable_reason()
    return reason


@dataclass(frozen=True, slots=True)
class KindChecks:
    """The checks of one plugin kind.

    Attributes:
        checks: In order.
        subject: Makes what the checks work on, from a record and an empty directory.
        supports: Optional capabilities that a record claims.
        excluded: Why the checks do not apply to a record, or None.
    """

    checks: CheckList[Any]
    subject: Callable[[Any, Path], AbstractContextManager[Any]]
    supports: Callable[[Any], frozenset[str]] = _claimed
    excluded: Callable[[Any], str | None] = _always


KINDS: Final[Mapping[str, KindChecks]] = MappingProxyType(
    {
        "kv-store": KindChecks(KV_STORE, lambda record, path: kv_subject(record.factory, path)),
        "bus": KindChecks(BUS, lambda record, _: bus_subject(record.factory)),
        "engine": KindChecks(
            ENGINE,
            lambda record, path: engine_subject(record.factory, path),
            excluded=_serves_components,
        ),
        "secret-store": KindChecks(
            SECRET_STORE, lambda record, path: secret_subject(record.factory, path)
        ),
        "vfs-backend": KindChecks(
            VFS_BACKEND,
            lambda record, path: vfs_subject(record.factory, path),
            excluded=_serves_files,
        ),
        "vfs-overlay": KindChecks(
            VFS_OVERLAY, lambda record, path: overlay_subject(record.factory, path)
        ),
        "process-sandbox": KindChecks(
            PROCESS_SANDBOX,
            lambda record, path: sandbox_subject(record.factory, path),
            excluded=_works_here,
        ),
        "audit-sink": KindChecks(AUDIT_SINK, lambda record, _: audit_subject(record.factory)),
        "capsule-builder": KindChecks(
            CAPSULE_BUILDER, lambda record, path: builder_subject(record.factory, path)
        ),
        "authz-policy": KindChecks(AUTHZ_POLICY, lambda record, _: policy_subject(record.vote)),
    }
)
