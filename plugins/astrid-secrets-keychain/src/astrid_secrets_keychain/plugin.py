"""Hook implementations; the work sits in the modules beside this one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from astrid_hookspecs import hookimpl
from astrid_hookspecs.secrets import SecretStore, SecretStoreRecord


class LazyStore:
    """A store that is opened at its first use: a boot waits for no keychain.

    Args:
        make: Opens it; called again after it failed.
    """

    def __init__(self, make: Callable[[], SecretStore]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: SecretStore | None = None

    def get(self, scope: str, name: str) -> bytes | None:
        """As `SecretStore.get`."""
        return self._store().get(scope, name)

    def set(self, scope: str, name: str, value: bytes) -> None:
        """As `SecretStore.set`."""
        self._store().set(scope, name, value)

    def delete(self, scope: str, name: str) -> bool:
        """As `SecretStore.delete`."""
        return self._store().delete(scope, name)

    def names(self, scope: str) -> list[str]:
        """As `SecretStore.names`."""
        return self._store().names(scope)

    def _store(self) -> SecretStore:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made


def _open_keychain(directory: Path) -> SecretStore:
    def make() -> SecretStore:
        from astrid_secrets_keychain.keychain import KeychainStore  # noqa: PLC0415 - loads D-Bus

        return KeychainStore(directory)

    return LazyStore(make)


def _keychain_unavailable() -> str | None:
    from astrid_secrets_keychain.keychain import unavailable_reason  # noqa: PLC0415 - the same

    return unavailable_reason()


def _open_file(directory: Path) -> SecretStore:
    from astrid_secrets_keychain.encrypted_file import open_with_key_file  # noqa: PLC0415 - crypto

    return open_with_key_file(directory)


def _open_with_passphrase(directory: Path) -> SecretStore:
    from astrid_secrets_keychain.encrypted_file import open_with_passphrase  # noqa: PLC0415 - the same

    return open_with_passphrase(directory)


@hookimpl
def astrid_register_secret_stores() -> list[SecretStoreRecord]:
    """Declare `keychain`, and `encrypted-file` with a key of the home or of a passphrase.

    The one with a passphrase is used where the configuration names it, never by default: a kernel
    that nobody started by hand could not open it.
    """
    return [
        SecretStoreRecord(
            name="keychain",
            priority=10,
            factory=_open_keychain,
            unavailable_reason=_keychain_unavailable,
        ),
        SecretStoreRecord(name="encrypted-file", priority=20, factory=_open_file),
        SecretStoreRecord(
            name="encrypted-file-passphrase",
            priority=90,
            factory=_open_with_passphrase,
            unavailable_reason=lambda: "it has to be chosen in the configuration",
        ),
    ]
