"""How much of a principal's storage limit its files and its state take.

Trusted with the limit: every byte that grows the principal's files, its home and its overlays is
charged before it is written (`metered`), and so is its state in the store (`kernel.state_meter`).
Spec: kernel-and-security 16 D-33, D-63; host-abi 5.4 "write quota".
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from astrid_core.kernel.mounts.open_nodes import OpenNodes
from astrid_core.kernel.mounts.tree_size import TreeSize
from astrid_hookspecs.errors import QuotaExceededError

_RECOUNT_S: Final = 1.0


class Reserved(NamedTuple):
    """What was set aside for a write.

    Attributes:
        bytes: How much.
        left: What was left before; below 0 when the limit was lowered.
        limit: Of the principal.
    """

    bytes: int
    left: int
    limit: int


class StorageMeter:
    """One principal's budget. Safe from any thread; the methods charge its home.

    Args:
        limit: The principal's limit in bytes, asked at each charge.
        count: Measures its home anew. What is charged there drifts when a person changes files
            by hand, so nobody is refused before it was measured again, as far as it can be seen
            whole.

    Attributes:
        opened: Files of the home that are open; `alone` is entered around its use.
    """

    def __init__(self, *, limit: Callable[[], int], count: Callable[[], TreeSize]) -> None:
        self._limit = limit
        self._count = count
        self._lock = threading.Lock()
        self._home = count().size_bytes
        self._counted = time.monotonic()
        self._accounts: list[MeterAccount] = []
        self._state: StateAccount | None = None
        self._under_way = 0
        self._alone = threading.RLock()
        self.opened = OpenNodes()

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Entered around a change of the home and its charges, which are two steps.

        Whoever counted between them would take for settled what is charged, or given back, right
        after that.
        """
        with self._lock:
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """As `changing`, around looking at a file, changing it and charging that.

        Two threads never give the same bytes back.
        """
        with self._alone, self.changing():
            yield

    def charge(self, growth_bytes: int) -> None:
        """As `VfsMeter.charge`; a growth is charged before it happens, within its change."""
        with self._lock:
            self._admit(growth_bytes, own=1)
            self._home += growth_bytes

    def account(self) -> MeterAccount:
        """A part of the budget that one overlay charges, and gives back when it is closed."""
        account = MeterAccount(self)
        with self._lock:
            self._accounts.append(account)
        return account

    def keep_state(self, state: StateAccount) -> StateAccount:
        """Count the principal's state as well; the first account stays."""
        with self._lock:
            self._state = self._state or state
            return self._state

    def reserve(self, growth_bytes: int) -> Reserved | None:
        """Set aside what a write to the store may add at most, until `give_back`.

        Returns:
            None when it does not fit; nothing was set aside.
        """
        with self._lock:
            room = self._room(growth_bytes)
            return self._set_aside(room) if room.bytes == growth_bytes else None

    def reserve_rest(self, growth_bytes: int) -> Reserved:
        """Set aside that much, or all that is left, until `give_back`."""
        with self._lock:
            return self._set_aside(self._room(growth_bytes))

    def give_back(self, reserved: Reserved) -> None:
        """The write that this was set aside for is over."""
        with self._lock:
            self._known_state().give_back(reserved.bytes)

    def used_bytes(self) -> int:
        """What is taken now; the state as the store has it, not as it was charged."""
        with self._lock:
            if self._state is not None:
                self._state.recount()
            return self._used()

    def charge_account(self, account: MeterAccount, growth_bytes: int) -> None:
        """For `MeterAccount`: as `charge`, in the account's name."""
        with self._lock:
            if account.is_enforced:
                self._admit(growth_bytes, own=0)
            account.used += growth_bytes

    def close_account(self, account: MeterAccount) -> None:
        """For `MeterAccount`: it holds nothing any more. Closing twice is not an error."""
        with self._lock:
            if account in self._accounts:
                self._accounts.remove(account)

    def _admit(self, growth_bytes: int, *, own: int) -> None:
        if growth_bytes <= 0:
            return
        limit = self._limit()
        if self._used() + growth_bytes <= limit:
            return
        self._recount(own=own)
        if self._used() + growth_bytes <= limit:
            return
        raise QuotaExceededError(
            f"{growth_bytes} more bytes do not fit into the storage limit of {limit} bytes",
            rule="max_storage_bytes",
            hint="delete files, or raise max_storage_bytes in the principal's profile",
        )

    def _room(self, growth_bytes: int) -> Reserved:
        limit = self._limit()
        left = limit - self._used()
        if left < growth_bytes:
            self._recount(own=0)
            left = limit - self._used()
        return Reserved(max(0, min(growth_bytes, left)), left, limit)

    def _set_aside(self, room: Reserved) -> Reserved:
        self._known_state().reserve(room.bytes)
        return room

    def _recount(self, *, own: int) -> None:
        """Look what is really there: state is cheap to count, a home only so often.

        Args:
            own: Changes of the home that whoever asks is making; while there are others, it cannot
                be counted.
        """
        if self._state is not None:
            self._state.recount()
        if self._under_way <= own and time.monotonic() - self._counted >= _RECOUNT_S:
            found = self._count()
            if found.is_whole:
                self._home = found.size_bytes + self.opened.nameless_bytes
            self._counted = time.monotonic()

    def _used(self) -> int:
        state = 0 if self._state is None else self._state.used
        return self._home + state + sum(account.used for account in self._accounts)

    def _known_state(self) -> StateAccount:
        if self._state is None:
            raise RuntimeError("the meter keeps no state")
        return self._state


class StateAccount:
    """What a principal has in the store. Guarded by the lock of its meter.

    Between two counts it only grows: a write is charged as if it replaced nothing, so that it costs
    no look into the store. Counting anew puts that right before anybody is refused.

    Args:
        count: Counts the bytes in the principal's namespaces.
    """

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count
        self._reserved = 0
        self.used = count()

    def reserve(self, growth_bytes: int) -> None:
        """Charge a write that is under way."""
        self._reserved += growth_bytes
        self.used += growth_bytes

    def give_back(self, growth_bytes: int) -> None:
        """It is over; it stays charged until the next count."""
        self._reserved -= growth_bytes

    def recount(self) -> None:
        """Count; what is under way comes on top, as it may be written or not."""
        self.used = self._count() + self._reserved


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
