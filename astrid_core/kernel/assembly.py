"""Puts a kernel together: plugins, stores, bus, gate, workers, engines. Holds no rules.

Every step that acquires something registers its release, so that a boot that fails at any point
leaves nothing behind. Spec: kernel-and-security 1.2.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from loguru import logger

from astrid_core.builtin.system_clock import SystemClock
from astrid_core.config import Settings, load_layers
from astrid_core.host.abi import load_abi
from astrid_core.host.http_network import Network, connection_counts
from astrid_core.host.services import HostServices
from astrid_core.kernel.admin.api import AdminApi
from astrid_core.kernel.approval_messages import approval_notices
from astrid_core.kernel.audit.capsule_changes import record_change
from astrid_core.kernel.audit.denials import DenialRecorder
from astrid_core.kernel.audit.log import AuditLog
from astrid_core.kernel.boot import announce_tools
from astrid_core.kernel.capsule_secrets import CapsuleSecrets
from astrid_core.kernel.capsules import CapsuleTable, SourceIndex
from astrid_core.kernel.consent import ToolConsent
from astrid_core.kernel.decisions import DecisionLog
from astrid_core.kernel.dispatcher import Dispatcher
from astrid_core.kernel.elicit_messages import elicit_notices
from astrid_core.kernel.engine_pool import EnginePool
from astrid_core.kernel.home import Home
from astrid_core.kernel.home_parts import (
    mount_openers,
    open_audit,
    open_local_sockets,
    record_boot_refusal,
)
from astrid_core.kernel.install.answers import read_settings
from astrid_core.kernel.lifecycle import KernelLifecycle
from astrid_core.kernel.loading import CapsuleLoader
from astrid_core.kernel.logs import CapsuleLogs
from astrid_core.kernel.models import ModelDesk
from astrid_core.kernel.mounts.changes import WorkspaceChanges
from astrid_core.kernel.mounts.openers import MountOpeners
from astrid_core.kernel.mounts.table import MountTable, environment_limit
from astrid_core.kernel.onboarding import Onboarding
from astrid_core.kernel.people import people_of
from astrid_core.kernel.principals.assembly import Principals, make_principals
from astrid_core.kernel.processes.cancelling import CANCEL_TOPIC, cancels_processes
from astrid_core.kernel.processes.table import ProcessTable
from astrid_core.kernel.profiles import ProfileStore
from astrid_core.kernel.sandboxes import Sandboxes
from astrid_core.kernel.schema_catalog import SchemaCatalog
from astrid_core.kernel.secret_stores import HomeSecrets, open_secret_store
from astrid_core.kernel.server_places import ServerPlaces
from astrid_core.kernel.session_token import SessionToken
from astrid_core.kernel.state_meter import StateMeter
from astrid_core.kernel.tools import ToolCalls
from astrid_core.kernel.turns import Turns
from astrid_core.kernel.usage import usage_of
from astrid_core.kernel.worker_pool import WorkerPool
from astrid_core.pluginhost.allowlist import load_allow_list
from astrid_core.pluginhost.distribution import find_distribution
from astrid_core.pluginhost.host import PluginHost
from astrid_core.security.gate import Gate
from astrid_core.security.policy_votes import with_policy
from astrid_hookspecs.audit import AuditSink, AuditSinkRecord
from astrid_hookspecs.buses import Bus, BusRecord
from astrid_hookspecs.errors import PluginError
from astrid_hookspecs.events import CapsuleEvent
from astrid_hookspecs.sandboxes import ProcessSandboxRecord
from astrid_hookspecs.stores import KvStoreRecord
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, CapsuleId, Principal

CLOSE_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What a kernel is made of.

    Attributes:
        changed: Records a change of a capsule's state and tells observers.
        release: Undoes all of it in reverse order.
    """

    home: Home
    settings: Settings
    plugins: PluginHost
    bus: Bus
    services: HostServices
    gate: Gate
    profiles: ProfileStore
    principals: Principals
    engines: EnginePool
    capsules: CapsuleTable
    catalog: SchemaCatalog
    dispatcher: Dispatcher
    tools: ToolCalls
    decisions: DecisionLog
    mounts: MountTable
    audit: AuditLog
    openers: MountOpeners
    state: StateMeter
    secrets: HomeSecrets | None
    onboarding: Onboarding
    session: SessionToken
    changed: Callable[[CapsuleEvent], None]
    release: ExitStack


