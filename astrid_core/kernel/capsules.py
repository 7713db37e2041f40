"""The capsules of a running kernel: load, swap, unload, find.

Trusted with states: the dispatcher sees a capsule only while it is ready, and a failed load leaves
nothing running. Spec: capsules-and-bus 3.4, 3.5, 4.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Final

from loguru import logger

from astrid_core.host.capsule import CapsuleHost
from astrid_core.host.services import HostServices
from astrid_core.kernel.audit.capsule_changes import record_load
from astrid_core.kernel.capsule_spec import capsule_context, capsule_spec
from astrid_core.kernel.dispatcher import Dispatcher
from astrid_core.kernel.engine_pool import EnginePool
from astrid_core.kernel.install.installed import InstalledCapsule
from astrid_core.kernel.loaded import UNLOAD_GRACE_S, Loaded
from astrid_core.kernel.profiles import ProfileStore
from astrid_core.kernel.schema_catalog import SchemaCatalog, TopicSchema
from astrid_core.security.gate import Gate
from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.engines import CapsuleSpec, LoadedCapsule, Readiness
from astrid_hookspecs.errors import AstridError, CapsuleError, CapsuleNotFoundError
from astrid_hookspecs.events import CapsuleEvent
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, CapsuleId

READY_TIMEOUT_S: Final = 0.5
DRAIN_TIMEOUT_S: Final = 30.0
RUN_ACTION: Final = "run"
"""What policies are asked about when a run loop is about to start."""
CLOSE_GRACE_S: Final = 0.5
"""How long a guest gets to come back by itself when the kernel closes."""


class SourceIndex:
    """Which capsule speaks under a source id. Implements the host's directory."""

    def __init__(self) -> None:
        self._grants: dict[str, CapsuleGrants] = {}

    def add(self, capsule: Loaded) -> None:
        """Remember a load."""
        self._grants[capsule.source_id] = capsule.grants

    def discard(self, capsule: Loaded) -> None:
        """Forget a load."""
        self._grants.pop(capsule.source_id, None)

    def capabilities(self, source_id: str) -> frozenset[str] | None:
        """Names of held capabilities, None for an unknown source id."""
        grants = self._grants.get(source_id)
        return None if grants is None else grants.capabilities

    def capsule(self, source_id: str) -> CapsuleId | None:
        """Whose load this is, None for one that is gone or never was."""
        grants = self._grants.get(source_id)
        return None if grants is None else grants.capsule


