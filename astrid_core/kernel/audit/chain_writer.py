"""Writes one chain: batches of entries, each signed and written before anybody is told.

Trusted with the promise of `append`: when it returns, the entry is in the file behind a signature.
Threads that append at the same time share a batch: who gets the lock writes for all that wait.
Spec: kernel-and-security 8.3, D-54, D-55.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from astrid_core.domain.audit_chain import ChainVerdict
from astrid_core.domain.audit_commit import Head, LogKey
from astrid_core.domain.audit_entry import GENESIS, ChainId
from astrid_core.domain.audit_segment import PRUNED, RESUMED, Tip
from astrid_core.kernel.audit.batch import Ticket, seal_batch
from astrid_core.kernel.audit.inspect import verify_end
from astrid_core.kernel.audit.places import AuditPlaces, NotSegmentError
from astrid_core.kernel.audit.segment_file import SegmentFile
from astrid_core.kernel.durable import fsync_directory
from astrid_hookspecs.audit import AuditEntry, AuditValue, Severity
from astrid_hookspecs.errors import AuditError
from astrid_hookspecs.values import Principal

REPAIRED: Final = "audit.repaired"
_HINT: Final = (
    "free disk space or repair the disk; nothing that has to be recorded happens until then"
)


class _Position(NamedTuple):
    """The end of what is written, and the file it is in (None: the next entry begins one)."""

    file: SegmentFile | None
    tip: Tip


class _FirstLine(msgspec.Struct):
    seq: int
    previous_hash: str


class ChainWriter:
    """The only writer of one chain. Safe from any thread.

    Args:
        places: Where chains lie.
        chain: Which one.
        key: Signs.
        segment_bytes: When a segment is full.
        head: What the checkpoint says about the chain.
        now: Time stamp for the log's own entries.
        written: Told of each batch after it is written, in order, with the lock held.
    """

    def __init__(
        self,
        places: AuditPlaces,
        chain: ChainId,
        *,
        key: LogKey,
        segment_bytes: int,
        head: Head | None,
        now: Callable[[], str],
        written: Callable[[list[AuditEntry]], None],
    ) -> None:
        self._places = places
        self._chain = chain
        self._chain_bytes = chain.to_bytes()
        self._directory = places.directory(chain)
        self._key = key
        self._segment_bytes = segment_bytes
        self._head = head
        self._now = now
        self._written = written
        self._queue: deque[Ticket] = deque()
        self._lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._position: _Position | None = None
        self._owed: list[AuditEntry] = []
        self._lost: Exception | None = None
        self._is_closed = False
        self._durable = Tip(0, GENESIS)
        self.last_used = 0.0

    def append(self, entry: AuditEntry) -> int:
        """Record an entry; returns its number when it is signed and written.

        Raises:
            AuditError: It was not recorded.
        """
        ticket = Ticket(entry)
        self._queue.append(ticket)
        self.last_used = time.monotonic()
        with self._lock:
            if not ticket.is_done:
                self._write_queue()
        if ticket.problem is not None:
            raise ticket.problem
        return ticket.seq

    def sync(self, seq: int) -> None:
        """Return when the entry of this number, which was appended, survives a power failure.

        Raises:
            AuditError: It may not.
        """
        with self._sync_lock:
            if self._durable.seq < seq:
                self._sync()
            if self._durable.seq < seq:
                raise self._failure("may not be durable", self._lost)

    def look(self) -> ChainVerdict:
        """Verify the end of the chain; changes nothing.

        Raises:
            AuditError: It cannot be read.
        """
        return verify_end(self._places, self._chain, keys=[self._key.public], head=self.head())

    def head(self) -> Head | None:
        """How much of the chain is durable; before the first write what the checkpoint said."""
        if not self._durable.seq:
            return self._head
        return Head(*self._chain, self._durable.seq, self._durable.digest.hex())

    def flush(self) -> None:
        """Make everything durable.

        Raises:
            AuditError: It may not be.
        """
        with self._sync_lock:
            self._sync()

    def park(self) -> None:
        """Give the file descriptor back; the next append looks at the file again and opens it.

        Raises:
            AuditError: What was written may not be durable.
        """
        with self._lock:
            try:
                self._release()
            except OSError as error:
                raise self._failure("may not be durable", error) from error
            self._position = None

    def close(self) -> None:
        """Make everything durable and refuse what comes later.

        Raises:
            AuditError: What was written may not be durable.
        """
        with self._lock:
            self._is_closed = True
        self.park()

    def prune(self, reason: str) -> bool:
        """Remove the oldest segment, after a receipt for it is durable.

        Args:
            reason: For the receipt.

        Returns:
            False where there is nothing to remove.

        Raises:
            AuditError: The receipt could not be written; nothing was removed.
        """
        with self._lock:
            firsts = self._places.segments(self._chain)
            if not firsts:
                return False
            try:
                self._prune(firsts, reason)
            except OSError as error:
                raise self._failure("cannot be pruned", error) from error
        return True

    # Below: called with the lock held.

    def _write_queue(self) -> None:
        """Write everything that waits, in one batch with one signature."""
        batch: list[Ticket] = []
        try:
            while self._queue:
                batch.append(self._queue.popleft())
            self._write(batch)
        except (OSError, AuditError) as error:
            self._fail(batch, error)
        except BaseException as error:
            self._fail(batch, error)
            raise

    def _fail(self, batch: list[Ticket], error: BaseException) -> None:
        for ticket in batch:
            if not ticket.is_done:  # an error of its own for each: they are raised by many threads
                ticket.problem = self._failure("was not recorded", error)
                ticket.problem.__cause__ = error

    def _write(self, tickets: list[Ticket]) -> None:
        position = self._opened()
        batch = [*map(Ticket, self._owed), *tickets]
        sealed, lines, tip = seal_batch(batch, position.tip, key=self._key, chain=self._chain_bytes)
        if not sealed:
            return
        file = position.file or self._new_file(position.tip.seq + 1)
        file.append(b"".join(lines))
        self._position = _Position(file, tip)
        self._owed = []
        for seq, ticket in enumerate(sealed, start=position.tip.seq + 1):
            ticket.seq = seq
        self._written([ticket.entry for ticket in sealed])
        if file.size >= self._segment_bytes:
            self._release()

    def _opened(self) -> _Position:
        if self._is_closed:
            raise AuditError("the audit log is closed")
        if self._lost is not None:
            raise self._failure("lost what it could not make durable", self._lost)
        if self._position is None:
            self._settle(self.look())
        position = self._position
        if position is None:
            raise self._failure("cannot be continued", None)
        return position

    def _settle(self, verdict: ChainVerdict) -> None:
        """Find the end; what the next batch has to say about it is owed."""
        firsts = self._places.segments(self._chain)
        if not verdict.condition.is_sound:
            self._position = _Position(None, self._beyond(verdict, firsts))
            facts: dict[str, AuditValue] = {"reason": str(verdict.condition)}
            self._owed = [self._entry(RESUMED, facts, severity="high")]
            return
        tip = _tip(verdict.head)
        file = None
        if verdict.good_bytes:
            path = self._places.segment(self._chain, firsts[-1])
            file = SegmentFile(path, size=verdict.good_bytes)
        elif firsts:  # nothing in it counts
            self._places.segment(self._chain, firsts[-1]).unlink()
        self._position = _Position(file, tip)
        if verdict.torn_bytes:
            self._owed = [self._entry(REPAIRED, {"bytes": verdict.torn_bytes})]

    def _beyond(self, verdict: ChainVerdict, firsts: list[int]) -> Tip:
        """Where to go on after damage, which stays as it is: behind every number it may contain."""
        tip = max(_tip(verdict.head), _tip(self.head()))
        if firsts:
            try:
                lines = self._places.read(self._chain, firsts[-1]).data.count(b"\n")
            except NotSegmentError:
                lines = 0
            tip = Tip(max(tip.seq, firsts[-1] + lines), tip.digest)
        return tip

    def _entry(
        self, action: str, facts: dict[str, AuditValue], *, severity: Severity = "normal"
    ) -> AuditEntry:
        """An entry of the log's own."""
        principal = self._chain.principal
        return AuditEntry(
            timestamp=self._now(),
            principal=None if principal is None else Principal(principal),
            capsule=None,
            action=action,
            resource="",
            outcome="allowed",
            rule="audit",
            detail=facts,
            severity=severity,
            session=self._chain.session,
        )

    def _new_file(self, first: int) -> SegmentFile:
        for directory in (self._directory.parent, self._directory):
            directory.mkdir(mode=0o700, exist_ok=True)
        return SegmentFile(self._places.segment(self._chain, first), size=0)

    def _release(self) -> None:
        """Close the file; the next batch begins a segment.

        Raises:
            OSError: What was written may not be durable.
        """
        position = self._position
        if position is None or position.file is None:
            return
        with self._sync_lock:
            self._position = _Position(None, position.tip)  # whatever happens, it is used no more
            try:
                position.file.close()
            except OSError as error:
                self._lost = error
                raise
            self._durable = position.tip

    def _prune(self, firsts: list[int], reason: str) -> None:
        tip = self._opened().tip
        if len(firsts) == 1:
            self._release()
        oldest = firsts[0]
        path = self._places.segment(self._chain, oldest)
        last = tip if len(firsts) == 1 else self._last_of(firsts)
        facts: dict[str, AuditValue] = {
            "first": oldest,
            "last": last.seq,
            "hash": last.digest.hex(),
            "entries": last.seq - oldest + 1,
            "bytes": self._places.size_bytes(self._chain, oldest),
            "reason": reason,
        }
        self._write([Ticket(self._entry(PRUNED, facts))])
        with self._sync_lock:
            self._sync()
        path.unlink()
        fsync_directory(path.parent)

    def _last_of(self, firsts: list[int]) -> Tip:
        """The last entry of the first segment, as the entry after it says."""
        try:
            data = self._places.read(self._chain, firsts[1]).data
            after = msgspec.json.decode(data.partition(b"\n")[0], type=_FirstLine)
            return Tip(after.seq - 1, bytes.fromhex(after.previous_hash))
        except (ValueError, NotSegmentError):  # damaged, and reported already
            return Tip(firsts[1] - 1, GENESIS)

    # Below: called with the sync lock held.

    def _sync(self) -> None:
        position = self._position
        if self._lost is not None:
            raise self._failure("lost what it could not make durable", self._lost)
        if position is None or position.file is None:
            return
        try:
            position.file.sync()
        except OSError as error:
            if position.file.is_lost:
                self._lost = error
            raise self._failure("may not be durable", error) from error
        self._durable = position.tip

    def _failure(self, problem: str, error: BaseException | None) -> AuditError:
        reason = getattr(error, "strerror", None) or error
        return AuditError(f"the audit log of {self._chain} {problem}: {reason}", hint=_HINT)


def _tip(head: Head | None) -> Tip:
    return Tip(0, GENESIS) if head is None else Tip(head.seq, bytes.fromhex(head.hash))
