"""How much of a principal's storage limit its files take.

Trusted with the limit: every byte that grows the principal's files, its home and its overlays is
charged before it is written (`metered`). Spec: kernel-and-security 16 D-33, D-63; host-abi 5.4
"write quota".
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from astrid_core.kernel.mounts.open_nodes import OpenNodes
from astrid_core.kernel.mounts.tree_size import TreeSize
from astrid_hookspecs.errors import QuotaExceededError

_RECOUNT_S: Final = 1.0


class StorageMeter:
    """One principal's budget. Safe from any thread; the methods charge its home.

    Args:
        limit: The principal's limit in bytes, asked at each charge.
        count: Measures its home anew. What is charged there drifts when a person changes files
            by hand, so nobody is refused before it was measured again, as far as it can be seen
            whole.

    Attributes:
        changes: Held around looking at a file of the home, changing it and charging that, so that
            two threads never give the same bytes back.
        opened: Files of the home that are open; `changes` is held around its use.
    """

    def __init__(self, *, limit: Callable[[], int], count: Callable[[], TreeSize]) -> None:
        self._limit = limit
        self._count = count
        self._lock = threading.Lock()
        self._home = count().size_bytes
        self._counted = time.monotonic()
        self._accounts: list[MeterAccount] = []
        self.changes = threading.RLock()
        self.opened = OpenNodes()

    def charge(self, growth_bytes: int) -> None:
        """As `VfsMeter.charge`."""
        with self._lock:
            self._admit(growth_bytes)
            self._home += growth_bytes

    def account(self) -> MeterAccount:
        """A part of the budget that one overlay charges, and gives back when it is closed."""
        account = MeterAccount(self)
        with self._lock:
            self._accounts.append(account)
        return account

    def used_bytes(self) -> int:
        """What is taken now."""
        with self._lock:
            return self._used()

    def charge_account(self, account: MeterAccount, growth_bytes: int) -> None:
        """For `MeterAccount`: as `charge`, in the account's name."""
        with self._lock:
            if account.is_enforced:
                self._admit(growth_bytes)
            account.used += growth_bytes

    def close_account(self, account: MeterAccount) -> None:
        """For `MeterAccount`: it holds nothing any more. Closing twice is not an error."""
        with self._lock:
            if account in self._accounts:
                self._accounts.remove(account)

    def _admit(self, growth_bytes: int) -> None:
        if growth_bytes <= 0:
            return
        limit = self._limit()
        if self._used() + growth_bytes <= limit:
            return
        if time.monotonic() - self._counted >= _RECOUNT_S:
            found = self._count()
            if found.is_whole:
                self._home = found.size_bytes + self.opened.nameless_bytes
            self._counted = time.monotonic()
            if self._used() + growth_bytes <= limit:
                return
        raise QuotaExceededError(
            f"{growth_bytes} more bytes do not fit into the storage limit of {limit} bytes",
            rule="quotas.max_storage_bytes",
            hint="delete files, or raise max_storage_bytes in the principal's profile",
        )

    def _used(self) -> int:
        return self._home + sum(account.used for account in self._accounts)


class MeterAccount:
    """Implements `VfsMeter`. What a store holds when it is opened is charged without asking."""

    def __init__(self, meter: StorageMeter) -> None:
        self._meter = meter
        self.used = 0
        self.is_enforced = False

    def charge(self, growth_bytes: int) -> None:
        """As `VfsMeter.charge`."""
        self._meter.charge_account(self, growth_bytes)

    def enforce(self) -> None:
        """The store is open: from now on charges can be refused."""
        self.is_enforced = True

    def close(self) -> None:
        """Give everything back: the store is closed."""
        self._meter.close_account(self)
