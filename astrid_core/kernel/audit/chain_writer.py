"""Writes one chain: batches of entries, each written and sealed before anybody is told.

Trusted with the promise of `append`: when it returns, the entry is in the file and the seal says
so. Threads that append at the same time share a batch: who gets the lock writes for all that wait.
Signatures follow, one for all entries since the one before: nothing is made durable, called
finished or begun anew without. Spec: kernel-and-security 8.3, D-54, D-55.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from astrid_core.domain.audit_chain import ChainVerdict
from astrid_core.domain.audit_commit import Head, LogKey, commit_line
from astrid_core.domain.audit_entry import GENESIS, ChainId
from astrid_core.domain.audit_segment import Tip
from astrid_core.kernel.audit.batch import Ticket, seal_batch
from astrid_core.kernel.audit.continuing import Owed, Position, continue_chain
from astrid_core.kernel.audit.inspect import verify_end
from astrid_core.kernel.audit.places import AuditPlaces
from astrid_core.kernel.audit.receipt import receipt_for
from astrid_core.kernel.audit.segment_file import SegmentFile
from astrid_core.kernel.audit.tail_seal import TailSeal
from astrid_core.kernel.durable import fsync_directory
from astrid_hookspecs.audit import AuditEntry
from astrid_hookspecs.errors import AuditError
from astrid_hookspecs.values import Principal

_HINT: Final = (
    "free disk space or repair the disk; nothing that has to be recorded happens until then"
)


class ChainWriter:
    """The only writer of one chain. Safe from any thread.

    Args:
        places: Where chains lie.
        chain: Which one.
        key: Seals and signs.
        segment_bytes: When a segment is full.
        head: What the checkpoint says about the chain.
        now: Time stamp for the log's own entries.
        written: Told of each batch after it is written, in order, with the lock held.
        unsigned: Set when there is something for `sign` to do.
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
        unsigned: threading.Event,
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
        self._unsigned = unsigned
        self._queue: deque[Ticket] = deque()
        self._lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._position: Position | None = None
        self._seal: TailSeal | None = None
        self._owed: list[AuditEntry] = []
        self._lost: Exception | None = None
        self._is_closed = False
        self._durable = self._signed = Tip(0, GENESIS)
        self.last_used = 0.0

    @property
    def is_open(self) -> bool:
        """Whether it has descriptors."""
        return self._position is not None or self._seal is not None

    def append(self, entry: AuditEntry) -> int:
        """Record an entry; returns its number when it is written and sealed.

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

    def sign(self) -> None:
        """Sign what is written.

        Raises:
            AuditError: The signature could not be written; the entries are, and sealed.
        """
        with self._lock:
            try:
                self._sign()
            except OSError as error:
                raise self._failure("cannot be signed", error) from error

    def sync(self, seq: int) -> None:
        """Return when the entry of this number, which was appended, survives a power failure.

        Raises:
            AuditError: It may not.
        """
        self.sign()
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
        return verify_end(self._places, self._chain, key=self._key, head=self.head())

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
        self.sign()
        with self._sync_lock:
            self._sync()

    def park(self) -> None:
        """Give the descriptors back; the next append looks at the file again and opens it.

        Raises:
            AuditError: What was written may not be durable.
        """
        with self._lock:
            try:
                self._release()
            except OSError as error:
                raise self._failure("may not be durable", error) from error
            self._position = None
            if self._seal is not None:
                self._seal.close()
                self._seal = None

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
        """Write everything that waits, in one batch behind one seal."""
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
        sealed, lines, tip = seal_batch(batch, position.tip, public=self._key.public)
        if not sealed:
            return
        file = position.file or self._new_file(position.tip.seq + 1)
        self._append(file, b"".join(lines), tip)
        first = position.tip.seq + 1
        self._position = Position(file, tip, position.unsigned + len(sealed))
        self._owed = []
        for seq, ticket in enumerate(sealed, start=first):
            ticket.seq = seq
        if not self._unsigned.is_set():
            self._unsigned.set()
        self._written([ticket.entry for ticket in sealed])
        if file.size >= self._segment_bytes:
            self._release()

    def _append(self, file: SegmentFile, data: bytes, tip: Tip) -> None:
        """Write a batch and seal it, or leave nothing of it.

        Raises:
            OSError: It does not count.
        """
        seal = self._seal
        if seal is None:
            seal = self._seal = TailSeal(self._places, self._chain, key=self._key)
        file.append(data)
        try:
            seal.write(tip)
        except OSError:
            file.retract(len(data))
            raise

    def _sign(self) -> None:
        position = self._position
        if position is None or position.file is None or not position.unsigned:
            return
        tip = position.tip
        line = commit_line(
            self._key,
            self._chain_bytes,
            seq=tip.seq,
            count=position.unsigned,
            digest=tip.digest,
        )
        position.file.append(line)
        position.unsigned = 0
        self._signed = tip

    def _opened(self) -> Position:
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
        self._position, owed = continue_chain(self._places, self._chain, verdict, known=self.head())
        self._owed = [] if owed is None else [self._entry(owed)]
        self._sign()

    def _entry(self, owed: Owed) -> AuditEntry:
        """An entry of the log's own."""
        principal = self._chain.principal
        return AuditEntry(
            timestamp=self._now(),
            principal=None if principal is None else Principal(principal),
            capsule=None,
            action=owed.action,
            resource="",
            outcome="allowed",
            rule="audit",
            detail=owed.facts,
            severity=owed.severity,
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
        self._sign()
        with self._sync_lock:
            self._position = Position(None, position.tip)  # whatever happens, it is used no more
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
        receipt = receipt_for(self._places, self._chain, firsts, tip=tip, reason=reason)
        self._write([Ticket(self._entry(receipt))])
        self._sign()
        with self._sync_lock:
            self._sync()
        path = self._places.segment(self._chain, firsts[0])
        path.unlink()
        fsync_directory(path.parent)

    # Below: called with the sync lock held.

    def _sync(self) -> None:
        position = self._position
        if self._lost is not None:
            raise self._failure("lost what it could not make durable", self._lost)
        if position is None or position.file is None:
            return
        signed = self._signed
        try:
            position.file.sync()
        except OSError as error:
            if position.file.is_lost:
                self._lost = error
            raise self._failure("may not be durable", error) from error
        self._durable = signed

    def _failure(self, problem: str, error: BaseException | None) -> AuditError:
        reason = getattr(error, "strerror", None) or error
        return AuditError(f"the audit log of {self._chain} {problem}: {reason}", hint=_HINT)
