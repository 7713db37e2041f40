"""A key-value store that keeps its writes to itself and hands them out.

Life-cycle hooks run on it: a hook that fails leaves the capsule's state as it was.
Spec: host-abi H-40.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from astrid_hookspecs.errors import QuotaExceededError
from astrid_hookspecs.stores import KeyPage, KvStore, KvWrite


class StagedKv:
    """Implements `KvStore` over a base store; reads see the staged writes.

    Args:
        base: The real store. Never written, and not closed by `close`.
    """

    def __init__(self, base: KvStore) -> None:
        self._base = base
        self._lock = threading.RLock()
        self._staged: dict[str, dict[str, bytes | None]] = {}
        self._growth: dict[str, int] = {}

    def writes(self) -> dict[str, list[KvWrite]]:
        """What was staged, by namespace; applying it to the base store commits."""
        with self._lock:
            return {
                namespace: [KvWrite(*write) for write in staged.items()]
                for namespace, staged in self._staged.items()
            }

    def get(self, namespace: str, key: str) -> bytes | None:
        """As `KvStore.get`."""
        with self._lock:
            staged = self._staged.get(namespace, {})
            return staged[key] if key in staged else self._base.get(namespace, key)

    def set(
        self,
        namespace: str,
        key: str,
        value: bytes,
        *,
        quota_bytes: int | None = None,
        durable: bool = False,  # noqa: ARG002 - staged writes are not durable
    ) -> None:
        """As `KvStore.set`, visible here only."""
        with self._lock:
            self._stage(namespace, key, value, quota_bytes)

    def delete(self, namespace: str, key: str) -> bool:
        """As `KvStore.delete`, visible here only."""
        with self._lock:
            existed = self.get(namespace, key) is not None
            if existed:
                self._stage(namespace, key, None, None)
            return existed

    def keys(self, namespace: str, prefix: str, *, after: str | None, limit: int) -> KeyPage:
        """As `KvStore.keys`."""
        with self._lock:
            staged = self._staged.get(namespace, {})
            gone = sum(value is None for value in staged.values())
            page = self._base.keys(namespace, prefix, after=after, limit=limit + gone)
            ours = {
                key
                for key, value in staged.items()
                if value is not None and key.startswith(prefix) and (after is None or key > after)
            }
            kept = {key for key in page.keys if staged.get(key, b"") is not None}
            if page.more:
                ours = {key for key in ours if key <= page.keys[-1]}
            merged = sorted(kept | ours)
            return KeyPage(merged[:limit], more=page.more or len(merged) > limit)

    def clear_prefix(self, namespace: str, prefix: str, *, limit: int | None = None) -> int:
        """As `KvStore.clear_prefix`, visible here only."""
        with self._lock:
            removed = 0
            while removed != limit:
                page = 1024 if limit is None else min(1024, limit - removed)
                found = self.keys(namespace, prefix, after=None, limit=page).keys
                for key in found:
                    self._stage(namespace, key, None, None)
                removed += len(found)
                if not found:
                    break
            return removed

    def compare_and_swap(
        self,
        namespace: str,
        key: str,
        expected: bytes | None,
        new: bytes,
        *,
        quota_bytes: int | None = None,
    ) -> bool:
        """As `KvStore.compare_and_swap`, visible here only."""
        with self._lock:
            if self.get(namespace, key) != expected:
                return False
            self._stage(namespace, key, new, quota_bytes)
            return True

    def apply(
        self, namespace: str, writes: Sequence[KvWrite], *, quota_bytes: int | None = None
    ) -> None:
        """As `KvStore.apply`, visible here only."""
        with self._lock:
            before = dict(self._staged.get(namespace, {})), self._growth.get(namespace, 0)
            old_size = self.size_bytes(namespace)
            for write in writes:
                self._stage(namespace, write.key, write.value, None)
            size = self.size_bytes(namespace)
            if quota_bytes is not None and size > max(quota_bytes, old_size):
                self._staged[namespace], self._growth[namespace] = before
                raise _over_quota(namespace, size, quota_bytes)

    def size_bytes(self, namespace: str) -> int:
        """As `KvStore.size_bytes`."""
        with self._lock:
            return self._base.size_bytes(namespace) + self._growth.get(namespace, 0)

    def flush(self) -> None:
        """Staged writes are not durable."""

    def close(self) -> None:
        """Drop what was staged."""
        with self._lock:
            self._staged.clear()
            self._growth.clear()

    def _stage(self, namespace: str, key: str, value: bytes | None, quota: int | None) -> None:
        growth = _length(key, value) - _length(key, self.get(namespace, key))
        size = self.size_bytes(namespace) + growth
        if quota is not None and growth > 0 and size > quota:
            raise _over_quota(namespace, size, quota)
        self._staged.setdefault(namespace, {})[key] = value
        self._growth[namespace] = self._growth.get(namespace, 0) + growth


def _length(key: str, value: bytes | None) -> int:
    return 0 if value is None else len(key.encode()) + len(value)


def _over_quota(namespace: str, size: int, quota: int) -> QuotaExceededError:
    return QuotaExceededError(
        f"{namespace!r} would hold {size} bytes; its limit is {quota}", rule="max_storage_bytes"
    )
