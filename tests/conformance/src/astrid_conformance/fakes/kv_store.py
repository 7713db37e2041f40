"""A key-value store in a dictionary: correct but for durability, which it does not have."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from astrid_hookspecs.errors import QuotaExceededError, StoreError
from astrid_hookspecs.stores import KeyPage, KvWrite

ResultT = TypeVar("ResultT")
Space = dict[str, bytes]


class DictKvStore:
    """Implements `KvStore` in memory, for tests of what uses a store.

    Args:
        directory: Ignored; the factory of a record gets one.
    """

    def __init__(self, directory: Path | None = None) -> None:
        del directory
        self._spaces: dict[str, Space] = {}
        self._lock = threading.RLock()
        self._closed = False

    def __repr__(self) -> str:
        return f"<DictKvStore with {len(self._spaces)} namespaces>"

    def get(self, namespace: str, key: str) -> bytes | None:
        """As `KvStore.get`."""
        with self._lock:
            self._check_open()
            return self._spaces.get(namespace, {}).get(key)

    def set(
        self,
        namespace: str,
        key: str,
        value: bytes,
        *,
        quota_bytes: int | None = None,
        durable: bool = False,
    ) -> None:
        """As `KvStore.set`, without durability."""
        del durable
        self._change(namespace, lambda space: space.update({key: value}), quota_bytes=quota_bytes)

    def delete(self, namespace: str, key: str) -> bool:
        """As `KvStore.delete`."""
        return self._change(namespace, lambda space: space.pop(key, None) is not None)

    def keys(self, namespace: str, prefix: str, *, after: str | None, limit: int) -> KeyPage:
        """As `KvStore.keys`."""
        with self._lock:
            self._check_open()
            names = sorted(self._spaces.get(namespace, {}), key=str.encode)
        floor = b"" if after is None else after.encode()
        found = [
            name
            for name in names
            if name.startswith(prefix) and (after is None or name.encode() > floor)
        ]
        return KeyPage(found[:limit], len(found) > limit)

    def clear_prefix(self, namespace: str, prefix: str, *, limit: int | None = None) -> int:
        """As `KvStore.clear_prefix`."""

        def clear(space: Space) -> int:
            names = sorted((name for name in space if name.startswith(prefix)), key=str.encode)
            for name in names[:limit]:
                del space[name]
            return len(names[:limit])

        return self._change(namespace, clear)

    def compare_and_swap(
        self,
        namespace: str,
        key: str,
        expected: bytes | None,
        new: bytes,
        *,
        quota_bytes: int | None = None,
    ) -> bool:
        """As `KvStore.compare_and_swap`, without durability."""

        def swap(space: Space) -> bool:
            if space.get(key) != expected:
                return False
            space[key] = new
            return True

        return self._change(namespace, swap, quota_bytes=quota_bytes)

    def apply(
        self, namespace: str, writes: Sequence[KvWrite], *, quota_bytes: int | None = None
    ) -> None:
        """As `KvStore.apply`, without durability."""

        def write_all(space: Space) -> None:
            for write in writes:
                if write.value is None:
                    space.pop(write.key, None)
                else:
                    space[write.key] = write.value

        self._change(namespace, write_all, quota_bytes=quota_bytes)

    def size_bytes(self, namespace: str) -> int:
        """As `KvStore.size_bytes`."""
        with self._lock:
            self._check_open()
            return _size(self._spaces.get(namespace, {}))

    def flush(self) -> None:
        """As `KvStore.flush`; there is nothing to do."""
        self._check_open()

    def close(self) -> None:
        """As `KvStore.close`."""
        self._closed = True

    def _change(
        self,
        namespace: str,
        change: Callable[[Space], ResultT],
        *,
        quota_bytes: int | None = None,
    ) -> ResultT:
        """Work on a copy, so that a refusal leaves no trace."""
        with self._lock:
            self._check_open()
            before = self._spaces.get(namespace, {})
            after = dict(before)
            result = change(after)
            if quota_bytes is not None and _size(after) > max(quota_bytes, _size(before)):
                raise QuotaExceededError(
                    f"{namespace!r} would hold {_size(after)} bytes; its limit is {quota_bytes}",
                    rule="storage quota",
                )
            self._spaces[namespace] = after
            return result

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the store is closed", code="store.closed")


def _size(space: Space) -> int:
    return sum(len(key.encode()) + len(value) for key, value in space.items())
