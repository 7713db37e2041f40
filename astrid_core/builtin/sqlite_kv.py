"""The default key-value store: one SQLite database in WAL mode, with group commit.

Trusted with every capsule's state and with the storage quota. One connection, guarded by one lock,
carries reads and the open write transaction, so a write is visible to the next read at once; a
committer thread makes it durable a few milliseconds later, or at once for callers that wait. Hot
reads come from a write-through cache and take no lock. See `docs/adr/0004-kv-store.md`.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from astrid_core.builtin.sqlite_file import delete_first, first_keys, open_database
from astrid_hookspecs.errors import QuotaExceededError, StoreError
from astrid_hookspecs.stores import KeyPage, KvWrite

COMMIT_DELAY_S: Final = 0.002
"""How long the committer gathers writes nobody waits for."""
CACHE_BYTES: Final = 8 * 1024 * 1024
CACHE_VALUE_BYTES: Final = 64 * 1024
_CACHE_ENTRY_COST: Final = 200
_CLEAR_PAGE: Final = 1000
"""Keys that are removed before others get their turn."""
_CLEAR_PAUSE_S: Final = 0.0002
"""Whoever gives the lock up without a pause takes it again before those who wait have woken."""


class SqliteKvStore:
    """Implements `astrid_hookspecs.stores.KvStore`.

    Args:
        directory: Where `state.db` lives; exists, mode 0700, used by one process at a time.

    Raises:
        StoreError: The database is damaged, of a newer version, or in use by another process.
    """

    def __init__(self, directory: Path) -> None:
        self._lock = threading.Lock()
        self._committed = threading.Condition(self._lock)
        self._wake = threading.Event()
        self._urgent = threading.Event()
        self._written = 0
        self._durable = 0
        self._failure: str | None = None
        self._closed = False
        self._namespaces: dict[str, list[int]] = {}
        self._cache: dict[tuple[str, str], bytes | None] = {}
        self._cache_bytes = 0
        self._db = open_database(directory / "state.db")
        self._committer = threading.Thread(
            target=self._commit_loop, name="astrid-kv-commit", daemon=True
        )
        self._committer.start()

    def get(self, namespace: str, key: str) -> bytes | None:
        """As `KvStore.get`."""
        try:
            return self._cache[namespace, key]
        except KeyError:
            with self._guard():
                return self._read(namespace, key)

    def set(
        self,
        namespace: str,
        key: str,
        value: bytes,
        *,
        quota_bytes: int | None = None,
        durable: bool = False,
    ) -> None:
        """As `KvStore.set`."""
        with self._guard():
            self._write(namespace, key, value, quota_bytes)
            ticket = self._note_write(durable=durable)
            if durable:
                self._await_commit(ticket)

    def delete(self, namespace: str, key: str) -> bool:
        """As `KvStore.delete`."""
        with self._guard():
            existed = self._remove(namespace, key)
            if existed:
                self._note_write(durable=False)
            return existed

    def keys(self, namespace: str, prefix: str, *, after: str | None, limit: int) -> KeyPage:
        """As `KvStore.keys`."""
        with self._guard():
            space = self._space(namespace)
            if space is None:
                return KeyPage([], more=False)
            keys = first_keys(self._db, space[0], prefix, after=after, limit=limit + 1)
        return KeyPage(keys[:limit], more=len(keys) > limit)

    def clear_prefix(self, namespace: str, prefix: str, *, limit: int | None = None) -> int:
        """As `KvStore.clear_prefix`, a page at a time: others come in between the pages.

        What was removed before a crash stays removed.
        """
        removed = 0
        while True:
            page = _CLEAR_PAGE if limit is None else min(_CLEAR_PAGE, limit - removed)
            with self._guard():
                found = self._clear_page(namespace, prefix, limit=page)
            removed += found
            if found < page or removed == limit:
                return removed
            time.sleep(_CLEAR_PAUSE_S)

    def compare_and_swap(
        self,
        namespace: str,
        key: str,
        expected: bytes | None,
        new: bytes,
        *,
        quota_bytes: int | None = None,
    ) -> bool:
        """As `KvStore.compare_and_swap`."""
        with self._guard():
            if self._read(namespace, key) != expected:
                return False
            self._write(namespace, key, new, quota_bytes)
            self._await_commit(self._note_write(durable=True))
            return True

    def apply(
        self, namespace: str, writes: Sequence[KvWrite], *, quota_bytes: int | None = None
    ) -> None:
        """As `KvStore.apply`."""
        with self._guard():
            self._begin()
            space = self._space(namespace)
            before = 0 if space is None else space[1]
            self._db.execute("SAVEPOINT batch")
            try:
                for write in writes:
                    if write.value is None:
                        self._remove(namespace, write.key)
                    else:
                        self._write(namespace, write.key, write.value, None)
                self._check_quota(namespace, quota_bytes, before=before)
            except BaseException:
                self._db.execute("ROLLBACK TO batch")
                self._drop_memory()
                raise
            finally:
                self._db.execute("RELEASE batch")
            self._await_commit(self._note_write(durable=True))

    def size_bytes(self, namespace: str) -> int:
        """As `KvStore.size_bytes`."""
        with self._guard():
            space = self._space(namespace)
            return 0 if space is None else space[1]

    def flush(self) -> None:
        """As `KvStore.flush`."""
        with self._guard():
            if self._durable < self._written:
                self._urgent.set()
                self._wake.set()
                self._await_commit(self._written)

    def close(self) -> None:
        """As `KvStore.close`."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._urgent.set()
            self._wake.set()
        self._committer.join()
        self._cache.clear()
        self._db.close()
        if self._failure is not None and self._durable < self._written:
            raise StoreError(self._failure, hint="free disk space, then start again")

    # Below: called with the lock held.

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise StoreError("the key-value store is closed")
            if self._failure is not None:
                raise StoreError(self._failure, hint="free disk space, then start again")
            try:
                yield
            except (sqlite3.Error, UnicodeError) as error:
                raise StoreError(f"the key-value store failed: {error}") from error

    def _space(self, namespace: str) -> list[int] | None:
        """Identifier and size of a namespace, as a list that is updated in place."""
        space = self._namespaces.get(namespace)
        if space is None:
            row = self._db.execute(
                "SELECT id, bytes FROM namespaces WHERE name = ?", (namespace,)
            ).fetchone()
            if row is None:
                return None
            space = self._namespaces[namespace] = list(row)
        return space

    def _read(self, namespace: str, key: str) -> bytes | None:
        if (namespace, key) in self._cache:
            return self._cache[namespace, key]
        space = self._space(namespace)
        row = None
        if space is not None:
            row = self._db.execute(
                "SELECT value FROM entries WHERE namespace = ? AND key = ?", (space[0], key)
            ).fetchone()
        value: bytes | None = None if row is None else row[0]
        self._remember(namespace, key, value)
        return value

    def _write(self, namespace: str, key: str, value: bytes, quota: int | None) -> None:
        self._begin()
        old = self._read(namespace, key)
        growth = len(value) + (len(key.encode()) if old is None else 0) - len(old or b"")
        space = self._space(namespace)
        size = 0 if space is None else space[1]
        if quota is not None and growth > 0 and size + growth > quota:
            raise _quota_error(namespace, size + growth, quota)
        if space is None:
            cursor = self._db.execute(
                "INSERT INTO namespaces (name, bytes) VALUES (?, 0)", (namespace,)
            )
            space = self._namespaces[namespace] = [cursor.lastrowid or 0, 0]
        self._db.execute(
            "INSERT INTO entries VALUES (?, ?, ?) "
            "ON CONFLICT (namespace, key) DO UPDATE SET value = excluded.value",
            (space[0], key, value),
        )
        self._charge(space, growth)
        self._remember(namespace, key, value)

    def _remove(self, namespace: str, key: str) -> bool:
        space = self._space(namespace)
        if space is None:
            return False
        self._begin()
        row = self._db.execute(
            "DELETE FROM entries WHERE namespace = ? AND key = ? RETURNING length(value)",
            (space[0], key),
        ).fetchone()
        if row is None:
            return False
        self._charge(space, -(len(key.encode()) + row[0]))
        self._remember(namespace, key, None)
        return True

    def _clear_page(self, namespace: str, prefix: str, *, limit: int) -> int:
        """Remove the first keys with the prefix; returns how many."""
        space = self._space(namespace)
        if space is None:
            return 0
        self._begin()
        removed = delete_first(self._db, space[0], prefix, limit=limit)
        if removed:
            self._charge(space, -sum(len(key.encode()) + length for key, length in removed))
            for key, _ in removed:
                self._forget(namespace, key)
            self._note_write(durable=False)
        return len(removed)

    def _check_quota(self, namespace: str, quota: int | None, *, before: int) -> None:
        space = self._space(namespace)
        if quota is not None and space is not None and space[1] > max(quota, before):
            raise _quota_error(namespace, space[1], quota)

    def _charge(self, space: list[int], growth: int) -> None:
        space[1] += growth
        self._db.execute("UPDATE namespaces SET bytes = ? WHERE id = ?", (space[1], space[0]))

    def _begin(self) -> None:
        if not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")

    def _note_write(self, *, durable: bool) -> int:
        self._written += 1
        if durable:
            self._urgent.set()
        self._wake.set()
        return self._written

    def _await_commit(self, ticket: int) -> None:
        while self._durable < ticket:
            if self._failure is not None:
                raise StoreError(self._failure, hint="free disk space, then start again")
            self._committed.wait()

    def _remember(self, namespace: str, key: str, value: bytes | None) -> None:
        self._forget(namespace, key)
        cost = _cost(key, value)
        if value is not None and len(value) > CACHE_VALUE_BYTES:
            return
        self._cache[namespace, key] = value
        self._cache_bytes += cost
        while self._cache_bytes > CACHE_BYTES:
            oldest = next(iter(self._cache))
            self._cache_bytes -= _cost(oldest[1], self._cache.pop(oldest))

    def _forget(self, namespace: str, key: str) -> None:
        if (namespace, key) in self._cache:
            self._cache_bytes -= _cost(key, self._cache.pop((namespace, key)))

    def _drop_memory(self) -> None:
        self._cache.clear()
        self._cache_bytes = 0
        self._namespaces.clear()

    # The committer thread.

    def _commit_loop(self) -> None:
        while True:
            self._wake.wait()
            if not self._urgent.is_set():
                self._urgent.wait(COMMIT_DELAY_S)
            with self._lock:
                self._wake.clear()
                self._urgent.clear()
                self._commit()
                self._committed.notify_all()
                if self._closed or self._failure is not None:
                    return

    def _commit(self) -> None:
        try:
            if self._db.in_transaction:
                self._db.execute("COMMIT")
            self._durable = self._written
        except (sqlite3.Error, UnicodeError) as error:
            lost = self._written - self._durable
            self._failure = f"the last {lost} writes could not be stored: {error}"
            self._drop_memory()
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")


def _cost(key: str, value: bytes | None) -> int:
    return _CACHE_ENTRY_COST + len(key) + len(value or b"")


def _quota_error(namespace: str, size: int, quota: int) -> QuotaExceededError:
    return QuotaExceededError(
        f"{namespace!r} would hold {size} bytes; its limit is {quota}",
        rule="max_storage_bytes",
        hint="delete keys, or raise the principal's max_storage_bytes",
    )
