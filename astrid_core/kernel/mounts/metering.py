"""How much of a principal's storage limit its files take.

Trusted with the limit: every byte that grows the principal's files, its home and its overlays is
charged before it is written. Spec: kernel-and-security 16 D-33, D-63; host-abi 5.4 "write quota".
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from astrid_hookspecs.errors import QuotaExceededError, VfsNotFoundError
from astrid_hookspecs.vfs import ContentCheck, NodeStat, OpenMode, VfsDirectory, VfsFile, VfsMeter

ENTRY_BYTES: Final = 512
"""What a name costs besides its content, so that empty files are not free."""
_RECOUNT_S: Final = 1.0


class StorageMeter:
    """One principal's budget. Safe from any thread; the methods charge its home.

    Args:
        limit: The principal's limit in bytes, asked at each charge.
        count: Counts the bytes of its home anew. What is charged there drifts when a person
            changes files by hand, so nobody is refused before it was counted again.
    """

    def __init__(self, *, limit: Callable[[], int], count: Callable[[], int]) -> None:
        self._limit = limit
        self._count = count
        self._lock = threading.Lock()
        self._home = count()
        self._counted = time.monotonic()
        self._accounts: list[MeterAccount] = []

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
            self._home = self._count()
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


class MeteredFile:
    """Implements `VfsFile`; growth is charged before it happens."""

    def __init__(self, inner: VfsFile, meter: VfsMeter, *, appends: bool) -> None:
        self._inner = inner
        self._meter = meter
        self._appends = appends
        self.read_at = inner.read_at
        self.sync = inner.sync
        self.stat = inner.stat
        self.close = inner.close

    def write_at(self, offset: int, data: bytes) -> int:
        """As `VfsFile.write_at`."""
        size = self._inner.stat().size
        end = (size if self._appends else offset) + len(data)
        with _charged(self._meter, max(0, end - size)):
            return self._inner.write_at(offset, data)

    def truncate(self, size: int) -> None:
        """As `VfsFile.truncate`."""
        growth = size - self._inner.stat().size
        with _charged(self._meter, max(0, growth)):
            self._inner.truncate(size)
        self._meter.charge(min(0, growth))


class _charged:  # noqa: N801 - reads as a statement
    """Charges a growth, and gives it back when the block fails."""

    def __init__(self, meter: VfsMeter, growth_bytes: int) -> None:
        self._meter = meter
        self._growth = growth_bytes

    def __enter__(self) -> None:
        self._meter.charge(self._growth)

    def __exit__(self, kind: object, _error: object, _trace: object) -> None:
        if kind is not None:
            self._meter.charge(-self._growth)


class MeteredDirectory:
    """Implements `VfsDirectory` on another one and charges what it comes to hold.

    Args:
        inner: Closed with this one.
        meter: Charged.
    """

    def __init__(self, inner: VfsDirectory, meter: VfsMeter) -> None:
        self._inner = inner
        self._meter = meter
        self.stat = inner.stat
        self.names = inner.names
        self.readlink = inner.readlink
        self.close = inner.close

    def open(self, path: str, mode: OpenMode) -> VfsFile:
        """As `VfsDirectory.open`."""
        if mode == "read":
            return self._inner.open(path, mode)
        old = self._cost(path)
        with _charged(self._meter, 0 if old else ENTRY_BYTES):
            file = self._inner.open(path, mode)
        if mode == "write" and old:
            self._meter.charge(ENTRY_BYTES - old)
        return MeteredFile(file, self._meter, appends=mode == "append")

    def open_directory(self, path: str) -> VfsDirectory:
        """As `VfsDirectory.open_directory`."""
        return MeteredDirectory(self._inner.open_directory(path), self._meter)

    def mkdir(self, path: str) -> None:
        """As `VfsDirectory.mkdir`."""
        with _charged(self._meter, ENTRY_BYTES):
            self._inner.mkdir(path)

    def unlink(
        self, path: str, *, only_if: ContentCheck | None = None, token: str | None = None
    ) -> None:
        """As `VfsDirectory.unlink`."""
        old = self._cost(path)
        self._inner.unlink(path, only_if=only_if, token=token)
        self._meter.charge(-old)

    def rmdir(self, path: str) -> None:
        """As `VfsDirectory.rmdir`."""
        self._inner.rmdir(path)
        self._meter.charge(-ENTRY_BYTES)

    def rename(self, source: str, target: str) -> None:
        """As `VfsDirectory.rename`."""
        replaced = 0 if source == target else self._cost(target)
        self._inner.rename(source, target)
        self._meter.charge(-replaced)

    def replace(
        self,
        path: str,
        content: Iterable[bytes],
        *,
        mode: int | None = None,
        only_if: ContentCheck | None = None,
        token: str | None = None,
    ) -> NodeStat:
        """As `VfsDirectory.replace`."""
        old = self._cost(path)
        charged = _ChargedContent(content, self._meter)
        try:
            self._meter.charge(ENTRY_BYTES)
            charged.total += ENTRY_BYTES
            done = self._inner.replace(path, charged, mode=mode, only_if=only_if, token=token)
        except BaseException:
            self._meter.charge(-charged.total)
            raise
        self._meter.charge(-old)
        return done

    def link(self, source: str, target: str) -> None:
        """As `VfsDirectory.link`."""
        with _charged(self._meter, ENTRY_BYTES):
            self._inner.link(source, target)

    def symlink(self, target: str, path: str) -> None:
        """As `VfsDirectory.symlink`."""
        with _charged(self._meter, ENTRY_BYTES):
            self._inner.symlink(target, path)

    def _cost(self, path: str) -> int:
        """What a path is charged with now; 0 when there is nothing."""
        try:
            found = self._inner.stat(path)
        except VfsNotFoundError:
            return 0
        return ENTRY_BYTES + (found.size if found.kind == "regular" else 0)


class _ChargedContent:
    """Pieces that are charged as they are taken."""

    def __init__(self, content: Iterable[bytes], meter: VfsMeter) -> None:
        self._content = content
        self._meter = meter
        self.total = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._content:
            self._meter.charge(len(piece))
            self.total += len(piece)
            yield piece
