"""The plugin host: everything the kernel and the command line want from plugins.

Trusted with the order of things: find, apply the allow-list, import, check, register, and only then
call. A plugin that fails at any step stops the boot with an error that names its distribution.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from astrid_core.pluginhost.allowlist import AllowList
from astrid_core.pluginhost.discovery import (
    FoundPlugin,
    LoadedPlugin,
    find_plugins,
    load_plugins,
)
from astrid_core.pluginhost.dispatch import ObserverCaller, VoteCaller, declared, select
from astrid_core.pluginhost.manager import HookManager
from astrid_core.pluginhost.registry import Registry
from astrid_core.pluginhost.source import IN_PROCESS, PluginSource
from astrid_hookspecs.authz import AuthzRequest, Vote
from astrid_hookspecs.errors import PluginError, PluginLoadError
from astrid_hookspecs.kinds import HOOKS, HookKind

BOOT_KINDS: Final = frozenset(
    {
        "engine",
        "vfs-backend",
        "vfs-overlay",
        "secret-store",
        "kv-store",
        "bus",
        "process-sandbox",
        "audit-sink",
    }
)
"""Kinds that are collected while the kernel boots; the others when a command needs them."""


@dataclass(frozen=True, slots=True)
class Supplied:
    """One thing a plugin supplies: a record, or its part in a vote or observe hook.

    Attributes:
        kind: Plugin kind (`kv-store`), or `authz-policy`, `observer`, `selector`.
        name: Name of the record, or of the hook.
        priority: Of the record, where its kind has priorities.
        serves: Entry kinds of an engine.
    """

    kind: str
    name: str
    priority: int | None = None
    serves: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """What is known about one plugin.

    Attributes:
        name: Entry-point name.
        distribution: Who supplies it.
        version: Version of the distribution.
        module: What the entry point names.
        enabled: Whether the allow-list lets it in.
        hooks: Hooks it implements, in the order of the contract; empty when it was not loaded.
        supplies: What it declared; votes and observers under the name of their hook.
        load_ms: How long its import took; None when it was not loaded.
        error: Why it cannot be used, or None.
    """

    name: str
    distribution: str
    version: str
    module: str
    enabled: bool
    hooks: tuple[str, ...] = ()
    supplies: tuple[Supplied, ...] = ()
    load_ms: float | None = None
    error: str | None = None


class PluginHost:
    """Loaded plugins and the ways to call them. Safe from any thread once it is open.

    Attributes:
        registry: What plugins declared.
    """

    def __init__(
        self,
        manager: HookManager,
        *,
        loaded: Iterable[LoadedPlugin],
        refused: Iterable[PluginSource] = (),
    ) -> None:
        self._manager = manager
        self._loaded = list(loaded)
        self._refused = list(refused)
        self.registry = Registry(
            partial(declared, manager),
            hooks=manager.hooks,
            refused=[source.name for source in self._refused],
        )
        self._votes = VoteCaller(manager)
        self._observers = ObserverCaller(manager)

    @classmethod
    def open(
        cls,
        allow_list: AllowList | None = None,
        *,
        only: Collection[str] | None = None,
        extra_plugins: Mapping[str, object] | Iterable[object] = (),
        boot: bool = True,
    ) -> PluginHost:
        """Find, import and register plugins.

        Args:
            allow_list: Which installed plugins may be loaded; None for every one.
            only: Entry-point names to restrict the installed plugins to; each has to be allowed
                and installed. Empty for none at all.
            extra_plugins: Objects of an embedding program, by name or named after themselves; the
                allow-list does not apply to them.
            boot: Whether to collect `BOOT_KINDS` now, so that a malformed record stops the boot.

        Raises:
            PluginLoadError: A plugin cannot be imported or is missing.
            PluginContractError: A plugin breaks the hook contract or declared something malformed.
            PluginConflictError: Two plugins supply one thing.
        """
        allowed = allow_list or AllowList()
        found = find_plugins()
        names = allowed.chosen(plugin.source.name for plugin in found)
        if only is not None:
            names = _restricted(allowed, only)
        manager = HookManager()
        loaded = [*load_plugins(found, names=names), *_in_process(extra_plugins)]
        for plugin in loaded:
            manager.add(plugin.plugin, source=plugin.source)
        manager.check_pending()
        refused = [plugin.source for plugin in found if not allowed.allows(plugin.source.name)]
        host = cls(manager, loaded=loaded, refused=refused)
        if boot:
            for kind in sorted(BOOT_KINDS):
                host.registry.registered(kind)
        return host

    @property
    def has_policies(self) -> bool:
        """Whether plugins vote, so that a decision may have to be waited for."""
        return self._votes.has_policies

    def votes(self, request: AuthzRequest) -> list[tuple[str, Vote]]:
        """The distribution and the vote of each policy; empty when no plugin has one.

        Exactly one vote per implementation: what fails, hangs or answers anything else is a DENY.
        """
        return self._votes.collect(request)

    def observe(self, hook: str, event: object) -> None:
        """Tell observers; see `ObserverCaller.observe`."""
        self._observers.observe(hook, event)

    def select(self, hook: str, **arguments: object) -> object:
        """The first answer to a select hook; see `dispatch.select`."""
        return select(self._manager, hook, **arguments)

    def info(self) -> list[PluginInfo]:
        """Every plugin of this host, and every installed one the allow-list refuses, by name.

        Raises:
            PluginError: As `Registry.registered`; `survey` reports such errors instead.
        """
        infos = [self._info(plugin) for plugin in self._loaded]
        infos.extend(_uninspected(source, enabled=False) for source in self._refused)
        return sorted(infos, key=lambda info: info.name)

    def _info(self, plugin: LoadedPlugin) -> PluginInfo:
        source = plugin.source
        hooks = tuple(self._manager.implemented_by(source.name))
        supplies = [
            _supplied(kind, item.record)
            for kind in self.registry.kinds
            for item in self.registry.registered(kind)
            if item.source == source
        ]
        supplies.extend(
            Supplied(_WORDS[info.kind], hook)
            for hook, info in HOOKS.items()
            if info.kind in _WORDS and hook in hooks
        )
        return PluginInfo(
            name=source.name,
            distribution=source.distribution,
            version=source.version,
            module=source.module,
            enabled=True,
            hooks=hooks,
            supplies=tuple(supplies),
            load_ms=round(plugin.load_ms, 1),
        )


def _supplied(kind: str, record: Any) -> Supplied:
    return Supplied(
        kind,
        record.name,
        priority=getattr(record, "priority", None),
        serves=tuple(sorted(getattr(record, "serves", ()))),
    )


_WORDS: Final = {
    HookKind.VOTE: "authz-policy",
    HookKind.OBSERVE: "observer",
    HookKind.SELECT: "selector",
}


def survey(allow_list: AllowList) -> list[PluginInfo]:
    """Look at each installed plugin by itself; a broken one is reported instead of raised.

    Plugins the allow-list refuses are listed and not imported.

    Raises:
        PluginConflictError: Two distributions use one plugin name.
        PluginContractError: A plugin name is malformed.
    """
    return [_surveyed(plugin, allow_list) for plugin in find_plugins()]


def _surveyed(found: FoundPlugin, allow_list: AllowList) -> PluginInfo:
    source = found.source
    if not allow_list.allows(source.name):
        return _uninspected(source, enabled=False)
    try:
        manager = HookManager()
        (loaded,) = load_plugins([found], names=[source.name])
        manager.add(loaded.plugin, source=source)
        manager.check_pending()
        (info,) = PluginHost(manager, loaded=[loaded]).info()
    except PluginError as error:
        return _uninspected(source, enabled=True, error=error.message)
    return info


def _restricted(allow_list: AllowList, only: Collection[str]) -> frozenset[str]:
    for name in only:
        if not allow_list.allows(name):
            raise PluginLoadError(
                f"the plugin {name!r} is disabled",
                code="plugin.disabled",
                hint=f"allow it with 'astrid plugins enable {name}'",
            )
    return frozenset(only)


def _uninspected(source: PluginSource, *, enabled: bool, error: str | None = None) -> PluginInfo:
    return PluginInfo(
        name=source.name,
        distribution=source.distribution,
        version=source.version,
        module=source.module,
        enabled=enabled,
        error=error,
    )


def _in_process(extra: Mapping[str, object] | Iterable[object]) -> Iterable[LoadedPlugin]:
    named = extra.items() if isinstance(extra, Mapping) else [(_own_name(x), x) for x in extra]
    for name, plugin in named:
        yield LoadedPlugin(PluginSource(name=name, distribution=IN_PROCESS), plugin, load_ms=0.0)


def _own_name(plugin: object) -> str:
    name: str = getattr(plugin, "__name__", type(plugin).__name__)
    return name
