"""Key-value stores: the contract and the record with which a plugin supplies one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from astrid_hookspecs.markers import hookspec


class KeyPage(NamedTuple):
    """Keys in ascending byte order, and whether more follow the last one."""

    keys: list[str]
    more: bool


class KvWrite(NamedTuple):
    """One change of a batch: set `key` to `value`, or delete it when `value` is None."""

    key: str
    value: bytes | None


class KvStore(Protocol):
    """Namespaced byte store. Spec: kernel-and-security 9.1.

    Every method is synchronous, atomic and safe from any thread. Namespaces and keys are not empty
    and hold no NUL; callers check. A write is visible to every later read at once. It survives a
    crash of the process at the next group commit (a few milliseconds), or before the call returns
    where `durable` is true.

    Every method raises `StoreError` when the store is damaged, full or closed. Methods with
    `quota_bytes` raise `QuotaExceededError` when the namespace (keys plus values, in bytes) would
    grow beyond it; a write that shrinks the namespace always passes. None means no limit.
    """

    def get(self, namespace: str, key: str) -> bytes | None:
        """The value, or None when the key is absent (an empty value is not absence)."""
        ...

    def set(
        self,
        namespace: str,
        key: str,
        value: bytes,
        *,
        quota_bytes: int | None = None,
        durable: bool = False,
    ) -> None:
        """Create or replace."""
        ...

    def delete(self, namespace: str, key: str) -> bool:
        """Remove; returns whether the key existed."""
        ...

    def keys(self, namespace: str, prefix: str, *, after: str | None, limit: int) -> KeyPage:
        """At most `limit` keys that start with `prefix` and sort after `after`."""
        ...

    def clear_prefix(self, namespace: str, prefix: str, *, limit: int | None = None) -> int:
        """Remove the first keys that start with `prefix`, at most `limit`; returns how many.

        Without a limit it may take long, and nothing ends it.
        """
        ...

    def compare_and_swap(
        self,
        namespace: str,
        key: str,
        expected: bytes | None,
        new: bytes,
        *,
        quota_bytes: int | None = None,
    ) -> bool:
        """Set `key` to `new` if its value is `expected` (None: absent). Durable on return.

        Returns:
            False, with nothing changed, on a mismatch.
        """
        ...

    def apply(
        self, namespace: str, writes: Sequence[KvWrite], *, quota_bytes: int | None = None
    ) -> None:
        """Apply all writes or none, in order. Durable on return."""
        ...

    def size_bytes(self, namespace: str) -> int:
        """Sum of key and value lengths in the namespace."""
        ...

    def flush(self) -> None:
        """Return when everything written so far is durable."""
        ...

    def close(self) -> None:
        """Flush and release. Closing twice is not an error."""
        ...


@dataclass(frozen=True, slots=True)
class KvStoreRecord:
    """Declares a key-value store.

    Attributes:
        name: What `storage.backend` in the configuration chooses.
        factory: Called once with the kernel's `var/` directory (mode 0700, exists). Files that it
            makes there are readable and writable by their owner only.
    """

    name: str
    factory: Callable[[Path], KvStore]


@hookspec
def astrid_register_kv_stores() -> Iterable[KvStoreRecord]:  # type: ignore[empty-body]
    """Declare key-value stores.

    Kind: declare. When: once, while the kernel boots.
    Returns: records; names unique over all plugins.
    Failure: an exception or a malformed record stops the boot.
    The kernel uses the record that `storage.backend` names, default `sqlite`.
    Since: 1.0.
    """