class CapsuleTable:
    """Loaded capsules by id. Implements the dispatcher's `CapsuleDirectory`.

    Changes come from one thread at a time (the kernel's life-cycle lock); look-ups from any.

    Args:
        engines: Runs the entries.
        services: What host functions act on.
        sources: Kept up to date with every load.
        profiles: Limits of callers.
        gate: Decides about every call.
        settings: Stored `[env]` answers of a capsule.
        catalog: Kept up to date with the schemas that loaded capsules declare.
        changed: Told of every change of state.
    """

    def __init__(
        self,
        *,
        engines: EnginePool,
        services: HostServices,
        sources: SourceIndex,
        profiles: ProfileStore,
        gate: Gate,
        settings: Callable[[CapsuleId], Mapping[str, str]],
        catalog: SchemaCatalog,
        changed: Callable[[CapsuleEvent], None],
    ) -> None:
        self._engines = engines
        self._services = services
        self._sources = sources
        self._profiles = profiles
        self._gate = gate
        self._settings = settings
        self._catalog = catalog
        self._changed = changed
        self._dispatcher: Dispatcher | None = None
        self._lock = threading.RLock()
        self._capsules: dict[CapsuleId, Loaded] = {}
        self._by_tool: Mapping[str, tuple[Loaded, ...]] = {}

    def attach(self, dispatcher: Dispatcher) -> None:
        """Tell which dispatcher delivers events; once, before the first load."""
        self._dispatcher = dispatcher

    def lookup(self, capsule_id: CapsuleId) -> Loaded | None:
        """The capsule, if it is ready."""
        capsule = self._capsules.get(capsule_id)
        return capsule if capsule is not None and capsule.state == "ready" else None

    def get(self, capsule_id: CapsuleId) -> Loaded:
        """The capsule in whatever state.

        Raises:
            CapsuleNotFoundError: It is not loaded.
        """
        try:
            return self._capsules[capsule_id]
        except KeyError:
            raise CapsuleNotFoundError(
                f"no capsule {capsule_id!r} is loaded", hint="see what is: astrid capsule list"
            ) from None

    def all(self) -> list[Loaded]:
        """Every loaded capsule, by id."""
        return [self._capsules[key] for key in sorted(self._capsules)]

    def tools(self) -> dict[str, list[Loaded]]:
        """Who offers each tool now, both sorted."""
        offers = {tool: self.offering(tool) for tool in sorted(self._by_tool)}
        return {tool: capsules for tool, capsules in offers.items() if capsules}

    def offering(self, tool: str) -> list[Loaded]:
        """The ready capsules that offer a tool, by id."""
        return [capsule for capsule in self._by_tool.get(tool, ()) if capsule.state == "ready"]

    def speaker(self, source_id: str) -> CapsuleId | None:
        """The capsule that publishes under a source id; also while it is being replaced."""
        return self._sources.capsule(source_id)

    def load(self, installed: InstalledCapsule, *, ready_timeout_s: float) -> Loaded:
        """Load an installed capsule, replacing a loaded one of the same id.

        The new version is ready before the old one is touched, so that a new one which fails
        leaves the old one serving. Calls that are running finish on the old one. A lone run loop
        is stopped before its successor starts; if that fails, the failed one takes the place.

        Args:
            installed: Verified.
            ready_timeout_s: How long to wait for the readiness of a run loop; a capsule that is
                late counts as ready, with a warning.

        Raises:
            PluginLoadError: An engine it needs is not installed.
            ComponentError: An engine refused it.
            CapsuleError: Its run loop ended before it was ready.
            AuditError: It could not be recorded.
            DeniedError: It has a run loop and its owner is disabled, or a policy refused.
        """
        record_load(self._services.audit, capsule=installed.id, version=installed.meta.version)
        fresh = self._prepare(installed)
        with self._lock:
            old = self._capsules.get(fresh.id)
            if old is not None and not old.answers_hooks():
                self._retire(old)
                old = None
            self._sources.add(fresh)
            try:
                self._start(fresh, timeout_s=ready_timeout_s)
            except BaseException as error:
                self._abandon(fresh, error, is_replacement=old is not None)
                raise
            self._capsules[fresh.id] = fresh
            fresh.state = "ready"
            self._index_tools()
            self._catalog.register(fresh.id, _schemas(installed))
            self._bind(fresh)
            self._tell(fresh, "ready")
            if old is not None:
                self._retire(old)
        return fresh

    def unload(self, capsule_id: CapsuleId) -> None:
        """Stop a capsule and forget it.

        Raises:
            CapsuleNotFoundError: It is not loaded.
        """
        with self._lock:
            capsule = self.get(capsule_id)
            self._unbind(capsule)
            self._catalog.unregister(capsule_id)
            try:
                self._retire(capsule)
            finally:
                del self._capsules[capsule_id]
                self._index_tools()

    def close(self) -> None:
        """Unload everything, last loaded first; running calls are stopped, not awaited."""
        with self._lock, ExitStack() as stopping:  # goes on when one of them cannot be stopped
            for capsule in self._capsules.values():
                stopping.callback(self._stop, capsule, grace_s=CLOSE_GRACE_S)
                stopping.callback(self._unbind, capsule)
            self._capsules = {}
            self._index_tools()

    def _index_tools(self) -> None:
        """Note anew who offers what; readers see the old index or the new one, whole."""
        found: dict[str, tuple[Loaded, ...]] = {}
        for capsule in self.all():
            for tool in capsule.manifest.tool_names:
                found[tool] = (*found.get(tool, ()), capsule)
        self._by_tool = found

    def _prepare(self, installed: InstalledCapsule) -> Loaded:
        manifest = installed.manifest
        spec = capsule_spec(
            manifest,
            directory=installed.directory,
            component=installed.component,
            component_hash=installed.meta.wasm_hash,
            settings=self._settings(installed.id),
        )
        context = capsule_context(manifest, spec, owner=DEFAULT_PRINCIPAL)
        host = CapsuleHost(context, services=self._services)
        return Loaded(
            spec=spec,
            manifest=manifest,
            grants=context.grants,
            parts=self._load_parts(spec, host),
            tools=tuple(installed.meta.tools),
            profiles=self._profiles,
            gate=self._gate,
            audit=self._services.audit,
        )

    def _load_parts(self, spec: CapsuleSpec, host: CapsuleHost) -> tuple[LoadedCapsule, ...]:
        parts: list[LoadedCapsule] = []
        try:
            if spec.component is not None:
                parts.append(self._engines.engine("component").load(spec, host))
            if any(server.type == "stdio" for server in spec.servers):
                parts.append(self._engines.engine("mcp_server").load(spec, host))
        except Exception:
            for part in reversed(parts):
                part.unload(grace_s=0)
            raise
        return tuple(parts)

    def _start(self, capsule: Loaded, *, timeout_s: float) -> None:
        """Start the run loops, after the gate agreed to that, and wait until they are ready."""
        if any(part.is_run_loop() for part in capsule.parts):
            profile = self._profiles.profile(capsule.owner)
            self._gate.check_invoke(capsule.owner, capsule.id, RUN_ACTION, enabled=profile.enabled)
        capsule.start()
        outcome = capsule.wait_ready(timeout_s=timeout_s)
        if outcome is Readiness.CRASHED:
            raise CapsuleError(
                f"capsule {capsule.id!r} ended before it was ready: {capsule.health().reason}",
                code="capsule.crashed",
                hint="its log says more: see the log directory of the default principal",
            )
        if outcome is Readiness.TIMEOUT:
            logger.warning("capsule {} did not signal readiness in time; going on", capsule.id)

    def _abandon(self, capsule: Loaded, error: BaseException, *, is_replacement: bool) -> None:
        """Leave nothing of a failed load running; it stays visible where nothing else serves."""
        reason = str(error)
        try:
            self._sources.discard(capsule)
            capsule.unload(grace_s=0)
        except AstridError as stuck:
            logger.error("capsule {} cannot be unloaded: {}", capsule.id, stuck)
        capsule.state, capsule.problem = "failed", reason
        if not is_replacement:
            self._capsules[capsule.id] = capsule
            self._index_tools()
            self._catalog.unregister(capsule.id)
            self._unbind(capsule)
        self._tell(capsule, "failed", reason)

    def _bind(self, capsule: Loaded) -> None:
        if self._dispatcher is None:
            return
        if capsule.answers_hooks():
            self._dispatcher.set_bindings(capsule.id, capsule.spec.bindings)
        else:  # the version before it may have had some
            self._dispatcher.remove_bindings(capsule.id)

    def _retire(self, capsule: Loaded) -> None:
        capsule.state = "unloading"
        if not capsule.drain(timeout_s=DRAIN_TIMEOUT_S):
            logger.warning("capsule {} is still busy; its calls are stopped", capsule.id)
        self._stop(capsule, grace_s=UNLOAD_GRACE_S)

    def _stop(self, capsule: Loaded, *, grace_s: float) -> None:
        self._sources.discard(capsule)
        capsule.unload(grace_s=grace_s)
        self._tell(capsule, "unloaded")

    def _unbind(self, capsule: Loaded) -> None:
        if self._dispatcher is not None:
            self._dispatcher.remove_bindings(capsule.id)

    def _tell(self, capsule: Loaded, state: str, detail: str = "") -> None:
        self._changed(CapsuleEvent(state, capsule.id, capsule.spec.version, detail))


def _schemas(installed: InstalledCapsule) -> list[TopicSchema]:
    return [
        TopicSchema(topic.name, topic.direction, topic.description or "", topic.schema)
        for topic in installed.meta.topics
    ]
