"""Writes one chain: batches of entries, each signed and written before anybody is told.

Trusted with the promise of `append`: when it returns, the entry is in the file behind a signature.
Threads that append at the same time share a batch: who gets the lock writes for all that wait.
Spec: kernel-and-security 8.3, D-54, D-55.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from astrid_core.domain.audit_chain import ChainVerdict
from astrid_core.domain.audit_commit import Head, LogKey, commit_line
from astrid_core.domain.audit_entry import GENESIS, ChainId, Link, entry_line, seal_entry
from astrid_core.domain.audit_segment import PRUNED, RESUMED, Condition, Tip
from astrid_core.kernel.audit.inspect import verify_end
from astrid_core.kernel.audit.places import AuditPlaces
from astrid_core.kernel.audit.segment_file import SegmentFile
from astrid_core.kernel.durable import fsync_directory
from astrid_hookspecs.audit import AuditEntry, AuditValue, Severity
from astrid_hookspecs.errors import AuditError

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


class _Ticket:
    """An entry on its way, and what became of it."""

    __slots__ = ("entry", "problem", "seq")

    def __init__(self, entry: AuditEntry) -> None:
        self.entry = entry
        self.seq = 0
        self.problem: Exception | None = None

    @property
    def is_done(self) -> bool:
        return bool(self.seq) or self.problem is not None


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
        self._queue: deque[_Ticket] = deque()
        self._lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._position: _Position | None = None
        self._durable = Tip(0, GENESIS)
        self.last_used = 0.0

    def append(self, entry: AuditEntry) -> int:
        """Record an entry; returns its number when it is signed and written.

        Raises:
            AuditError: It was not recorded.
        """
        ticket = _Ticket(entry)
        self._queue.append(ticket)
        self.last_used = time.monotonic()
        with self._lock:
            if not ticket.is_done:
                self._write_queue()
        if ticket.seq:
            return ticket.seq
        if isinstance(ticket.problem, AuditError):
            raise ticket.problem
        raise self._failure("was not recorded", ticket.problem) from ticket.problem

    def sync(self, seq: int) -> None:
        """Return when the entry of this number, which was appended, survives a power failure.

        Raises:
            AuditError: It may not.
        """
        with self._sync_lock:
            if self._durable.seq < seq:
                self._sync()

    def settle(self) -> ChainVerdict:
        """Look at the end of the chain and make it fit to be continued.

        Returns:
            What was found, before anything was done about it.

        Raises:
            AuditError: It cannot be read or written.
        """
        with self._lock:
            verdict = self.look()
            try:
                self._settle(verdict)
            except OSError as error:
                raise self._failure("cannot be continued", error) from error
            return verdict

    def look(self) -> ChainVerdict:
        """Verify the end of the chain; changes nothing.

        Raises:
            AuditError: It cannot be read.
        """
        return verify_end(self._places, self._chain, keys=[self._key.public], head=self._head)

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
        """Give the file descriptor back; the next append opens the file again.

        Raises:
            AuditError: What was written may not be durable.
        """
        with self._lock, self._sync_lock:
            self._sync()
            if self._position is not None and self._position.file is not None:
                self._position.file.close()
                self._position = None

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
        batch: list[_Ticket] = []
        try:
            while self._queue:
                batch.append(self._queue.popleft())
            self._write(batch)
        except (OSError, AuditError) as error:
            for ticket in batch:
                ticket.problem = ticket.problem or error
        except BaseException as error:
            for ticket in batch:
                ticket.problem = ticket.problem or AuditError(f"interrupted by {error!r}")
            raise

    def _write(self, batch: list[_Ticket]) -> None:
        position = self._opened()
        tip = position.tip
        lines: list[bytes] = []
        good: list[_Ticket] = []
        random = os.urandom(16 * len(batch))
        for index, ticket in enumerate(batch):
            try:
                stored = seal_entry(
                    ticket.entry,
                    link=Link(tip.seq + 1, tip.digest),
                    entry_id=random[16 * index : 16 * index + 16],
                    key=self._key.public,
                )
            except AuditError as error:
                ticket.problem = error
                continue
            lines.append(entry_line(stored))
            good.append(ticket)
            tip = Tip(stored.seq, bytes.fromhex(stored.hash))
        if not good:
            return
        lines.append(
            commit_line(
                self._key, self._chain_bytes, seq=tip.seq, count=len(good), digest=tip.digest
            )
        )
        file = position.file or self._new_file(position.tip.seq + 1)
        file.append(b"".join(lines))
        self._position = _Position(file, tip)
        first = tip.seq - len(good) + 1
        for seq, ticket in enumerate(good, start=first):
            ticket.seq = seq
        self._written([ticket.entry for ticket in good])
        if file.size >= self._segment_bytes:
            self._rotate()

    def _opened(self) -> _Position:
        if self._position is None:
            self._settle(self.look())
        position = self._position
        if position is None:
            raise AuditError(f"the audit log of {self._chain} cannot be continued")
        return position

    def _settle(self, verdict: ChainVerdict) -> None:
        if self._position is not None:
            return
        if not verdict.condition.is_sound:
            self._resume(verdict)
            return
        tip = Tip(0, GENESIS)
        if verdict.head is not None:
            tip = Tip(verdict.head.seq, bytes.fromhex(verdict.head.hash))
        self._durable = tip if self._head is None else self._durable
        firsts = self._places.segments(self._chain)
        file = None
        if firsts and verdict.good_bytes:
            path = self._places.segment(self._chain, firsts[-1])
            file = SegmentFile(path, size=verdict.good_bytes)
        elif firsts:  # nothing in it counts
            self._places.segment(self._chain, firsts[-1]).unlink()
        self._position = _Position(file, tip)
        if verdict.torn_bytes:
            self._note(REPAIRED, {"bytes": verdict.torn_bytes})

    def _resume(self, verdict: ChainVerdict) -> None:
        """Leave the damage as it is and go on in a segment of its own, which says so."""
        known = [Tip(0, GENESIS)]
        heads = (head for head in (verdict.head, self._head) if head is not None)
        known.extend(Tip(head.seq, bytes.fromhex(head.hash)) for head in heads)
        tip = max(known)
        highest = max(self._places.segments(self._chain), default=0)
        if highest > tip.seq:  # its name is taken, whatever is in it
            tip = Tip(highest, tip.digest)
        self._position = _Position(None, tip)
        try:
            self._note(RESUMED, {"reason": str(verdict.condition), "seq": tip.seq}, severity="high")
        except BaseException:
            self._position = None
            raise

    def _note(
        self, action: str, facts: dict[str, AuditValue], *, severity: Severity = "normal"
    ) -> None:
        """Append an entry of the log's own.

        Raises:
            AuditError, OSError: It was not recorded.
        """
        ticket = _Ticket(
            AuditEntry(
                timestamp=self._now(),
                principal=self._chain.principal,  # type: ignore[arg-type]  # checked by `places`
                capsule=None,
                action=action,
                resource="",
                outcome="allowed",
                rule="audit",
                detail=facts,
                severity=severity,
                session=self._chain.session,
            )
        )
        self._write([ticket])
        if ticket.problem is not None:
            raise ticket.problem

    def _new_file(self, first: int) -> SegmentFile:
        for directory in (self._directory.parent, self._directory):
            directory.mkdir(mode=0o700, exist_ok=True)
        return SegmentFile(self._places.segment(self._chain, first), size=0)

    def _rotate(self) -> None:
        position = self._position
        if position is None or position.file is None:
            return
        with self._sync_lock:
            position.file.close()
            self._durable = position.tip
        self._position = _Position(None, position.tip)

    def _prune(self, firsts: list[int], reason: str) -> None:
        self._opened()
        if len(firsts) == 1:
            self._rotate()
        oldest = firsts[0]
        path = self._places.segment(self._chain, oldest)
        last = self._last_of(firsts)
        facts: dict[str, AuditValue] = {
            "first": oldest,
            "last": last.seq,
            "hash": last.digest.hex(),
            "entries": last.seq - oldest + 1,
            "bytes": self._places.size_bytes(self._chain, oldest),
            "reason": reason,
        }
        self._note(PRUNED, facts)
        with self._sync_lock:
            self._sync()
        path.unlink()
        fsync_directory(path.parent)

    def _last_of(self, firsts: list[int]) -> Tip:
        """The last entry of the first segment, as the entry after it says."""
        if len(firsts) == 1:
            return self._opened().tip
        data = self._places.read(self._chain, firsts[1]).data
        try:
            after = msgspec.json.decode(data.partition(b"\n")[0], type=_FirstLine)
            return Tip(after.seq - 1, bytes.fromhex(after.previous_hash))
        except ValueError:  # damaged, and reported already
            return Tip(firsts[1] - 1, GENESIS)

    # Below: called with the sync lock held.

    def _sync(self) -> None:
        position = self._position
        if position is None or position.file is None:
            return
        try:
            position.file.sync()
        except OSError as error:
            raise self._failure("may not be durable", error) from error
        self._durable = position.tip

    def _failure(self, problem: str, error: Exception | None) -> AuditError:
        reason = getattr(error, "strerror", None) or error
        return AuditError(f"the audit log of {self._chain} {problem}: {reason}", hint=_HINT)


def is_damage(verdict: ChainVerdict) -> bool:
    """Whether an operator has to hear of it."""
    return verdict.condition not in {Condition.INTACT, Condition.TORN}
