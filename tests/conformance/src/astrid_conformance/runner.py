"""Runs the checks against an installed plugin, found by its entry-point name.

It loads one plugin and nothing else, and needs no kernel.
"""

from __future__ import annotations

import importlib.metadata
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import pluggy

from astrid_conformance.check import Check, Outcome, Report, Result, run_check
from astrid_conformance.kinds import KINDS, KindChecks
from astrid_hookspecs import ENTRY_POINT_GROUP, PROJECT
from astrid_hookspecs.authz import AuthzRequest, Vote
from astrid_hookspecs.errors import PluginContractError, PluginLoadError
from astrid_hookspecs.kinds import HOOKS, HookInfo, HookKind

Progress = Callable[[str, float | None], None]


@dataclass(frozen=True, slots=True)
class Declared:
    """One record of the plugin under test, or its policy."""

    plugin: str
    distribution: str
    kind: str
    record: Any


class PolicyHook(NamedTuple):
    """The implementation of a vote hook, in the place of a record."""

    name: str
    vote: Callable[[AuthzRequest], Vote]


def installed_plugins() -> list[str]:
    """Entry-point names of everything installed, ascending."""
    return sorted({ep.name for ep in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)})


def declared_by(name: str) -> list[Declared]:
    """Load one plugin, ask its declare hooks, and find its policy.

    Raises:
        PluginLoadError: It is not installed, or its import failed.
        PluginContractError: It breaks the hook contract.
    """
    found = [
        ep for ep in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP) if ep.name == name
    ]
    if len(found) != 1:
        raise PluginLoadError(
            f"{len(found) or 'no'} plugins called {name!r} are installed",
            code="plugin.not-found" if not found else "plugin.conflict",
            hint=f"installed: {', '.join(installed_plugins())}",
        )
    entry_point = found[0]
    distribution = entry_point.dist
    label = f"{distribution.name} {distribution.version}" if distribution else "no distribution"
    manager = pluggy.PluginManager(PROJECT)
    for module in {id(info.module): info.module for info in HOOKS.values()}.values():
        manager.add_hookspecs(module)
    try:
        with redirect_stdout(sys.stderr):
            plugin = entry_point.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # an import that calls exit() would be a pass
        raise PluginLoadError(f"{name} of {label} cannot be loaded: {error!r}") from error
    try:
        manager.register(plugin, name=name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginContractError(f"{name} of {label} breaks the hook contract: {error}") from error
    return list(_records(manager, name, label))


def check_plugin(
    name: str, *, supports: Iterable[str] = (), progress: Progress | None = None
) -> list[Report]:
    """Run every check that applies to what a plugin declares.

    Args:
        name: Entry-point name.
        supports: Optional capabilities to check beyond those the records claim.
        progress: Told which check runs.

    Returns:
        One report per record of a kind that has checks, in the order of the contract.

    Raises:
        PluginError: The plugin cannot be loaded.
    """
    return [
        _check_record(declared, supports=frozenset(supports), progress=progress)
        for declared in declared_by(name)
        if declared.kind in KINDS
    ]


def _records(manager: pluggy.PluginManager, name: str, label: str) -> Iterator[Declared]:
    for hook, info in HOOKS.items():
        if info.kind is HookKind.VOTE:
            for implementation in getattr(manager.hook, hook).get_hookimpls():
                policy = PolicyHook(hook, partial(_ask, implementation))
                yield Declared(name, label, "authz-policy", policy)
        if info.kind is not HookKind.DECLARE or info.plugin_kind is None:
            continue
        caller: pluggy.HookCaller = getattr(manager.hook, hook)
        # One by one: pluggy's relay leaves out an implementation that answers None.
        for implementation in caller.get_hookimpls():
            yield from _declared(implementation, hook, info, name=name, label=label)


def _declared(
    implementation: pluggy.HookImpl, hook: str, info: HookInfo, *, name: str, label: str
) -> Iterator[Declared]:
    try:
        with redirect_stdout(sys.stderr):
            records = list(cast("Iterable[object]", implementation.function()))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PluginContractError(f"{name} of {label} failed in {hook!r}: {error!r}") from error
    for record in records:
        if not isinstance(record, info.record or ()):
            raise PluginContractError(
                f"{name} of {label} declared a {type(record).__name__} in {hook!r}"
            )
        yield Declared(name, label, info.plugin_kind or "", record)


def _ask(implementation: pluggy.HookImpl, request: AuthzRequest) -> Vote:
    given = {"request": request}  # an implementation may leave the argument out
    function = cast("Callable[..., Vote]", implementation.function)
    return function(*[given[name] for name in implementation.argnames])


def _check_record(
    declared: Declared, *, supports: frozenset[str], progress: Progress | None
) -> Report:
    kind = KINDS[declared.kind]
    reason = kind.excluded(declared.record)
    results: list[Result] = []
    for number, check in enumerate(kind.checks):
        if progress is not None:
            progress(f"{declared.kind} {declared.record.name}", number / len(kind.checks))
        results.append(
            _check(check, kind, declared, supports=supports)
            if reason is None
            else Result(
                check.name, check.promise, required=False, outcome=Outcome.SKIPPED, detail=reason
            )
        )
    return Report(
        plugin=declared.plugin,
        distribution=declared.distribution,
        kind=declared.kind,
        name=declared.record.name,
        results=tuple(results),
    )


def _check(
    check: Check[Any], kind: KindChecks, declared: Declared, *, supports: frozenset[str]
) -> Result:
    with tempfile.TemporaryDirectory(prefix="conformance-") as outer:
        directory = Path(outer) / "subject"
        directory.mkdir(mode=0o700)
        return run_check(
            check,
            lambda: kind.subject(declared.record, directory),
            supports=kind.supports(declared.record) | supports,
        )
