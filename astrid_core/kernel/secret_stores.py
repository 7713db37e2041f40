"""The secret store of a home: the configured one, or the one it began with.

Trusted with constancy: a home that has secrets in one store does not look into another one because
the first is locked or away for a while. Spec: kernel-and-security 9.3.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from loguru import logger

from astrid_core.kernel.durable import write_atomic
from astrid_core.kernel.home import Home
from astrid_core.kernel.quiet_store import QuietStore
from astrid_core.pluginhost.registry import Registry
from astrid_hookspecs.errors import PluginLoadError, SecretError, SecretLockedError
from astrid_hookspecs.secrets import SecretStore, SecretStoreRecord

MARKER: Final = "store"
"""File in `secrets/` with the name of the store that is in use."""
SCOPES: Final = "scopes"
"""File in `secrets/` with a line for each scope that ever had a secret."""
_MAX_NAME: Final = 128


class HomeSecrets:
    """Implements `SecretStore` with the store that the home uses now. Safe from any thread.

    Args:
        home: Whose.
        registry: Knows the stores.
        record: The store in use; None where none can be.

    Attributes:
        name: Of the store in use.
    """

    def __init__(self, home: Home, registry: Registry, record: SecretStoreRecord) -> None:
        self._home = home
        self._registry = registry
        self._lock = threading.Lock()
        self.name = record.name
        self._store = self._opened(record)

    def get(self, scope: str, name: str) -> bytes | None:
        """As `SecretStore.get`."""
        return self._store.get(scope, name)

    def set(self, scope: str, name: str, value: bytes) -> None:
        """As `SecretStore.set`."""
        with self._lock:
            self._remember(scope)
            self._store.set(scope, name, value)

    def delete(self, scope: str, name: str) -> bool:
        """As `SecretStore.delete`."""
        with self._lock:
            return self._store.delete(scope, name)

    def names(self, scope: str) -> list[str]:
        """As `SecretStore.names`."""
        return self._store.names(scope)

    def scopes(self) -> list[str]:
        """Every scope that ever had a secret, sorted."""
        try:
            text = (self._home.secrets / SCOPES).read_text("ascii", "replace")
        except FileNotFoundError:
            return []
        return sorted({line for line in text.split("\n") if line})

    def move_to(self, name: str) -> int:
        """Move every secret to another store, and use that one from now on.

        Each is read back from the new store before anything is removed from the old one. Stopped
        in between, the old store is still in use and whole; moving again goes on.

        Returns:
            How many were moved.

        Raises:
            PluginLoadError: No plugin has a store of that name.
            SecretError: One of the stores failed; the old one is in use as before.
        """
        record = self._registry.choose(SecretStoreRecord, name)
        if record.name == self.name:
            return 0
        with self._lock:
            old, new = self._store, self._opened(record)
            moved = list(self._copied(old, new))
            mark(self._home, record.name)
            self._store, self.name = new, record.name
            for scope, key in moved:
                old.delete(scope, key)
        return len(moved)

    def _opened(self, record: SecretStoreRecord) -> SecretStore:
        source = self._registry.source(SecretStoreRecord, record.name)
        try:
            store = record.factory(self._home.secrets)
        except SecretError as error:
            return _AwayStore(record.name, error.message)
        return QuietStore(store, label=f"the secret store {record.name!r} of {source.label}")

    def _copied(self, old: SecretStore, new: SecretStore) -> Iterator[tuple[str, str]]:
        for scope in self.scopes():
            for key in old.names(scope):
                value = old.get(scope, key)
                if value is None:
                    continue
                new.set(scope, key, value)
                if new.get(scope, key) != value:
                    raise SecretError("a secret did not come back as it was; nothing was removed")
                yield scope, key

    def _remember(self, scope: str) -> None:
        if scope in self.scopes():
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(self._home.secrets / SCOPES, flags, 0o600)
            with os.fdopen(descriptor, "ab") as file:
                file.write(f"{scope}\n".encode("ascii"))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise SecretError(f"the list of scopes cannot be written: {error.strerror}") from error


class _AwayStore:
    """Stands for a store that cannot be opened: the kernel runs, and each use says why not."""

    def __init__(self, name: str, reason: str) -> None:
        self._name = name
        self._reason = reason

    def get(self, scope: str, name: str) -> bytes | None:
        del scope, name
        raise self._error()

    def set(self, scope: str, name: str, value: bytes) -> None:
        del scope, name, value
        raise self._error()

    def delete(self, scope: str, name: str) -> bool:
        del scope, name
        raise self._error()

    def names(self, scope: str) -> list[str]:
        del scope
        raise self._error()

    def _error(self) -> SecretLockedError:
        return SecretLockedError(
            f"the secrets are in {self._name!r}, which cannot be used now: {self._reason}",
            hint="unlock it, or name another store in secrets.backend and set them again",
        )


def open_secret_store(registry: Registry, home: Home, *, name: str | None) -> HomeSecrets | None:
    """The configured secret store, or the first by priority that can be used.

    The choice is kept: from then on the home uses that store until the configuration names another
    one, or the secrets are moved.

    Args:
        registry: Of the plugin host.
        home: Whose.
        name: What the configuration names.

    Returns:
        None where no plugin has one, and where none can be used.

    Raises:
        PluginLoadError: The configured one, or the one in use, is not installed.
    """
    chosen = name or _marked(home.secrets / MARKER)
    if chosen is not None:
        return HomeSecrets(home, registry, _chosen(registry, chosen, is_marked=name is None))
    records = registry.records(SecretStoreRecord)
    for record in sorted(records, key=lambda one: (one.priority, one.name)):
        reason = record.unavailable_reason()
        if reason is None:
            mark(home, record.name)
            return HomeSecrets(home, registry, record)
        logger.debug("secret store {} is not used: {}", record.name, reason)
    return None


def _chosen(registry: Registry, name: str, *, is_marked: bool) -> SecretStoreRecord:
    try:
        return registry.choose(SecretStoreRecord, name)
    except PluginLoadError as error:
        if not is_marked:
            raise
        raise PluginLoadError(
            f"this home keeps its secrets in the store {name!r}, which is not installed",
            code=error.code,
            hint="install or enable the plugin that supplies it, or name another store in "
            "secrets.backend in etc/config.toml and set the secrets again",
        ) from error


def mark(home: Home, name: str) -> None:
    """From now on the home uses this store.

    Raises:
        SecretError: It could not be written.
    """
    try:
        write_atomic(home.secrets / MARKER, name.encode())
    except OSError as error:
        raise SecretError(f"the choice of a secret store is lost: {error.strerror}") from error


def _marked(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_NAME).decode("ascii", "replace").strip() or None
    except FileNotFoundError:
        return None
