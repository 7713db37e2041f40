"""One suite per plugin kind. Each asks its subclass for a single `make` method."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

from astrid_conformance.check import CheckList
from astrid_conformance.checks.audit_sink import AUDIT_SINK, audit_subject
from astrid_conformance.checks.authz_policy import AUTHZ_POLICY, Policy, policy_subject
from astrid_conformance.checks.bus import BUS, bus_subject
from astrid_conformance.checks.capsule_builder import CAPSULE_BUILDER, builder_subject
from astrid_conformance.checks.engine import ENGINE, EngineSamples, engine_subject
from astrid_conformance.checks.kv_subject import KV_STORE, kv_subject
from astrid_conformance.checks.process_sandbox import PROCESS_SANDBOX, sandbox_subject
from astrid_conformance.checks.secret_store import SECRET_STORE, secret_subject
from astrid_conformance.checks.vfs_backend import VFS_BACKEND, VfsSubject, vfs_subject
from astrid_conformance.checks.vfs_overlay import (
    VFS_OVERLAY,
    Lower,
    OverlaySubject,
    dict_lower,
    overlay_subject,
)
from astrid_conformance.suites.base import Conformance
from astrid_hookspecs.audit import AuditSink
from astrid_hookspecs.builders import CapsuleBuilder
from astrid_hookspecs.buses import Bus
from astrid_hookspecs.engines import Engine, EngineEnvironment
from astrid_hookspecs.sandboxes import ProcessSandbox
from astrid_hookspecs.secrets import SecretStore
from astrid_hookspecs.stores import KvStore
from astrid_hookspecs.vfs import OverlaySpec, VfsDirectory, VfsOverlay


class KvStoreConformance(Conformance):
    """The contract of `KvStore`. `make` is called in other processes too, so it must be a static
    method of an importable class, or a module-level function assigned with `staticmethod`."""

    checks: ClassVar[CheckList[Any]] = KV_STORE

    @staticmethod
    def make(directory: Path) -> KvStore:
        """Open the store in `directory`."""
        raise NotImplementedError

    def subject(self, directory: Path) -> AbstractContextManager[Any]:
        """A store that is closed after the check."""
        return kv_subject(self.make, directory)


class BusConformance(Conformance):
    """The contract of `Bus`."""

    checks: ClassVar[CheckList[Any]] = BUS

    def make(self) -> Bus:
        """Make a bus."""
        raise NotImplementedError

    def subject(self, directory: Path) -> AbstractContextManager[Any]:  # noqa: ARG002 - no files
        """A bus that is closed after the check."""
        return bus_subject(self.make)


class EngineConformance(Conformance):
    """The contract of an `Engine` that runs components.

    Attributes:
        samples: Components to check it with; an engine for anything but WebAssembly has its own.
    """

    checks: ClassVar[CheckList[Any]] = ENGINE
    samples: ClassVar[EngineSamples] = EngineSamples()

    def make(self, environment: EngineEnvironment) -> Engine:
        """Make an engine."""
        raise NotImplementedError

    def subject(self, directory: Path) -> AbstractContextManager[Any]:
        """An engine that is closed after the check."""
        return engine_subject(self.make, directory, self.samples)


class SecretStoreConformance(Conformance):
    """The contract of `SecretStore`."""

    checks: ClassVar[CheckList[Any]] = SECRET_STORE

    def make(self, directory: Path) -> SecretStore:
        """Open the store with the kernel's `secrets/` directory."""
        raise NotImplementedError

    def subject(self, directory: Path) -> AbstractContextManager[Any]:
        """A store that is emptied after the check."""
        return secret_subject(self.make, directory)


class VfsBackendConformance(Conformance):
    """The contract of `VfsDirectory`. Backends that are not on the disk override `subject`."""

    checks: ClassVar[CheckList[Any]] = VFS_BACKEND

    def make(self, root: str) -> VfsDirectory:
        """Open a root."""
        raise NotImplementedError

    def subject(self, directory: Path) -> AbstractContextManager[VfsSubject]:
        """A directory that is closed after the check."""
        return vfs_subject(self.make, directory)


class VfsOverlayConformance(Conformance):
    """The contract of `VfsOverlay`, that of `VfsDirectory` included. `make` is called in another
    process too, so it must be a static method of an importable class, or a module-level function
    assigned with `staticmethod`."""

    checks: ClassVar[CheckList[Any]] = VFS_OVERLAY

    @staticmethod
    def make(spec: OverlaySpec) -> VfsOverlay:
        """Open an overlay."""
        raise NotImplementedError

    def lower(self, directory: Path) -> Lower:  # noqa: ARG002 - for subclasses with files
        """The lower directory, empty; one in memory unless a subclass says otherwise."""
        return dict_lower()

    def subject(self, directory: Path) -> AbstractContextManager[OverlaySubject]:
        """An overlay that is closed after the check."""
        stores = directory / "stores"
        stores.mkdir()
        return overlay_subject(self.make, stores, self.lower(directory))


class ProcessSandboxConformance(Conformance):
    """The contract of `ProcessSandbox`. Starts real processes; the sandbox has to work here."""

    checks: ClassVar[CheckList[Any]] = PROCESS_SANDBOX

    def make(self) -> ProcessSandbox:
        """Make a sandbox."""
        raise NotImplementedError

    def subject(self, directory: Path) -> AbstractContextManager[Any]:
        """A sandbox with directories to work in."""
        return sandbox_subject(self.make, directory)


class AuditSinkConformance(Conformance):
    """The contract of `AuditSink`."""

    checks: ClassVar[CheckList[Any]] = AUDIT_SINK

    def make(self) -> AuditSink:
        """Make a sink."""
        raise NotImplementedError

    def subject(self, directory: Path) -> AbstractContextManager[Any]:  # noqa: ARG002 - no files
        """A function that makes sinks, which are closed after the check."""
        return audit_subject(self.make)


class AuthzPolicyConformance(Conformance):
    """The contract of `astrid_authorize`."""

    checks: ClassVar[CheckList[Any]] = AUTHZ_POLICY

    def make(self) -> Policy:
        """The hook implementation, or whatever it asks."""
        raise NotImplementedError

    def subject(self, directory: Path) -> AbstractContextManager[Any]:  # noqa: ARG002 - no files
        """The policy."""
        return policy_subject(self.make())


class CapsuleBuilderConformance(Conformance):
    """The contract of `CapsuleBuilder`. The capability `build` runs its tool chain."""

    checks: ClassVar[CheckList[Any]] = CAPSULE_BUILDER

    def make(self) -> CapsuleBuilder:
        """Make a builder."""
        raise NotImplementedError

    def subject(self, directory: Path) -> AbstractContextManager[Any]:
        """A builder with a directory for projects."""
        return builder_subject(self.make, directory)
