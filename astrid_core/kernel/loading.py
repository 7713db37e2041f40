"""From an installed capsule to one whose guest code may run: engines, gate, readiness.

Trusted with what runs before a capsule serves: nothing of it before the load is on record and, for
a run loop, before the gate agreed. Spec: capsules-and-bus 3.4, 5.6.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from loguru import logger

from astrid_core.domain.manifest import Manifest
from astrid_core.domain.manifest_entries import MCP_TYPES
from astrid_core.host.capsule import CapsuleHost
from astrid_core.host.services import HostServices
from astrid_core.kernel.audit.capsule_changes import record_load
from astrid_core.kernel.capsule_spec import capsule_context, capsule_spec
from astrid_core.kernel.consent import Consent
from astrid_core.kernel.cpu_meter import CpuMeter
from astrid_core.kernel.engine_faults import engine_faults
from astrid_core.kernel.engine_pool import EnginePool
from astrid_core.kernel.install.installed import InstalledCapsule
from astrid_core.kernel.loaded import Loaded, Rights, closed
from astrid_core.kernel.profiles import ProfileStore
from astrid_core.security.gate import Gate
from astrid_hookspecs.engines import CapsuleSpec, LoadedCapsule, Readiness
from astrid_hookspecs.errors import CapsuleError, SecretError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, CapsuleId

RUN_ACTION: Final = "run"
"""What policies are asked about when a run loop is about to start."""


class CapsuleLoader:
    """Makes loaded capsules and starts them. Safe from any thread.

    Args:
        engines: Runs the entries.
        services: What host functions act on.
        profiles: Limits of callers.
        gate: Decides about every call.
        settings: Stored `[env]` answers of a capsule.
        onboard: Told of what is about to be loaded, to find out what it should be asked.
        rights: Whether a principal holds a capability.
        consent: Asks about tools of servers.
    """

    def __init__(
        self,
        *,
        engines: EnginePool,
        services: HostServices,
        profiles: ProfileStore,
        gate: Gate,
        settings: Callable[[CapsuleId], Mapping[str, str]],
        onboard: Callable[[Manifest], None],
        rights: Rights = closed,
        consent: Consent,
    ) -> None:
        self._engines = engines
        self._services = services
        self._profiles = profiles
        self._gate = gate
        self._cpu = CpuMeter()
        self._settings = settings
        self._onboard = onboard
        self._rights = rights
        self._consent = consent

    def prepare(self, installed: InstalledCapsule) -> Loaded:
        """Record the load, then make everything ready for calls; no guest code runs yet.

        Raises:
            PluginLoadError: An engine it needs is not installed.
            ComponentError, IntegrityError: An engine refused it.
            AuditError: It could not be recorded.
        """
        record_load(self._services.audit, capsule=installed.id, version=installed.meta.version)
        manifest = installed.manifest
        spec = capsule_spec(
            manifest,
            directory=installed.directory,
            component=installed.component,
            component_hash=installed.meta.wasm_hash,
            settings=self._settings(installed.id),
        )
        self._announce_questions(manifest)
        context = capsule_context(manifest, spec, owner=DEFAULT_PRINCIPAL)
        host = CapsuleHost(context, services=self._services)
        return Loaded(
            spec=spec,
            manifest=manifest,
            grants=context.grants,
            parts=self._load_parts(spec, host),
            host=host,
            tools=tuple(installed.meta.tools),
            topics=tuple(installed.meta.topics),
            profiles=self._profiles,
            gate=self._gate,
            cpu=self._cpu,
            audit=self._services.audit,
            rights=self._rights,
            consent=self._consent,
        )

    def start(self, capsule: Loaded) -> None:
        """Start run loops and servers, after the gate agreed to that; returns at once.

        Raises:
            DeniedError: The owner is disabled, or a policy refused.
        """
        with engine_faults(capsule.id):
            loops = any(part.is_run_loop() for part in capsule.parts)
        if capsule.runs_servers or loops:
            profile = self._profiles.profile(capsule.owner)
            self._gate.check_invoke(capsule.owner, capsule.id, RUN_ACTION, enabled=profile.enabled)
        capsule.start()

    def wait_ready(self, capsule: Loaded, *, timeout_s: float) -> bool:
        """Wait for the readiness of run loops; one that is late counts as ready, with a warning.

        Returns:
            False when it was late.

        Raises:
            CapsuleError: `capsule.crashed`: one ended before it was ready.
        """
        outcome = capsule.wait_ready(timeout_s=timeout_s)
        if outcome is Readiness.CRASHED:
            raise CapsuleError(
                f"capsule {capsule.id!r} ended before it was ready: {capsule.health().reason}",
                code="capsule.crashed",
                hint=f"its log says more: astrid logs {capsule.id}",
            )
        if outcome is Readiness.TIMEOUT:
            logger.warning("capsule {} did not signal readiness in time; going on", capsule.id)
        return outcome is Readiness.READY

    def _announce_questions(self, manifest: Manifest) -> None:
        """Loading goes on without answers, and without a secret store that could say."""
        try:
            self._onboard(manifest)
        except SecretError as error:
            logger.warning("whether {} lacks secrets is not known: {}", manifest.name, error)

    def _load_parts(self, spec: CapsuleSpec, host: CapsuleHost) -> tuple[LoadedCapsule, ...]:
        parts: list[LoadedCapsule] = []
        try:
            with engine_faults(spec.id):
                if spec.component is not None:
                    parts.append(self._engines.engine("component").load(spec, host))
                if any(server.type in MCP_TYPES for server in spec.servers):
                    parts.append(self._engines.engine("mcp_server").load(spec, host))
        except Exception:
            for part in reversed(parts):
                part.unload(grace_s=0)
            raise
        return tuple(parts)
