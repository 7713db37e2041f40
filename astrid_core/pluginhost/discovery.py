"""Finds installed plugins and imports the allowed ones: stevedore, made to fail closed.

Trusted with one decision: which code is imported. The caller's allow-list is applied before
anything is loaded, because loading a plugin runs its code. stevedore's own defaults fail open: it
logs a broken plugin and goes on, lets the last of two namesakes win, and reads entry points from a
cache file of the user, without their distribution. None of that happens here.
"""

from __future__ import annotations

import importlib.metadata
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any, NoReturn

from stevedore.extension import Extension, ExtensionManager, error_on_conflict
from stevedore.named import NamedExtensionManager

from astrid_core.pluginhost.source import (
    CORE_DISTRIBUTION,
    CORE_PLUGIN,
    PluginSource,
    is_kebab,
    raised,
)
from astrid_hookspecs import ENTRY_POINT_GROUP
from astrid_hookspecs.errors import PluginConflictError, PluginContractError, PluginLoadError


@dataclass(frozen=True, slots=True)
class FoundPlugin:
    """An installed entry point that nothing has imported yet."""

    source: PluginSource
    entry_point: EntryPoint


@dataclass(frozen=True, slots=True)
class LoadedPlugin:
    """A plugin object, fresh from its import.

    Attributes:
        source: Where it comes from.
        plugin: What the entry point names, usually a module.
        load_ms: How long the import took.
    """

    source: PluginSource
    plugin: object
    load_ms: float


def find_plugins(group: str = ENTRY_POINT_GROUP) -> list[FoundPlugin]:
    """Read the entry points of every installed distribution; imports nothing.

    Returns:
        One plugin per entry point, ascending by name.

    Raises:
        PluginConflictError: Two distributions use one name, or a foreign one calls itself `core`.
        PluginContractError: A name is not lower-kebab, or its distribution is not known.
    """
    found: dict[str, FoundPlugin] = {}
    for entry_point in importlib.metadata.entry_points(group=group):
        plugin = FoundPlugin(_source(entry_point), entry_point)
        _refuse_name(plugin.source, found.get(entry_point.name))
        found[entry_point.name] = plugin
    return [found[name] for name in sorted(found)]


def load_plugins(plugins: Sequence[FoundPlugin], *, names: Collection[str]) -> list[LoadedPlugin]:
    """Import those of `plugins` that `names` lists, and nothing else.

    Raises:
        PluginLoadError: `plugin.load`, a plugin could not be imported; `plugin.missing`, a listed
            one is not installed.
        PluginConflictError: Two of `plugins` have one name.
    """
    manager = StrictExtensionManager(plugins, names=names)
    if not manager.extensions:
        return []
    return manager.map(manager.loaded)


@contextmanager
def prints_on_stderr() -> Iterator[None]:
    """Keep what a plugin prints while it is loaded out of stdout, which is the command's result."""
    with redirect_stdout(sys.stderr):
        yield


