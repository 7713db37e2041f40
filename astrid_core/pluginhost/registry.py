"""What plugins declared: records by kind and name, each with the distribution that supplies it.

Trusted with names: nothing malformed, no two things of one name, and no silent choice between two.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, overload

from astrid_core.pluginhost.products import with_checked_factory
from astrid_core.pluginhost.source import CORE_PLUGIN, PluginSource, is_kebab
from astrid_hookspecs.commands import CommandGroupRecord
from astrid_hookspecs.engines import ENTRY_KINDS, EngineRecord
from astrid_hookspecs.errors import PluginConflictError, PluginContractError, PluginLoadError
from astrid_hookspecs.kinds import HOOKS, HookInfo, HookKind

RecordT = TypeVar("RecordT")
Collector = Callable[[str], Iterable[tuple[PluginSource, object]]]
"""Calls the implementations of a declare hook; yields what they declared, with its source."""


_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*")

_INSTALL: Final[Mapping[str, str]] = {
    "engine": "pip install astrid-engine-wasm",
    "engine for mcp_server": "pip install astrid-engine-mcp",
    "secret-store": "pip install astrid-secrets-keychain",
    "vfs-overlay": "pip install astrid-vfs-overlay",
    "capsule-builder": "pip install astrid-sdk",
    "command": 'pip install "astrid-core[default]"',
    "kv-store": "pip install --force-reinstall astrid-core",
    "bus": "pip install --force-reinstall astrid-core",
    "process-sandbox": "pip install --force-reinstall astrid-core",
}


_NAMED_BY_COMMANDS: Final = frozenset({"capsule-builder"})
"""Kinds whose name comes from the command line and not from `etc/config.toml`."""


def missing_plugin_hint(kind: str) -> str:
    """How to get a plugin of a kind of which there is none.

    Args:
        kind: Plugin kind as in `astrid_hookspecs.kinds.HOOKS` (`engine`, `kv-store`).
    """
    command = _INSTALL.get(kind)
    if command is None:
        return f"install a distribution that supplies a {kind}; 'astrid plugins list' shows yours"
    return f"run: {command}"


@dataclass(frozen=True, slots=True)
class Registered(Generic[RecordT]):
    """A record and where it comes from."""

    record: RecordT
    source: PluginSource


class Registry:
    """Records by kind. A kind is collected when it is first asked for, once.

    Args:
        collect: Calls the implementations of one declare hook.
        hooks: The hooks, by name; tests hand in their own.
        refused: Names of installed plugins that the allow-list keeps out.
    """

    def __init__(
        self,
        collect: Collector,
        *,
        hooks: Mapping[str, HookInfo] | None = None,
        refused: Iterable[str] = (),
    ) -> None:
        self._collect = collect
        self._refused = sorted(refused)
        declared = (hooks or HOOKS).items()
        self._hooks = {
            info.plugin_kind: (hook, info)
            for hook, info in declared
            if info.kind is HookKind.DECLARE and info.plugin_kind is not None
        }
        self._kinds = {info.record: kind for kind, (_, info) in self._hooks.items()}
        self._records: dict[str, dict[str, Registered[Any]]] = {}
        self._lock = threading.RLock()

    @property
    def kinds(self) -> list[str]:
        """Every kind that plugins can declare, in the order of the contract."""
        return list(self._hooks)

    @overload
    def registered(self, kind: type[RecordT]) -> list[Registered[RecordT]]: ...

    @overload
    def registered(self, kind: str) -> list[Registered[Any]]: ...

    def registered(self, kind: type[Any] | str) -> list[Registered[Any]]:
        """Everything of a kind, ascending by name.

        Args:
            kind: Record class (`KvStoreRecord`) or the word for it (`kv-store`).

        Raises:
            PluginContractError: A plugin declared something malformed.
            PluginConflictError: Two plugins declared one name.
        """
        word = kind if isinstance(kind, str) else self._kinds[kind]
        with self._lock:
            records = self._records.get(word)
            if records is None:
                records = self._records[word] = self._validated(word)
        return [records[name] for name in sorted(records)]

    @overload
    def records(self, kind: type[RecordT]) -> list[RecordT]: ...

    @overload
    def records(self, kind: str) -> list[Any]: ...

    def records(self, kind: type[Any] | str) -> list[Any]:
        """As `registered`, without the sources."""
        return [item.record for item in self.registered(kind)]

    @overload
    def choose(self, kind: type[RecordT], name: str | None = None) -> RecordT: ...

    @overload
    def choose(self, kind: str, name: str | None = None) -> Any: ...

    def choose(self, kind: type[Any] | str, name: str | None = None) -> Any:
        """The one record to use.

        Args:
            kind: Record class or the word for it.
            name: What the configuration names; None chooses the only one, or the single one with
                the lowest `priority` where the kind has priorities.

        Raises:
            PluginLoadError: `plugin.missing`: nothing has that name, or there is nothing at all.
            PluginConflictError: `plugin.conflict`: several, and nothing chooses between them.
        """
        word = kind if isinstance(kind, str) else self._kinds[kind]
        found = self.registered(word)
        with self._naming_the_refused():
            if name is not None:
                return _named(word, word, name, found)
            return _only(word, word, found)

    def choose_engine(self, entry: str, name: str | None = None) -> EngineRecord:
        """The engine for an entry kind.

        Args:
            entry: `component` or `mcp_server`.
            name: What `engines.<entry>` in the configuration names, or None.

        Raises:
            PluginLoadError: `plugin.missing`: no engine serves it, or the named one does not.
            PluginConflictError: Several serve it and the configuration names none.
        """
        serving = [item for item in self.registered(EngineRecord) if entry in item.record.serves]
        what = f"engine for {entry!r} entries"
        wanted = f"engine for {entry}"
        with self._naming_the_refused():
            record: EngineRecord = (
                _only(wanted if wanted in _INSTALL else "engine", what, serving)
                if name is None
                else _named("engine", what, name, serving)
            )
        return record

    def source(self, kind: type[Any] | str, name: str) -> PluginSource:
        """Which plugin supplies a record; raises `PluginLoadError` as `choose`."""
        word = kind if isinstance(kind, str) else self._kinds[kind]
        for item in self.registered(word):
            if item.record.name == name:
                return item.source
        raise _missing(word, word, name, [])

    @contextmanager
    def _naming_the_refused(self) -> Iterator[None]:
        """Where something is missing, it may be installed and switched off."""
        try:
            yield
        except PluginLoadError as error:
            if self._refused:
                names = ", ".join(self._refused)
                error.hint = f"{error.hint}; installed, but switched off here: {names}"
            raise

    def _validated(self, kind: str) -> dict[str, Registered[Any]]:
        hook, info = self._hooks[kind]
        records: dict[str, Registered[Any]] = {}
        schemes: dict[str, PluginSource] = {}
        for source, record in self._collect(hook):
            _check_record(hook, info, record, source)
            item: Registered[Any] = Registered(
                record
                if info.product is None
                else with_checked_factory(record, info.product, kind=kind, source=source),
                source,
            )
            twin = records.get(item.record.name)
            if twin is not None:
                raise _conflict(f"a {kind} called {item.record.name!r}", twin.source, source)
            for scheme in getattr(record, "schemes", ()):
                if scheme in schemes:
                    raise _conflict(f"the URL scheme {scheme!r}", schemes[scheme], source)
                schemes[scheme] = source
            records[item.record.name] = item
        return records


def _named(kind: str, what: str, name: str, found: list[Registered[Any]]) -> Any:
    for item in found:
        if item.record.name == name:
            return item.record
    raise _missing(kind, what, name, found)


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


def _only(kind: str, what: str, found: list[Registered[Any]]) -> Any:
    if not found:
        raise PluginLoadError(
            f"no plugin supplies {_article(what)} {what}",
            code="plugin.missing",
            hint=missing_plugin_hint(kind),
        )
    first = min(getattr(item.record, "priority", 0) for item in found)
    best = [item for item in found if getattr(item.record, "priority", 0) == first]
    if len(best) == 1:
        return best[0].record
    listed = " and ".join(f"{item.record.name!r} of {item.source.label}" for item in best)
    raise PluginConflictError(
        f"several plugins supply {_article(what)} {what} and nothing chooses between them: "
        f"{listed}",
        hint="name one in etc/config.toml, or disable the others with 'astrid plugins disable'",
    )


def _missing(kind: str, what: str, name: str, found: list[Registered[Any]]) -> PluginLoadError:
    there = ", ".join(repr(item.record.name) for item in found) or "none"
    if kind in _NAMED_BY_COMMANDS:
        message = f"no {what} called {name!r} is installed (installed: {there})"
        wanted = "choose one of those, or install the distribution that supplies it"
        hint = wanted if found else missing_plugin_hint(kind)
    else:
        message = f"configured {what} {name!r} is not installed (installed: {there})"
        known = "" if found or kind not in _INSTALL else f" ({_INSTALL[kind]})"
        hint = (
            f"install the distribution that supplies it{known}, or switch back in "
            "etc/config.toml; nothing was changed"
        )
    return PluginLoadError(message, code="plugin.missing", hint=hint)


def _conflict(what: str, one: PluginSource, other: PluginSource) -> PluginConflictError:
    ways = [
        f"'astrid plugins disable {source.name}'"
        for source in (one, other)
        if source.name != CORE_PLUGIN
    ]
    return PluginConflictError(
        f"{one.label} and {other.label} both supply {what}",
        hint=f"switch one off: {' or '.join(ways)}",
    )


def _check_record(hook: str, info: HookInfo, record: object, source: PluginSource) -> None:
    """Refuse a record of the wrong class, or with fields that would fail later and elsewhere."""
    if info.record is None or type(record) is not info.record:
        expected = info.record.__name__ if info.record is not None else "nothing"
        problem = f"declared a {type(record).__name__} instead of {expected}"
    else:
        problem = _field_problem(record) or ""
    if problem:
        raise PluginContractError(
            f"{source.label} {problem} in {hook!r}",
            hint=source.disable_hint,
            distribution=source.distribution,
        )


def _field_problem(record: Any) -> str | None:
    name = record.name
    dots = 1 if isinstance(record, CommandGroupRecord) else 0
    if not isinstance(name, str) or not all(is_kebab(part) for part in name.split(".", dots)):
        return f"declared the name {name!r}; names are lower-case words joined by hyphens"
    if not callable(record.factory):
        return f"declared {name!r} with a factory that cannot be called"
    if type(getattr(record, "priority", 0)) is not int:
        return f"declared {name!r} with a priority that is not a whole number"
    if not isinstance(getattr(record, "help", ""), str):
        return f"declared {name!r} with a help text that is not text"
    for field in ("serves", "schemes", "capabilities"):
        values: object = getattr(record, field, frozenset())
        if not isinstance(values, frozenset) or not all(isinstance(item, str) for item in values):
            return f"declared {name!r} with {field} that are not a frozenset of texts"
    return _word_problem(record)


def _word_problem(record: Any) -> str | None:
    for entry in sorted(getattr(record, "serves", ())):
        if entry not in ENTRY_KINDS:
            kinds = " and ".join(ENTRY_KINDS)
            return f"declared {record.name!r} for {entry!r} entries; there are {kinds}"
    for scheme in sorted(getattr(record, "schemes", ())):
        if _SCHEME.fullmatch(scheme) is None:
            return f"declared {record.name!r} with {scheme!r}, which is no URL scheme"
    if hasattr(record, "unavailable_reason") and not callable(record.unavailable_reason):
        return f"declared {record.name!r} with an unavailable_reason that cannot be called"
    return None
