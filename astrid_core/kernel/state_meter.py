"""What principals keep in the store, charged to the same limit as their files.

Trusted with the limit across capsules: the store enforces a bound on one namespace, and a principal
has one for each capsule. Which ones it has is kept in the store itself, because capsules come and
go. Spec: kernel-and-security 16 D-33.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Final

from astrid_core.kernel.mounts.metering import StateAccount, StorageMeter
from astrid_hookspecs.errors import QuotaExceededError
from astrid_hookspecs.stores import KvStore
from astrid_hookspecs.values import Principal

NAMESPACE: Final = "system:storage"
"""Has a key for each namespace of a principal: the namespace's own name."""
_PAGE: Final = 500


class StateMeter:
    """Implements `astrid_core.host.services.StateMeter`. Safe from any thread.

    Args:
        kv: The kernel's store.
        meter_of: The storage meter of a principal.
    """

    def __init__(self, kv: KvStore, *, meter_of: Callable[[Principal], StorageMeter]) -> None:
        self._kv = kv
        self._meter_of = meter_of
        self._lock = threading.Lock()
        self._accounts: dict[Principal, _Namespaces] = {}

    @contextlib.contextmanager
    def writing(self, principal: Principal, namespace: str, *, growth_bytes: int) -> Iterator[int]:
        """As the Protocol.

        Raises:
            QuotaExceededError: From the write: with everything else that the principal keeps, it
                does not fit.
            ConfigError: The principal's profile cannot be read.
            StoreError: The store failed.
        """
        account = self._account(principal)
        account.remember(namespace)
        reserved = account.meter.reserve(growth_bytes)
        if reserved is None:
            with account.nearly_full, self._last_bytes(account, namespace, growth_bytes) as quota:
                yield quota
            return
        try:
            yield reserved.limit
        finally:
            account.meter.give_back(reserved)

    @contextlib.contextmanager
    def _last_bytes(self, account: _Namespaces, namespace: str, growth_bytes: int) -> Iterator[int]:
        """One write at a time: it may replace something, so that the store has to say if it fits.

        What is left belongs to this write until it is over.
        """
        reserved = account.meter.reserve_rest(growth_bytes)
        try:
            yield self._kv.size_bytes(namespace) + reserved.left
        except QuotaExceededError as error:
            raise QuotaExceededError(
                f"state and files of {account.principal!r} would take more than "
                f"{reserved.limit} bytes",
                rule="max_storage_bytes",
                hint="delete keys or files, or raise the principal's max_storage_bytes",
            ) from error
        finally:
            account.meter.give_back(reserved)

    def used_bytes(self, principal: Principal) -> int:
        """What a principal keeps now, in the store and in files together."""
        return self._account(principal).meter.used_bytes()

    def _account(self, principal: Principal) -> _Namespaces:
        found = self._accounts.get(principal)
        if found is None:
            meter = self._meter_of(principal)  # which counts a whole home: nobody else waits for it
            with self._lock:
                found = self._accounts.get(principal)
                if found is None:
                    found = self._accounts[principal] = _Namespaces(self._kv, principal, meter)
        return found


class _Namespaces:
    """The namespaces of one principal, and its meter.

    Attributes:
        nearly_full: Held by writes that fit only if they replace something.
    """

    def __init__(self, kv: KvStore, principal: Principal, meter: StorageMeter) -> None:
        self._kv = kv
        self._lock = threading.Lock()
        self.principal = principal
        self.nearly_full = threading.Lock()
        self._names = frozenset(_listed(kv, f"{principal}:"))
        self.meter = meter
        meter.keep_state(StateAccount(self._count))

    def remember(self, namespace: str) -> None:
        """Count this one too, now and after a restart."""
        if namespace in self._names:
            return
        with self._lock:
            self._kv.set(NAMESPACE, namespace, b"")
            self._names |= {namespace}

    def _count(self) -> int:
        return sum(map(self._kv.size_bytes, self._names))


def _listed(kv: KvStore, prefix: str) -> Iterator[str]:
    after, more = None, True
    while more:
        keys, more = kv.keys(NAMESPACE, prefix, after=after, limit=_PAGE)
        yield from keys
        after = keys[-1] if keys else None
