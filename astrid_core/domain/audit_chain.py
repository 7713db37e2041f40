"""Verification of a chain: what became of it since it was written, and at which entry.

Trusted with telling damage apart: a tail that a crash tore off is repaired, everything else is
evidence. It believes nothing but signatures of the keys it is given and the head that a signed
checkpoint names. Spec: kernel-and-security 8.4, D-56, D-57.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from astrid_core.domain.audit_commit import Head
from astrid_core.domain.audit_entry import GENESIS, ChainId
from astrid_core.domain.audit_segment import (
    Condition,
    Expectation,
    Sealed,
    Segment,
    SegmentReport,
    Tip,
    first_seq,
    read_segment,
)

_RANK: Final = tuple(Condition)


class Finding(NamedTuple):
    """Something that is not as it was written.

    Attributes:
        condition: What it amounts to.
        rule: Which check failed, for instance `entry-hash`.
        seq: Number of the entry where it showed.
        segment: Number in the name of the segment.
    """

    condition: Condition
    rule: str
    seq: int
    segment: int


@dataclass(frozen=True, slots=True)
class ChainVerdict:
    """The result of a verification.

    Attributes:
        chain: Which one.
        condition: The worst of the findings; without one, whether the tail is torn.
        findings: At most one per segment, in order, and at most one about beginning and end.
        entries: Verified entries.
        pruned: Entries before those, for which receipts account.
        head: The last verified entry; None without any.
        good_bytes: Length of the last segment up to the last entry that counts, and its commit.
        torn_bytes: Length of its torn tail.
        unsigned: How many of the entries are sealed and not signed yet.
        missing: The last entry that the seal names, where entries up to there were taken away.
    """

    chain: ChainId
    condition: Condition
    findings: tuple[Finding, ...]
    entries: int
    pruned: int
    head: Head | None
    good_bytes: int
    torn_bytes: int
    unsigned: int = 0
    missing: Tip | None = None


class ChainCheck:
    """Verifies the segments of one chain, handed over in the order of their names.

    Args:
        chain: Whose segments they are.
        keys: Public keys that may have signed; the first is the one in use.
        head: What the checkpoint says about the chain; None when it does not know it.
        from_start: Whether the first segment handed over is the first there is.
        every_signature: Check each commit. Otherwise the last one of each segment: the links make
            it cover every entry, only damage to other commits goes unseen.
        sealed: How far a seal says that the chain goes, which the caller has checked; None where
            only signatures are believed.
    """

    def __init__(
        self,
        chain: ChainId,
        *,
        keys: Sequence[bytes],
        head: Head | None,
        from_start: bool = True,
        every_signature: bool = True,
        sealed: Sealed | None = None,
    ) -> None:
        self._sealed = sealed
        self._chain = chain
        self._keys = tuple(keys)
        self._head = head
        self._from_start = from_start
        self._every = every_signature
        self._findings: list[Finding] = []
        self._names: list[int] = []
        self._contents: list[int] = []
        self._before: Tip | None = None
        self._tip: Tip | None = None
        self._knows_tip = False
        self._entries = 0
        self._receipts: dict[int, str] = {}
        self._watched: str | None = None
        self._tail = (0, 0, 0)

    def add(self, segment: Segment, *, is_last: bool) -> None:
        """Verify the next segment.

        Args:
            segment: With a higher number than the one before.
            is_last: Whether it is the last one there is.
        """
        tip = self._tip if self._knows_tip else None
        if not self._names and self._from_start and segment.first == 1:
            tip = Tip(0, GENESIS)
        self._names.append(segment.first)
        self._contents.append(first_seq(segment))
        expected = Expectation(
            chain=self._chain,
            keys=self._keys,
            tip=tip,
            is_last=is_last,
            every_signature=self._every,
            watch=0 if self._head is None else self._head.seq,
            sealed=None if self._sealed is None else self._sealed.tip,
        )
        report = read_segment(segment, expected)
        self._take(report)
        if report.resumed is not None and not self._findings:
            self._find(
                report.resumed, "resumed", 1 + (0 if tip is None else tip.seq), segment.first
            )
        if report.damage is not None:
            self._find(*report.damage, segment.first)
        self._knows_tip = report.damage is None and self._tip is not None
        self._tail = (report.good_bytes, report.torn_bytes, report.unsigned)

    def add_unreadable(self, first: int) -> None:
        """Take note of a segment that is no file this log can have written.

        Args:
            first: Number in its name.
        """
        self._names.append(first)
        self._contents.append(first)
        self._find(Condition.TAMPERED, "segment-unreadable", first, first)
        self._knows_tip = False
        self._tail = (0, 0, 0)

    def verdict(self) -> ChainVerdict:
        """What all of it amounts to; once, after the last segment."""
        if self._contents != self._names == sorted(self._contents):
            moved = next(
                name
                for name, found in zip(self._names, self._contents, strict=True)
                if name != found
            )
            self._findings = [Finding(Condition.REORDERED, "segment-name", moved, moved)]
        elif not self._findings:
            self._check_start()
            self._check_head()
        missing = None if self._findings else self._missing()
        if missing is not None:
            last = self._names[-1] if self._names else 0
            self._find(Condition.TRUNCATED, "seal-head", self._end() + 1, last)
        good, torn, unsigned = self._tail
        calm = Condition.TORN if torn else Condition.INTACT
        return ChainVerdict(
            chain=self._chain,
            condition=max((f.condition for f in self._findings), key=_RANK.index, default=calm),
            findings=tuple(self._findings),
            entries=self._entries,
            pruned=0 if self._before is None else self._before.seq,
            head=self._as_head(),
            good_bytes=good,
            torn_bytes=torn,
            unsigned=unsigned,
            missing=missing,
        )

    def _end(self) -> int:
        return 0 if self._tip is None else self._tip.seq

    def _missing(self) -> Tip | None:
        """The entry that a seal names which cannot be ahead of its chain by itself."""
        sealed = self._sealed
        if sealed is None or not sealed.is_certain or sealed.tip.seq <= self._end():
            return None
        return sealed.tip

    def _take(self, report: SegmentReport) -> None:
        self._entries += report.entries
        self._receipts.update(report.receipts)
        self._before = self._before or report.before
        self._tip = report.tip or self._tip
        self._watched = report.watched or self._watched

    def _check_start(self) -> None:
        """The first entry follows none, or one that a receipt accounts for."""
        before = self._before
        if before is None or before.seq == 0 or not self._from_start:
            return
        if self._receipts.get(before.seq) != before.digest.hex():
            self._find(Condition.TAMPERED, "segment-missing", before.seq, self._names[0])

    def _check_head(self) -> None:
        """The chain goes at least as far as the checkpoint says, along the same entries."""
        head = self._head
        if head is None:
            return
        seq = self._end()
        last = self._names[-1] if self._names else 0
        if seq < head.seq:
            self._find(Condition.TRUNCATED, "checkpoint-head", seq + 1, last)
        elif self._watched not in {None, head.hash}:
            self._find(Condition.TAMPERED, "checkpoint-head", head.seq, last)

    def _find(self, condition: Condition, rule: str, seq: int, segment: int) -> None:
        self._findings.append(Finding(condition, rule, seq, segment))

    def _as_head(self) -> Head | None:
        if self._tip is None:
            return None
        return Head(*self._chain, self._tip.seq, self._tip.digest.hex())