def _sinks(plugins: PluginHost) -> dict[str, AuditSink]:
    """A new sink of each plugin that has one, by the name that the log calls it by."""
    return {
        f"audit sink {found.record.name!r} of {found.source.label}": found.record.factory()
        for found in plugins.registry.registered(AuditSinkRecord)
    }


def lifecycle_of(parts: Parts) -> KernelLifecycle:
    """What runs install and upgrade hooks on these parts."""
    return KernelLifecycle(
        lambda: parts.engines.engine("component"),
        services=parts.services,
        gate=parts.gate,
        profiles=parts.profiles,
    )


def admin_of(parts: Parts) -> AdminApi:
    """What answers management requests on these parts."""
    return AdminApi(
        parts.principals,
        parts.gate,
        parts.audit,
        usage=partial(
            usage_of,
            state=parts.state,
            capsules=parts.capsules,
            processes_bytes=parts.services.processes.memory_bytes,
        ),
        secrets=parts.secrets,
    )


def changes_of(parts: Parts, principal: Principal) -> WorkspaceChanges:
    """What a principal changed in the workspace, for the person who decides about it."""
    return WorkspaceChanges(
        principal,
        table=parts.mounts,
        openers=parts.openers,
        audit=parts.services.audit,
        clock=parts.services.clock,
    )


def assemble(
    path: Path,
    *,
    workspace: Path | None = None,
    plugins: Mapping[str, object] | Iterable[object] = (),
) -> Parts:
    """Open a home and make every part; no capsule is loaded yet.

    Args:
        path: The runtime home, absolute.
        workspace: The project directory that guests see as `workspace://`; None for none.
        plugins: Plugin objects of an embedding program, besides the installed ones.

    Raises:
        HomeLockedError: Another kernel uses the home.
        ConfigError: The home or one of its files cannot be used.
        PluginError: A plugin is broken, missing, or in conflict with another.
        StoreError: The key-value store cannot be opened.
    """
    with ExitStack() as release:
        home = Home.open(path)
        release.callback(home.lock().close)
        home.create_principal(DEFAULT_PRINCIPAL)
        build = find_distribution()
        layers = load_layers(
            home.path,
            workspace=workspace,
            bundled=build.config_file if build else None,
            environ=os.environ,
        )
        for note in layers.notes:
            logger.warning("{}", note)
        settings = layers.settings
        allowed = load_allow_list(
            home.etc / "plugins.toml", bundled=build.plugins_file if build else None
        )
        try:
            plugin_host = PluginHost.open(allowed, extra_plugins=plugins)
        except PluginError as error:
            record_boot_refusal(home, settings, error)
            raise
        return _wire(home, settings, plugin_host, release, workspace=workspace)


