"""A secret store in memory, as a plugin."""

from __future__ import annotations

from astrid_hookspecs.markers import hookimpl
from astrid_hookspecs.secrets import SecretStoreRecord


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
