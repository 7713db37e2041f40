"""Install and upgrade hooks: run in a temporary instance, on staged state, behind the gate.

Spec: host-abi 16.8, H-40.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from astrid_core.host.capsule import CapsuleHost
from astrid_core.host.services import HostServices
from astrid_core.kernel.capsule_spec import capsule_context, capsule_spec
from astrid_core.kernel.engine_faults import engine_faults
from astrid_core.kernel.install.lifecycle import KvWrites, LifecycleRequest
from astrid_core.kernel.profiles import ProfileStore
from astrid_core.kernel.staged_kv import StagedKv
from astrid_core.security.gate import Gate
from astrid_hookspecs.engines import Call, Engine, Limits, LoadedCapsule
from astrid_hookspecs.stores import KvWrite
from astrid_hookspecs.values import CapsuleId, Principal

LIFECYCLE_TIMEOUT_S = 600.0


class KernelLifecycle:
    """Implements `astrid_core.kernel.install.lifecycle.LifecycleRunner`.

    Args:
        engine: Gives the engine for components.
        services: Of the kernel; the store is replaced by a staged one for the hook.
        gate: Decides whether the hook may run.
        profiles: Whether the principal is enabled.
    """

    def __init__(
        self,
        engine: Callable[[], Engine],
        *,
        services: HostServices,
        gate: Gate,
        profiles: ProfileStore,
    ) -> None:
        self._engine = engine
        self._services = services
        self._gate = gate
        self._profiles = profiles

    def check(self, request: LifecycleRequest) -> None:
        """As `LifecycleRunner.check`."""
        self._load(request, services=self._services).unload(grace_s=0)

    def run(self, request: LifecycleRequest) -> KvWrites:
        """As `LifecycleRunner.run`.

        Raises:
            DeniedError: The principal is disabled, or a policy refused.
        """
        principal = request.principal
        enabled = self._profiles.profile(principal).enabled
        self._gate.check_invoke(principal, request.manifest.name, request.phase, enabled=enabled)
        staged = StagedKv(self._services.kv)
        loaded = self._load(request, services=self._hook_services(request, staged))
        try:
            limits = Limits(timeout_s=LIFECYCLE_TIMEOUT_S)
            with engine_faults(request.manifest.name):
                loaded.lifecycle(request.phase, Call(request.principal, limits))
            return staged.writes()
        finally:
            loaded.unload(grace_s=1.0)

    def _hook_services(self, request: LifecycleRequest, staged: StagedKv) -> HostServices:
        """The kernel's, with the store staged, and with secrets that a failure takes back."""
        services, secrets = replace(self._services, kv=staged), request.secrets
        if secrets is None:
            return services
        stored = services.secrets

        def find(principal: Principal, capsule: CapsuleId, key: str) -> str | None:
            given = secrets.given(key)
            if given is not None or stored is None:
                return given
            return stored(principal, capsule, key)

        def keep(_principal: Principal, _capsule: CapsuleId, key: str, text: str) -> None:
            secrets.keep(key, text)

        return replace(services, secrets=find, keep_secret=keep)

    def apply(self, writes: KvWrites) -> None:
        """As `LifecycleRunner.apply`."""
        for namespace, batch in writes.items():
            self._services.kv.apply(namespace, batch)

    def stored(self, writes: KvWrites) -> KvWrites:
        """As `LifecycleRunner.stored`."""
        kv = self._services.kv
        return {
            namespace: [KvWrite(write.key, kv.get(namespace, write.key)) for write in batch]
            for namespace, batch in writes.items()
        }

    def _load(self, request: LifecycleRequest, *, services: HostServices) -> LoadedCapsule:
        spec = capsule_spec(
            request.manifest,
            directory=request.directory,
            component=request.component,
            component_hash=request.component_hash,
            settings=request.environment,
        )
        extra = {} if request.previous_version is None else {
            "prev_version": request.previous_version
        }  # fmt: skip
        context = capsule_context(
            request.manifest, spec, owner=request.principal, extra_config=extra
        )
        return self._engine().load(spec, CapsuleHost(context, services=services))