class StrictExtensionManager(NamedExtensionManager[Any]):
    """A stevedore manager over entry points that were found before, with every default closed.

    Args:
        plugins: What `find_plugins` returned.
        names: Entry-point names that may be loaded; each has to be among `plugins`.
    """

    def __init__(self, plugins: Iterable[FoundPlugin], *, names: Collection[str]) -> None:
        self._found = list(plugins)
        self._sources: dict[str, PluginSource] = {}
        for plugin in self._found:
            _refuse_name(plugin.source, self._twin(plugin.source))
            self._sources[plugin.source.name] = plugin.source
        self._load_ms: dict[str, float] = {}
        super().__init__(
            ENTRY_POINT_GROUP,
            sorted(names),
            propagate_map_exceptions=True,
            on_load_failure_callback=_raise_load_failure,
            on_missing_entrypoints_callback=_raise_missing,
            conflict_resolver=error_on_conflict,
        )

    def list_entry_points(self) -> list[EntryPoint]:
        """The entry points of the plugins handed in; never those of the user's cache file."""
        return [plugin.entry_point for plugin in self._found]

    def loaded(self, extension: Extension[Any]) -> LoadedPlugin:
        """What a loaded extension is, where it comes from and how long its import took."""
        return LoadedPlugin(
            source=self._sources[extension.name],
            plugin=extension.plugin,
            load_ms=self._load_ms[extension.name],
        )

    def _load_one_plugin(
        self,
        ep: EntryPoint,
        invoke_on_load: bool,  # noqa: FBT001 - stevedore's signature
        invoke_args: tuple[Any, ...],
        invoke_kwds: dict[str, Any],
    ) -> Extension[Any] | None:
        started = time.perf_counter()
        try:
            with prints_on_stderr():
                extension = super()._load_one_plugin(ep, invoke_on_load, invoke_args, invoke_kwds)
        except KeyboardInterrupt as interrupt:
            # Whoever lost patience with an import that hangs has to learn whose it is.
            source = self._sources[ep.name]
            interrupt.add_note(f"interrupted while {source.label} was imported")
            interrupt.add_note(source.disable_hint)
            raise
        except BaseException as error:
            # stevedore lets some through, and an import that calls exit() would end the kernel.
            raise _load_failure(self._sources[ep.name], error) from error
        self._load_ms[ep.name] = (time.perf_counter() - started) * 1000
        return extension

    def _twin(self, source: PluginSource) -> FoundPlugin | None:
        if source.name not in self._sources:
            return None
        return next(plugin for plugin in self._found if plugin.source.name == source.name)


def _source(entry_point: EntryPoint) -> PluginSource:
    distribution = entry_point.dist
    if distribution is None:
        raise PluginContractError(
            f"the plugin {entry_point.name!r} ({entry_point.value}) belongs to no distribution",
            hint="plugins are installed packages; reinstall the one that supplies it",
        )
    return PluginSource(
        name=entry_point.name,
        distribution=distribution.name,
        version=distribution.version,
        module=entry_point.value,
        requirements=tuple(distribution.requires or ()),
    )


def _refuse_name(source: PluginSource, twin: FoundPlugin | None) -> None:
    if not is_kebab(source.name):
        raise PluginContractError(
            f"{source.distribution} {source.version} calls a plugin {source.name!r}; "
            "plugin names are lower-case words joined by hyphens",
            hint=f"uninstall {source.distribution} or ask its author for a corrected release",
            distribution=source.distribution,
        )
    if source.name == CORE_PLUGIN and not source.is_core:
        raise PluginConflictError(
            f"{source.distribution} {source.version} supplies a plugin called {CORE_PLUGIN!r}; "
            f"the name belongs to {CORE_DISTRIBUTION}",
            hint=f"uninstall {source.distribution}",
            distribution=source.distribution,
        )
    if twin is not None:
        other = twin.source
        raise PluginConflictError(
            f"two distributions supply a plugin called {source.name!r}: "
            f"{other.distribution} {other.version} and {source.distribution} {source.version}",
            hint="uninstall one of the two",
        )


def _load_failure(source: PluginSource, error: BaseException) -> PluginLoadError:
    return PluginLoadError(
        f"{source.label} cannot be loaded: {raised(error)}",
        hint=source.disable_hint,
        distribution=source.distribution,
    )


def _raise_load_failure(
    manager: ExtensionManager[Any], entry_point: EntryPoint, error: BaseException
) -> NoReturn:
    if isinstance(error, PluginLoadError):
        raise error
    if not isinstance(manager, StrictExtensionManager):
        raise PluginLoadError(f"{entry_point.name} cannot be loaded: {error}") from error
    raise _load_failure(manager._sources[entry_point.name], error) from error  # noqa: SLF001


def _raise_missing(names: Iterable[str]) -> NoReturn:
    listed = ", ".join(repr(name) for name in sorted(names))
    raise PluginLoadError(
        f"plugins that have to be there are not installed: {listed}",
        code="plugin.missing",
        hint="install them, or take them out of 'enabled' with 'astrid plugins disable NAME'",
    )
