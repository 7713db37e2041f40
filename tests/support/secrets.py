"""A secret store in memory, as a plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from astrid_core.pluginhost.source import PluginSource
from astrid_hookspecs.errors import PluginLoadError, SecretError
from astrid_hookspecs.markers import hookimpl
from astrid_hookspecs.secrets import SecretStore, SecretStoreRecord


class Vault:
    """What it has, by scope and name."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], bytes] = {}

    def get(self, scope: str, name: str) -> bytes | None:
        return self.values.get((scope, name))

    def set(self, scope: str, name: str, value: bytes) -> None:
        self.values[scope, name] = value

    def delete(self, scope: str, name: str) -> bool:
        return self.values.pop((scope, name), None) is not None

    def names(self, scope: str) -> list[str]:
        return sorted(name for where, name in self.values if where == scope)


class VaultPlugin:
    """Supplies one `Vault`."""

    def __init__(self) -> None:
        self.vault = Vault()

    @hookimpl
    def astrid_register_secret_stores(self) -> list[SecretStoreRecord]:
        return [SecretStoreRecord("vault", 1, lambda _directory: self.vault)]


class Vaults:
    """A registry of vaults, some of them away."""

    def __init__(self, *names: str) -> None:
        self.vaults: dict[str, Any] = {name: Vault() for name in names}
        self.away: dict[str, str] = {}
        self.broken: dict[str, SecretError] = {}

    def record(self, name: str) -> SecretStoreRecord:
        def factory(_directory: Path) -> SecretStore:
            if name in self.broken:
                raise self.broken[name]
            return cast("SecretStore", self.vaults[name])

        priority = list(self.vaults).index(name)
        return SecretStoreRecord(name, priority, factory, lambda: self.away.get(name))

    def records(self, _kind: object) -> list[SecretStoreRecord]:
        return [self.record(name) for name in self.vaults]

    def source(self, _kind: object, name: str) -> PluginSource:
        return PluginSource(name, f"astrid-{name}", "1.0")

    def choose(self, _kind: object, name: str) -> SecretStoreRecord:
        if name not in self.vaults:
            raise PluginLoadError(f"no secret store {name!r}")
        return self.record(name)
