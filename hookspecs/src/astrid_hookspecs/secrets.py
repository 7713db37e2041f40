"""Secret stores: the contract and the record with which a plugin supplies one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from astrid_hookspecs.markers import hookspec


class SecretStore(Protocol):
    """Keeps small secrets by scope and name. Synchronous and safe from any thread.

    A scope is `<principal>/<capsule>` or `__host__/<capsule>`; names hold no control characters.
    Values are 1 to 65536 bytes and appear in no log, error or `repr`.
    """

    def get(self, scope: str, name: str) -> bytes | None:
        """The value, or None when there is none.

        Raises:
            SecretLockedError: A person has to unlock the store first.
            SecretError: The store failed.
        """
        ...

    def set(self, scope: str, name: str, value: bytes) -> None:
        """Create or replace; raises as `get`."""
        ...

    def delete(self, scope: str, name: str) -> bool:
        """Remove; returns whether it existed; raises as `get`."""
        ...

    def names(self, scope: str) -> list[str]:
        """Names in the scope, sorted; raises as `get`."""
        ...


@dataclass(frozen=True, slots=True)
class SecretStoreRecord:
    """Declares a secret store.

    Attributes:
        name: What `secrets.backend` in the configuration chooses.
        priority: Of those that can be used, the lowest is taken when nothing is configured.
        factory: Called once with the kernel's `secrets/` directory (mode 0700, exists). Files that
            it makes there are readable and writable by their owner only.
        unavailable_reason: Why the store cannot be used here and now; None when it can. Asked where
            nothing is configured; answers within seconds, and asks nobody for anything.
    """

    name: str
    priority: int
    factory: Callable[[Path], SecretStore]
    unavailable_reason: Callable[[], str | None] = lambda: None


@hookspec
def astrid_register_secret_stores() -> Iterable[SecretStoreRecord]:  # type: ignore[empty-body]
    """Declare secret stores.

    Kind: declare. When: once, while the kernel boots.
    Returns: records; names unique over all plugins.
    Failure: an exception or a malformed record stops the boot.
    Since: 1.0.
    """
