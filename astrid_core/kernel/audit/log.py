"""The audit log of a home: every chain, its checkpoint, its bounds, and the copies for sinks.

Trusted with failing closed: `append` returns when the entry is written and sealed, or raises. One
thread signs what was written, makes it durable, signs checkpoints and prunes; it decides about no
entry.
Spec: kernel-and-security 8, 16 D-03, D-56.
"""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, TypeVar

from loguru import logger

from astrid_core.domain.audit_chain import ChainVerdict
from astrid_core.domain.audit_commit import Head, LogKey
from astrid_core.domain.audit_entry import ChainId
from astrid_core.domain.payload_message import format_timestamp
from astrid_core.kernel.audit.chain_writer import ChainWriter
from astrid_core.kernel.audit.checkpoint import read_checkpoint, write_checkpoint
from astrid_core.kernel.audit.inspect import verify_end
from astrid_core.kernel.audit.places import AuditPlaces
from astrid_core.kernel.audit.retention import OldSegment, Retention
from astrid_core.kernel.audit.sinks import SinkFeeder
from astrid_hookspecs.audit import AuditEntry, AuditSink
from astrid_hookspecs.errors import AuditError, ChainBrokenError

SIGN_S: Final = 0.02
"""How long an entry may wait for the signature that it shares with those that come after it."""
T = TypeVar("T")

FLUSH_S: Final = 0.5
CHECKPOINT_S: Final = 5.0
MAX_OPEN_CHAINS: Final = 128
"""What stays open for long."""
FILES_PER_CHAIN: Final = 16
"""For so many files that the process may open, one chain is open for a moment: two files. Who opens
one more gives another back itself, because nobody else can be sure to keep up with it."""
MAX_PRUNED: Final = 1000
"""Segments that one round removes at most."""
MAX_LOOKED_AT: Final = 64
"""Chains whose end is verified at boot, the latest first; the others when they are continued."""