def _wire(
    home: Home,
    settings: Settings,
    plugins: PluginHost,
    release: ExitStack,
    *,
    workspace: Path | None,
) -> Parts:
    """Make the parts; on success, `release` has passed what it holds on to them."""
    kv = plugins.registry.choose(KvStoreRecord, settings.storage).factory(home.var)
    release.callback(kv.close)
    bus = plugins.registry.choose(BusRecord, settings.bus).factory()
    release.callback(bus.close)
    clock = SystemClock()
    logs = release.enter_context(closing(CapsuleLogs(home.path / "home", clock=clock)))
    audit = open_audit(home, settings, sinks=_sinks(plugins))
    release.callback(audit.close)
    denials = DenialRecorder(audit)
    audit.each_round(denials.flush)
    release.callback(denials.close)
    decisions = DecisionLog(plugins.observe, denied=denials.record)
    gate = Gate(votes=with_policy(plugins.votes, settings.policy), decided=decisions.record)
    profiles = ProfileStore(home.etc / "profiles")
    principals = make_principals(
        home,
        profiles=profiles,
        kv=kv,
        audit=audit,
        announce=approval_notices(bus),
        elicit=elicit_notices(bus),
        budget=settings.budget,
        workspace=workspace,
    )
    pool = WorkerPool(size=settings.limits.workers)
    release.callback(pool.close, timeout_s=CLOSE_TIMEOUT_S)
    turns = Turns(blocked=pool.blocked)
    openers = mount_openers(home, settings, plugins.registry, profiles, workspace=workspace)
    mounts = MountTable(
        openers.by_scheme(), shared=frozenset(settings.mounts), capacity=environment_limit()
    )
    release.callback(mounts.close)
    sandboxes = Sandboxes(plugins.registry.records(ProcessSandboxRecord), hidden=(home.path,))
    processes = ProcessTable(
        home.var,
        sandbox=sandboxes.choose,
        network=settings.processes.network,
        writes_workspace=settings.processes.writes_workspace,
    )
    release.callback(processes.close)
    sources = SourceIndex()
    secret_store = open_secret_store(plugins.registry, home, name=settings.secrets)
    secrets = None if secret_store is None else CapsuleSecrets(secret_store)
    local_sockets = open_local_sockets(home, gate, release)
    state = StateMeter(kv, meter_of=openers.meter)
    services = HostServices(
        kv=kv,
        bus=bus,
        gate=gate,
        profiles=profiles,
        clock=clock,
        random_bytes=os.urandom,
        logs=logs,
        blocked=pool.blocked,
        capsules=sources,
        secrets=None if secrets is None else secrets.find,
        keep_secret=None if secrets is None else secrets.keep,
        people=people_of(principals, workspace=workspace),
        models=ModelDesk(bus, running=lambda: (dispatcher, capsules)),
        processes=processes,
        files=mounts,
        state=state,
        audit=audit,
        turns=turns,
        network=Network(
            consent=settings.local_egress,
            connections=connection_counts(settings.connections),
        ),
        servers=ServerPlaces(home),
        local_sockets=local_sockets,
    )
    release.callback(bus.add_listener(CANCEL_TOPIC, cancels_processes(processes)))
    engines = EnginePool(
        choose=lambda kind: plugins.registry.choose_engine(kind, settings.engines.for_entry(kind)),
        cache_dir=home.path / "cache",
        seal_key=home.seal_key(),
        abi=load_abi(),
        sandbox=sandboxes.choose,
        state_dir=home.var / "engines",
    )
    release.callback(engines.close)

    catalog = SchemaCatalog()

    def changed(event: CapsuleEvent) -> None:
        if event.state != "ready":
            processes.end_unloaded(lambda load: sources.capsule(load) is not None)
        record_change(audit, event)
        plugins.observe("astrid_capsule_changed", event)
        announce_tools(bus)

    onboarding = Onboarding(home, secrets=secret_store, bus=bus, audit=audit)

    def answers(capsule: CapsuleId) -> Mapping[str, str]:
        return read_settings(home.principal(DEFAULT_PRINCIPAL).env_file(capsule))

    capsules = CapsuleTable(
        loader=CapsuleLoader(
            engines=engines,
            services=services,
            profiles=profiles,
            gate=gate,
            settings=answers,
            onboard=onboarding.announce,
            rights=principals.authority.decide,
            consent=ToolConsent(
                settings.policy, services.people.approver, blocked=pool.blocked
            ).ask,
        ),
        sources=sources,
        catalog=catalog,
        changed=changed,
        offers=lambda: announce_tools(bus),
    )
    release.callback(capsules.close)
    dispatcher = Dispatcher(bus, pool=pool, directory=capsules, turns=turns)
    capsules.attach(dispatcher)
    release.callback(dispatcher.stop)
    tools = ToolCalls(bus, dispatcher=dispatcher, capsules=capsules)
    release.callback(tools.close)
    return Parts(
        home=home,
        settings=settings,
        plugins=plugins,
        bus=bus,
        services=services,
        gate=gate,
        profiles=profiles,
        principals=principals,
        engines=engines,
        capsules=capsules,
        catalog=catalog,
        dispatcher=dispatcher,
        tools=tools,
        decisions=decisions,
        mounts=mounts,
        audit=audit,
        openers=openers,
        state=state,
        secrets=secret_store,
        onboarding=onboarding,
        session=local_sockets.session,
        changed=changed,
        release=release.pop_all(),
    )
