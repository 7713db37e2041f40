"""Registers plugins and refuses those that break the hook contract.

Trusted with the shape of hook implementations. pluggy accepts more than is safe here: a wrapper may
turn a denial into a permission, a coroutine function answers with something truthy that never runs,
a parameter default hides a renamed argument, a hook without its marker is silently not called. Each
is refused while the plugin is registered, before pluggy has stored anything of it, and the refusal
names the distribution. These rules stop mistakes, not malice: a plugin holds the kernel's
authority.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import pluggy

from astrid_core.pluginhost.source import PluginSource, plugin_failure
from astrid_hookspecs import API_VERSION, PROJECT
from astrid_hookspecs.errors import PluginConflictError, PluginContractError, PluginError
from astrid_hookspecs.kinds import HOOKS, HookInfo, HookKind

HOOKSPECS_DISTRIBUTION: Final = "astrid-hookspecs"
API_ATTRIBUTE: Final = "ASTRID_API"
_SEPARATORS: Final = re.compile(r"[-_.]+")
_ORDERING: Final = ("tryfirst", "trylast", "optionalhook")


class HookManager(pluggy.PluginManager):
    """pluggy's manager, restricted to the hooks of the contract.

    Args:
        hooks: The hooks, by name; tests hand in their own.
    """

    def __init__(self, *, hooks: Mapping[str, HookInfo] = MappingProxyType(HOOKS)) -> None:
        super().__init__(PROJECT)
        self.hooks = hooks
        self._sources: dict[str, PluginSource] = {}
        self._registering: PluginSource | None = None
        for module in {id(info.module): info.module for info in hooks.values()}.values():
            self.add_hookspecs(module)

    def add(self, plugin: object, *, source: PluginSource) -> None:
        """Register a plugin under its source's name. A refused plugin leaves no trace.

        Raises:
            PluginContractError: It breaks the hook contract or needs another version of it.
            PluginConflictError: The name or the object is registered already.
        """
        if source.name in self._sources:
            raise PluginConflictError(
                f"{source.label} cannot be used: {self._sources[source.name].label} has the name",
                hint=source.disable_hint,
                distribution=source.distribution,
            )
        if any(plugin is known for known in self.get_plugins()):
            raise PluginConflictError(
                f"{source.label} cannot be used: the same object is registered twice",
                hint=source.disable_hint,
                distribution=source.distribution,
            )
        self._registering = source
        try:
            check_api(plugin, source=source)
            self.register(plugin, name=source.name)
        except pluggy.PluginValidationError as error:
            raise _refusal(source, " ".join(str(error).split())) from error
        except (PluginError, KeyboardInterrupt):
            raise
        except BaseException as error:  # reading the attributes of an object can run its code
            raise plugin_failure(source, "failed while it was registered", error) from error
        finally:
            self._registering = None
        self._sources[source.name] = source

    def source_of(self, implementation: pluggy.HookImpl) -> PluginSource:
        """The plugin that an implementation belongs to."""
        return self._sources[implementation.plugin_name]

    def implementations(self, hook: str) -> list[pluggy.HookImpl]:
        """All implementations of a hook, in registration order; nobody may rely on the order."""
        caller: pluggy.HookCaller = getattr(self.hook, hook)
        return caller.get_hookimpls()

    def implemented_by(self, name: str) -> Iterator[str]:
        """Names of the hooks that the plugin `name` implements."""
        for hook in self.hooks:
            if any(found.plugin_name == name for found in self.implementations(hook)):
                yield hook

    def parse_hookimpl_opts(self, plugin: object, name: str) -> Any:
        """Options of a hook implementation, None for anything else.

        pluggy calls it for each attribute before it stores any, so raising here refuses the whole
        plugin.

        Raises:
            PluginContractError: The implementation breaks the contract.
        """
        source = self._registering
        if source is None:
            raise PluginContractError("plugins are registered through HookManager.add only")
        options = super().parse_hookimpl_opts(plugin, name)
        if options is None:
            self._refuse_unmarked(plugin, name, source)
            return None
        hook = options.get("specname") or name
        info = self.hooks.get(hook)
        if info is None:
            self._refuse_unknown(hook, options, source)
            return options
        function = getattr(plugin, name)
        if info.kind is not HookKind.SELECT:
            _refuse_wrapper(hook, info, options, source)
        if info.kind is HookKind.VOTE:
            _refuse_ordering(hook, options, source)
        _refuse_signature(hook, info, function, source)
        return options

    def _refuse_unmarked(self, plugin: object, name: str, source: PluginSource) -> None:
        """A hook that is silently not called could be a policy that is silently not asked."""
        if name not in self.hooks:
            return
        found = inspect.getattr_static(plugin, name, None)
        if hasattr(found, f"{PROJECT}_spec"):
            return
        raise _refusal(
            source,
            f"{name!r} has the name of a hook but is not a function marked with @hookimpl",
        )

    def _refuse_unknown(self, hook: str, options: Mapping[str, Any], source: PluginSource) -> None:
        if options["optionalhook"]:
            return
        close = difflib.get_close_matches(hook, self.hooks, n=1)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        raise _refusal(source, f"it implements the unknown hook {hook!r}{meant}")


def check_api(plugin: object, *, source: PluginSource) -> None:
    """Refuse a plugin that was written for another version of the hook contract.

    A plugin may state what it needs with `ASTRID_API = (major, minor)`. Its distribution's
    requirement on `astrid-hookspecs` has to admit the installed version.

    Raises:
        PluginContractError: `plugin.api-version`.
    """
    needed = getattr(plugin, API_ATTRIBUTE, None)
    if needed is not None:
        _refuse_version(needed, source)
    installed = _installed_hookspecs() if source.requirements else ""
    for line in source.requirements:
        if _concerns_hookspecs(line) and not _admits(line, installed):
            raise PluginContractError(
                f"{source.label} requires {line!r}, but {installed} is installed",
                code="plugin.api-version",
                hint=source.disable_hint,
                distribution=source.distribution,
            )


def _refuse_version(needed: object, source: PluginSource) -> None:
    if (
        not isinstance(needed, tuple)
        or len(needed) != len(API_VERSION)
        or not all(type(part) is int and part >= 0 for part in needed)
    ):
        raise _refusal(source, f"{API_ATTRIBUTE} is {needed!r}, not two numbers like (1, 0)")
    if needed[0] != API_VERSION[0] or needed > API_VERSION:
        have = ".".join(str(part) for part in API_VERSION)
        want = ".".join(str(part) for part in needed)
        raise PluginContractError(
            f"{source.label} is written for hook contract {want}; this kernel has {have}",
            code="plugin.api-version",
            hint=source.disable_hint,
            distribution=source.distribution,
        )


def _installed_hookspecs() -> str:
    from importlib.metadata import version  # noqa: PLC0415 - 30 ms that few commands need

    return version(HOOKSPECS_DISTRIBUTION)


def _normalized(name: str) -> str:
    """Build tools keep a name as its author wrote it (`Astrid_HookSpecs`); it is the same one."""
    return _SEPARATORS.sub("-", name).lower()


def _concerns_hookspecs(line: str) -> bool:
    return _normalized(line).startswith(HOOKSPECS_DISTRIBUTION)


def _admits(line: str, installed: str) -> bool:
    minor = ".".join(installed.split(".")[:2])
    if line in (f"{HOOKSPECS_DISTRIBUTION}~={minor}", f"{HOOKSPECS_DISTRIBUTION}=={installed}"):
        return True  # what docs/plugins.md asks for; saves the parser's 30 ms
    from packaging.requirements import Requirement  # noqa: PLC0415 - seldom needed

    requirement = Requirement(line)
    if _normalized(requirement.name) != HOOKSPECS_DISTRIBUTION:
        return True
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return True
    return requirement.specifier.contains(installed, prereleases=True)


def _refuse_wrapper(
    hook: str, info: HookInfo, options: Mapping[str, Any], source: PluginSource
) -> None:
    if options["wrapper"] or options["hookwrapper"]:
        raise _refusal(
            source, f"it wraps {hook!r}, a {info.kind.value} hook; those cannot be wrapped"
        )


def _refuse_ordering(hook: str, options: Mapping[str, Any], source: PluginSource) -> None:
    for option in _ORDERING:
        if options[option]:
            raise _refusal(source, f"it marks {hook!r}, a vote hook, with {option!r}")


def _refuse_signature(
    hook: str, info: HookInfo, function: Callable[..., object], source: PluginSource
) -> None:
    plain = inspect.unwrap(function)
    for candidate in (function, plain):
        if inspect.iscoroutinefunction(candidate) or inspect.isasyncgenfunction(candidate):
            raise _refusal(source, f"its {hook!r} is asynchronous; hooks are plain functions")
        if info.kind in (HookKind.VOTE, HookKind.OBSERVE) and inspect.isgeneratorfunction(
            candidate
        ):
            raise _refusal(source, f"its {hook!r} is a generator, whose body would never run")
    for parameter in inspect.signature(plain).parameters.values():
        if parameter.default is not parameter.empty:
            raise _refusal(
                source,
                f"its {hook!r} gives the parameter {parameter.name!r} a default; "
                "leave the parameter out or take it without one",
            )
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            raise _refusal(
                source,
                f"its {hook!r} takes {parameter!s}; hooks take plain parameters named as in the "
                "specification",
            )


def _refusal(source: PluginSource, reason: str) -> PluginContractError:
    return PluginContractError(
        f"{source.label} breaks the hook contract: {reason}",
        hint=source.disable_hint,
        distribution=source.distribution,
    )