class AuditLog:
    """Implements `astrid_core.ports.audit.AuditTrail`. Safe from any thread; one per home.

    Args:
        places: Where it lies; the directory exists.
        key: Signs.
        retention: Its bounds.
        sinks: Get a copy of each entry, by the name that the kernel's log calls them by; owned.
        strict: Refuse a log that is not as it was written, and change nothing of it.

    Attributes:
        problems: What was found wrong at boot.

    Raises:
        AuditError: With `strict`: the first problem. `ChainBrokenError` where it is damage.
    """

    def __init__(
        self,
        places: AuditPlaces,
        *,
        key: LogKey,
        retention: Retention | None = None,
        sinks: Mapping[str, AuditSink] | None = None,
        strict: bool = False,
    ) -> None:
        self._places = places
        self._key = key
        self._retention = retention or Retention()
        self._lock = threading.Lock()
        self._room_lock = threading.Lock()
        self._writers: dict[ChainId, ChainWriter] = {}
        checkpoint = read_checkpoint(places, public=key.public)
        self._heads = checkpoint.heads
        self.problems: list[AuditError] = self._look()
        if checkpoint.problem is not None:
            self.problems.insert(0, _broken(checkpoint.problem))
        self._rounds: list[Callable[[], None]] = []
        self._feeder = SinkFeeder(sinks or {})
        if strict and self.problems:
            self._feeder.close()
            raise self.problems[0]
        self._ended = threading.Event()
        self._unsigned = threading.Event()
        self._begin(checkpoint.problem)
        self._thread = threading.Thread(target=self._maintain, name="audit", daemon=True)
        self._thread.start()

    def append(self, entry: AuditEntry, *, durable: bool = False) -> None:
        """As `AuditTrail.append`."""
        writer = self._writers.get(ChainId(entry.principal, entry.session))
        if writer is None:
            writer = self._open_writer(ChainId(entry.principal, entry.session))
        if not writer.is_open:
            self._make_room()
        seq = writer.append(entry)
        if durable:
            writer.sync(seq)

    def each_round(self, work: Callable[[], None]) -> None:
        """Call `work` about twice a second, and once more when the log closes."""
        self._rounds.append(work)

    def close(self) -> None:
        """Make everything durable, sign where each chain ends, and refuse what comes later."""
        if self._ended.is_set():
            return
        for work in self._rounds:
            self._guarded(work)
        with self._lock:  # a writer that somebody opens now is there already, or never comes
            self._ended.set()
        self._unsigned.set()
        self._thread.join()
        for writer in self._writers.values():
            self._guarded(writer.close)
        self._guarded(self._checkpoint)
        self._feeder.close()

    def _begin(self, problem: ChainVerdict | None) -> None:
        """From now on there is a checkpoint, so that a log without one has lost it.

        That one was lost is on record before a new one takes its place.
        """
        if problem is not None:
            self._guarded(lambda: self._record_loss(problem.findings[0].rule))
        elif not self._places.checkpoint.exists():
            self._guarded(lambda: self._sign(self._heads))

    def _record_loss(self, rule: str) -> None:
        entry = AuditEntry(
            timestamp=format_timestamp(time.time_ns()),
            principal=None,
            capsule=None,
            action="audit.checkpoint",
            resource="",
            outcome="failed",
            rule="audit",
            detail={"reason": rule},
            severity="high",
        )
        self.append(entry, durable=True)
        self._checkpoint()

    def _open_writer(self, chain: ChainId) -> ChainWriter:
        with self._lock:
            writer = self._writers.get(chain)
            if writer is None:
                if self._ended.is_set():
                    raise AuditError("the audit log is closed")
                writer = ChainWriter(
                    self._places,
                    chain,
                    key=self._key,
                    segment_bytes=self._retention.segment_bytes,
                    head=self._heads.get(chain),
                    now=lambda: format_timestamp(time.time_ns()),
                    written=self._feeder.put,
                    unsigned=self._unsigned,
                )
                self._writers = {**self._writers, chain: writer}  # readers see a whole dict
            return writer

    def _look(self) -> list[AuditError]:
        """Verify the ends of the latest chains, and that none is missing."""
        chains = [*self._places.chains()]
        chains.sort(key=self._written_at, reverse=True)
        missing = [chain for chain in self._heads if chain not in chains]
        found: list[AuditError] = []
        for chain in [*chains[:MAX_LOOKED_AT], *missing]:
            head = self._heads.get(chain)
            try:
                verdict = verify_end(self._places, chain, key=self._key, head=head)
            except AuditError as error:
                found.append(error)
                continue
            if not verdict.condition.is_sound:
                found.append(_broken(verdict))
        for problem in found:
            logger.error("{}", problem)
        return found

    def _written_at(self, chain: ChainId) -> float:
        firsts = self._places.segments(chain)
        try:
            return self._places.segment(chain, firsts[-1]).stat().st_mtime if firsts else 0.0
        except FileNotFoundError:
            return 0.0

    def _maintain(self) -> None:
        next_checkpoint = time.monotonic() + CHECKPOINT_S
        self._guarded(self._prune)
        while self._sign_until(time.monotonic() + FLUSH_S):
            for work in self._rounds:
                self._guarded(work)
            self._flush()
            if time.monotonic() >= next_checkpoint:
                self._guarded(self._checkpoint)
                self._guarded(self._prune)
                self._park()
                next_checkpoint = time.monotonic() + CHECKPOINT_S

    def _sign_until(self, moment: float) -> bool:
        """Sign what is written until then; False when the log is closing."""
        while (rest := moment - time.monotonic()) > 0:
            if self._unsigned.wait(rest) and not self._ended.wait(SIGN_S):
                self._unsigned.clear()
                for writer in self._writers.values():
                    self._guarded(writer.sign)
            if self._ended.is_set():
                return False
        return True

    @staticmethod
    def _guarded(work: Callable[[], T]) -> T | None:
        """What it returns; None, with its failure in the kernel's log, where it fails."""
        try:
            return work()
        except (AuditError, OSError) as error:
            logger.error("audit log: {}", error)
            return None

    def _flush(self) -> None:
        for writer in self._writers.values():
            self._guarded(writer.flush)

    def _checkpoint(self) -> None:
        heads = dict(self._heads)
        for chain, writer in self._writers.items():
            head = writer.head()
            if head is not None:
                heads[chain] = head
        if heads != self._heads:
            self._sign(heads)

    def _sign(self, heads: dict[ChainId, Head]) -> None:
        taken = format_timestamp(time.time_ns())
        write_checkpoint(self._places, heads, key=self._key, taken=taken)
        self._heads = heads

    def _prune(self) -> None:
        """Remove old segments until the log is within its bounds, or only receipts are left.

        A chain that cannot give way is left out of this round, so that it holds up no other.
        """
        stuck: set[ChainId] = set()
        for _ in range(MAX_PRUNED):
            if self._ended.is_set():
                return
            chains = [chain for chain in self._places.chains() if chain not in stuck]
            oldest = [old for chain in chains for old in self._oldest(chain)]
            choice = self._retention.next_to_prune(oldest, now=time.time())
            if choice is None:
                return
            if not self._guarded(partial(self._prune_chain, choice[0].chain, choice[1])):
                stuck.add(choice[0].chain)

    def _prune_chain(self, chain: ChainId, reason: str) -> bool:
        return self._open_writer(chain).prune(reason)

    def _oldest(self, chain: ChainId) -> list[OldSegment]:
        firsts = self._places.segments(chain)
        if not firsts:
            return []
        try:
            written = self._places.segment(chain, firsts[0]).stat().st_mtime
        except FileNotFoundError:
            return []
        size = sum(self._places.size_bytes(chain, first) for first in firsts)
        return [OldSegment(chain, written, size)]

    def _make_room(self) -> None:
        """Before a chain is opened: a principal has a chain as soon as somebody says its name."""
        with self._room_lock:
            files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            if files != resource.RLIM_INFINITY:
                self._park(leave=max(1, files // FILES_PER_CHAIN - 1))

    def _park(self, *, leave: int = MAX_OPEN_CHAINS) -> None:
        """Give back descriptors of the chains that were not used for longest."""
        writers = [writer for writer in self._writers.values() if writer.is_open]
        if len(writers) > leave:
            writers.sort(key=lambda writer: writer.last_used)
            for writer in writers[: len(writers) - leave]:
                self._guarded(writer.park)


def _broken(verdict: ChainVerdict) -> ChainBrokenError:
    finding = verdict.findings[0]
    return ChainBrokenError(
        f"the audit log of {verdict.chain} is not as it was written: {finding.condition} at entry "
        f"{finding.seq} ({finding.rule})",
        hint="'astrid audit verify' says more; keep a copy of var/audit as evidence",
    )
