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

from astrid_core.kernel.dispatcher import Dispatcher
from astrid_core.kernel.install.installed import InstalledCapsule
from astrid_core.kernel.loaded import UNLOAD_GRACE_S, Loaded
from astrid_core.kernel.loading import CapsuleLoader
from astrid_core.kernel.schema_catalog import SchemaCatalog, TopicSchema
from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.errors import AstridError, CapsuleError, CapsuleNotFoundError
from astrid_hookspecs.events import CapsuleEvent
from astrid_hookspecs.values import CapsuleId

READY_TIMEOUT_S: Final = 0.5
SERVERS_READY_TIMEOUT_S: Final = 5.0
"""For servers that somebody installs: each is a program that has to start, and whoever waits wants
to hear that it does not."""
DRAIN_TIMEOUT_S: Final = 30.0
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
        loader: Makes and starts them.
        sources: Kept up to date with every load.
        catalog: Kept up to date with the schemas that loaded capsules declare.
        changed: Told of every change of state.
        offers: Told when there may be other tools without one.
    """

    def __init__(
        self,
        *,
        loader: CapsuleLoader,
        sources: SourceIndex,
        catalog: SchemaCatalog,
        changed: Callable[[CapsuleEvent], None],
        offers: Callable[[], None] = lambda: None,
    ) -> None:
        self._loader = loader
        self._sources = sources
        self._catalog = catalog
        self._changed = changed
        self._tell_offers = offers
        self._dispatcher: Dispatcher | None = None
        self._lock = threading.RLock()
        self._offers = threading.Lock()
        self._capsules: dict[CapsuleId, Loaded] = {}
        self._by_tool: Mapping[str, tuple[Loaded, ...]] = {}
        self._is_closed = False

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

    def find(self, capsule_id: CapsuleId) -> Loaded | None:
        """The capsule in whatever state, None when it is not loaded."""
        return self._capsules.get(capsule_id)

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

    def failing(self, tool: str) -> list[Loaded]:
        """The capsules that would offer a tool and have failed, by id."""
        return [capsule for capsule in self._by_tool.get(tool, ()) if capsule.state == "failed"]

    def speaker(self, source_id: str) -> CapsuleId | None:
        """The capsule that publishes under a source id; also while it is being replaced."""
        return self._sources.capsule(source_id)

    def load(self, installed: InstalledCapsule) -> Loaded:
        """Load an installed capsule, replacing a loaded one of the same id.

        The new version is ready before the old one is touched, so that a new one which fails
        leaves the old one serving. Calls that are running finish on the old one. A lone run loop
        is stopped before its successor starts, and what it has not received by then waits for
        the successor; if that fails, the failed one takes the place.

        Args:
            installed: Verified. One that is late counts as ready, with a warning.

        Raises:
            PluginLoadError: An engine it needs is not installed.
            ComponentError: An engine refused it.
            CapsuleError: Its run loop or a server ended before it was ready; or `kernel.closed`.
            AuditError: It could not be recorded.
            DeniedError: It has a run loop and its owner is disabled, or a policy refused.
        """
        with self._lock:
            fresh = self.begin(installed)
            patience_s = SERVERS_READY_TIMEOUT_S if fresh.runs_servers else READY_TIMEOUT_S
            self.finish(fresh, ready_timeout_s=patience_s)
        return fresh

    def begin(self, installed: InstalledCapsule) -> Loaded:
        """The first half of `load`: everything but the wait. `finish` has to follow.

        Raises:
            As `load`.
        """
        fresh = self._loader.prepare(installed)
        self._watch(fresh)
        with self._lock:
            try:
                self._make_room(fresh)
                self._sources.add(fresh)
                self._loader.start(fresh)
            except BaseException as error:
                self._abandon(fresh, error)
                raise
        return fresh

    def finish(self, fresh: Loaded, *, ready_timeout_s: float) -> None:
        """The second half of `load`: wait for it and let it serve.

        Raises:
            CapsuleError: Its run loop ended before it was ready.
        """
        try:
            is_in_time = self._loader.wait_ready(fresh, timeout_s=ready_timeout_s)
        except BaseException as error:
            with self._lock:
                self._abandon(fresh, error)
            raise
        if is_in_time:  # by now it has subscribed; a late one may still come for what is left
            fresh.host.estate.clear()
        with self._lock:
            old = self._capsules.get(fresh.id)
            fresh.state = "ready"  # before it can be found: events in between find one or the other
            self._capsules[fresh.id] = fresh
            self._index_tools()
            self._catalog.register(fresh.id, _schemas(fresh))
            self._bind(fresh)
            self._tell(fresh, "ready")
            if old is not None and old.state == "ready":
                self._retire(old)
                old.host.estate.close()

    def fail(self, capsule: Loaded, reason: str) -> bool:
        """Stop a capsule that does not work any more and keep it, in state failed.

        Args:
            capsule: As it was found; one that was replaced meanwhile is none of this.
            reason: For everybody.

        Returns:
            Whether it was the one that served.
        """
        with self._lock:
            if self._capsules.get(capsule.id) is not capsule or capsule.state != "ready":
                return False
            self._stop_failed(capsule, reason, told=reason, grace_s=UNLOAD_GRACE_S)
            return True

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
                if capsule.state != "failed":  # that one is stopped already
                    self._retire(capsule)
            finally:
                capsule.host.estate.close()
                del self._capsules[capsule_id]
                self._index_tools()

    def close(self) -> None:
        """Unload everything, last loaded first; running calls are stopped, not awaited."""
        with self._lock, ExitStack() as stopping:  # goes on when one of them cannot be stopped
            for capsule in self._capsules.values():
                if capsule.state == "failed":  # that one is stopped already
                    continue
                stopping.callback(self._stop, capsule, grace_s=CLOSE_GRACE_S)
                stopping.callback(self._unbind, capsule)
            self._capsules = {}
            self._is_closed = True
            self._index_tools()

    def _index_tools(self) -> None:
        """Note anew who offers what; readers see the old index or the new one, whole."""
        with self._offers:
            self._index_locked()

    def _index_locked(self) -> None:
        found: dict[str, tuple[Loaded, ...]] = {}
        for capsule in self.all():
            for tool in capsule.tool_names:
                found[tool] = (*found.get(tool, ()), capsule)
        self._by_tool = found

    def _watch(self, fresh: Loaded) -> None:
        """Follow what the servers of a load offer, which changes at any time and on any thread."""
        fresh.host.watch_offers(
            taken=lambda: self._taken(fresh), changed=lambda: self._offers_changed(fresh)
        )

    def _taken(self, asking: Loaded) -> frozenset[str]:
        others = (
            name
            for name, capsules in self._by_tool.items()
            if any(capsule.id != asking.id for capsule in capsules)
        )
        return frozenset((*others, *asking.manifest.tool_names))

    def _offers_changed(self, capsule: Loaded) -> None:
        """Not under the lock of loads: who unloads holds it, and waits for the one that offers."""
        with self._offers:
            if self._capsules.get(capsule.id) is not capsule or capsule.state != "ready":
                return
            self._index_locked()
            self._bind_locked(capsule)
        self._tell_offers()

    def _make_room(self, fresh: Loaded) -> None:
        """Stop what cannot run beside a new load, and give it what that leaves."""
        if self._is_closed:
            raise CapsuleError("the kernel is closing", code="kernel.closed")
        old = self._capsules.get(fresh.id)
        if old is None or (old.state == "ready" and old.answers_hooks()):
            return
        if old.state == "ready":
            self._retire(old)
        fresh.host.estate.adopt(old.host.estate)

    def _abandon(self, capsule: Loaded, error: BaseException) -> None:
        """Leave nothing of a failed load running; it stays visible where nothing else serves."""
        old = self._capsules.get(capsule.id)
        if old is None or old.state != "ready":
            self._capsules[capsule.id] = capsule
            self._index_tools()
            self._catalog.unregister(capsule.id)
            self._unbind(capsule)
        self._stop_failed(capsule, str(error), told=load_failure(error), grace_s=0)

    def _stop_failed(self, capsule: Loaded, reason: str, *, told: str, grace_s: float) -> None:
        self._sources.discard(capsule)
        try:
            capsule.unload(grace_s=grace_s)
        except AstridError as stuck:
            logger.error("capsule {} cannot be unloaded: {}", capsule.id, stuck)
        capsule.problem, capsule.told = reason, told
        capsule.state = "failed"
        self._tell(capsule, "failed", reason)

    def _bind(self, capsule: Loaded) -> None:
        with self._offers:
            self._bind_locked(capsule)

    def _bind_locked(self, capsule: Loaded) -> None:
        if self._dispatcher is None:
            return
        if capsule.answers_hooks():
            self._dispatcher.set_bindings(capsule.id, capsule.bindings)
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


def load_failure(error: BaseException) -> str:
    """Why a capsule was not loaded, without what messages may say about the host."""
    if not isinstance(error, AstridError):
        return "it could not be loaded (internal)"
    return (
        str(error) if error.code == "capsule.crashed" else f"it could not be loaded ({error.code})"
    )


def _schemas(capsule: Loaded) -> list[TopicSchema]:
    return [
        TopicSchema(topic.name, topic.direction, topic.description or "", topic.schema)
        for topic in capsule.topics
    ]
