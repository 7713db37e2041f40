"""A secret store in a dictionary that its directory names: correct within one process."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import ClassVar

from astrid_hookspecs.errors import SecretError

_LARGEST = 65536


class DictSecretStore:
    """Implements `SecretStore` in memory; stores of one directory share their secrets.

    Args:
        directory: Names the secrets; nothing is written there.
    """

    _all: ClassVar[dict[Path, dict[str, dict[str, bytes]]]] = {}

    __slots__ = ("_lock", "_scopes")

    def __init__(self, directory: Path) -> None:
        self._scopes = self._all.setdefault(directory, {})
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<DictSecretStore with {len(self._scopes)} scopes>"

    def get(self, scope: str, name: str) -> bytes | None:
        """As `SecretStore.get`."""
        with self._lock:
            return self._scopes.get(scope, {}).get(name)

    def set(self, scope: str, name: str, value: bytes) -> None:
        """As `SecretStore.set`."""
        if not 1 <= len(value) <= _LARGEST:
            raise SecretError(f"a secret has 1 to {_LARGEST} bytes, not {len(value)}")
        if not name or not name.isprintable():
            raise SecretError("a name holds no control characters")
        with self._lock:
            self._scopes.setdefault(scope, {})[name] = value

    def delete(self, scope: str, name: str) -> bool:
        """As `SecretStore.delete`."""
        with self._lock:
            return self._scopes.get(scope, {}).pop(name, None) is not None

    def names(self, scope: str) -> list[str]:
        """As `SecretStore.names`."""
        with self._lock:
            return sorted(self._scopes.get(scope, {}))
