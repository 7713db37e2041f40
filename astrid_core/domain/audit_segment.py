"""Verification of one segment: every line, in order, up to its last commit, or to a seal behind it.

Trusted with the first half of a verdict: which entry fails which check, and whether what follows
the last commit is what a crash leaves. Spec: kernel-and-security 8.4.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from astrid_core.domain.audit_commit import COMMIT_PREFIX, is_signed, parse_commit
from astrid_core.domain.audit_entry import ChainId, EntryError, StoredEntry, parse_entry

PRUNED: Final = "audit.pruned"
"""Action of the receipt for entries that retention removed."""
RESUMED: Final = "audit.resumed"
"""Action of the first entry after damage; the segments before it stay as they were found."""


class Condition(StrEnum):
    """What became of a chain, from harmless to worst."""

    INTACT = "intact"
    TORN = "torn-tail"
    TRUNCATED = "truncated"
    REORDERED = "reordered"
    RESIGNED = "re-signed"
    TAMPERED = "tampered"

    @property
    def is_sound(self) -> bool:
        """Whether nothing that counts as written is missing or changed."""
        return self in {Condition.INTACT, Condition.TORN}


class Tip(NamedTuple):
    """The end of a chain: number and hash (32 bytes) of an entry."""

    seq: int
    digest: bytes


class Sealed(NamedTuple):
    """How far a seal, which was checked, says that a chain goes.

    Attributes:
        tip: The entry that it names.
        is_certain: Whether nothing but somebody's hand can have taken that entry away: the machine
            has not been started anew since, so what was written before the seal is still there.
    """

    tip: Tip
    is_certain: bool


class Damage(NamedTuple):
    """The first thing in a segment that is not as it was written.

    Attributes:
        condition: What it amounts to.
        rule: Which check failed.
        seq: At which entry.
    """

    condition: Condition
    rule: str
    seq: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A file of a chain.

    Attributes:
        first: Number of its first entry, as its name says.
        data: The whole content.
    """

    first: int
    data: bytes


@dataclass(slots=True)
class SegmentReport:
    """What a segment proves.

    Attributes:
        damage: Where verification ended early, None where it did not.
        entries: Verified entries.
        before: Number and hash that the first verified entry follows.
        tip: The last verified entry.
        watched: Hash of the entry that was to be watched for.
        receipts: Hash by number of the last entries that receipts account for.
        resumed: What the first entry says happened before it, where it does not continue.
        good_bytes: Length up to the last entry that counts, and its commit if it has one.
        torn_bytes: Length of a torn tail.
        unsigned: How many of the entries are sealed and not signed yet.
    """

    damage: Damage | None = None
    entries: int = 0
    before: Tip | None = None
    tip: Tip | None = None
    watched: str | None = None
    receipts: dict[int, str] = field(default_factory=dict)
    resumed: Condition | None = None
    good_bytes: int = 0
    torn_bytes: int = 0
    unsigned: int = 0


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a segment is checked against.

    Attributes:
        chain: Whose entries it holds.
        keys: Public keys that may have signed it; the first is the one in use.
        tip: Where the segment before it ended; None where that is unknown.
        is_last: Only the tail of the last segment can be torn.
        every_signature: Check each commit and not only the last.
        watch: Number of the entry whose hash is wanted.
        sealed: How far a seal, checked by the caller, says that the chain goes: entries up to there
            count without a commit.
    """

    chain: ChainId
    keys: Sequence[bytes]
    tip: Tip | None
    is_last: bool
    every_signature: bool = True
    watch: int = 0
    sealed: Tip | None = None


class _DamagedError(Exception):
    def __init__(self, condition: Condition, rule: str, seq: int) -> None:
        super().__init__(rule)
        self.damage = Damage(condition, rule, seq)


class _Facts(msgspec.Struct):
    type: str
    reason: str = ""
    last: int = 0
    hash: str = ""


class _Seq(msgspec.Struct):
    seq: int


_OWN: Final = b'{"type":"audit.'
_facts: Final = msgspec.json.Decoder(_Facts).decode
_seq: Final = msgspec.json.Decoder(_Seq).decode


def read_segment(segment: Segment, expected: Expectation) -> SegmentReport:
    """Verify a segment; what follows damage is not looked at."""
    reader = _Reader(segment, expected)
    try:
        reader.run()
    except _DamagedError as error:
        damage = error.damage
        if damage.condition is Condition.TAMPERED and _is_shuffled(segment, expected):
            damage = damage._replace(condition=Condition.REORDERED)
        reader.report.damage = damage
    return reader.report


def first_seq(segment: Segment) -> int:
    """Number of the first entry as the content says, unverified; as the name says without one."""
    try:
        return _seq(segment.data.partition(b"\n")[0]).seq
    except (ValueError, RecursionError):
        return segment.first


class _Reader:
    def __init__(self, segment: Segment, expected: Expectation) -> None:
        self._segment = segment
        self._expected = expected
        self._chain = expected.chain.to_bytes()
        self._tip = expected.tip
        self._is_first = True
        self.report = SegmentReport()

    def run(self) -> None:
        lines = self._segment.data.split(b"\n")
        tail = lines.pop()
        final = max((i for i, line in enumerate(lines) if _is_commit(line)), default=-1)
        pending: list[bytes] = []
        length = 0
        for index, line in enumerate(lines):
            length += len(line) + 1
            if _is_commit(line):
                is_checked = self._expected.every_signature or index == final
                self._accept(pending, line, check_signature=is_checked)
                self.report.good_bytes = length
                pending = []
            else:
                pending.append(line)
        if pending or tail:
            self._check_tail(pending, tail)

    def _accept(self, lines: list[bytes], line: bytes, *, check_signature: bool) -> None:
        """Verify a batch and count it."""
        try:
            commit = parse_commit(line)
        except EntryError as error:
            raise self._damaged(error.rule) from error
        entries = self._follow(lines, key=commit.public)
        tip = self._tip
        if not entries or tip is None or commit.count != len(entries):
            raise self._damaged("commit-mismatch")
        if (commit.seq, commit.hash) != (tip.seq, tip.digest.hex()):
            raise self._damaged("commit-mismatch")
        is_trusted = commit.public in self._expected.keys
        if (check_signature or not is_trusted) and not is_signed(
            commit, chain=self._chain, digest=tip.digest
        ):
            raise self._damaged("commit-signature")
        if not is_trusted:
            raise _DamagedError(Condition.RESIGNED, "commit-key", entries[0].seq)
        self._count(entries, tip)

    def _count(self, entries: list[StoredEntry], tip: Tip) -> None:
        report = self.report
        if report.before is None:
            first = entries[0]
            report.before = Tip(first.seq - 1, bytes.fromhex(first.previous_hash))
        report.tip = tip
        report.entries += len(entries)
        for entry in entries:
            if entry.seq == self._expected.watch:
                report.watched = entry.hash
            facts = _note(entry)
            if facts is not None and facts.type == PRUNED:
                report.receipts[facts.last] = facts.hash

    def _follow(self, lines: list[bytes], *, key: bytes) -> list[StoredEntry]:
        """Verify entries and their links."""
        entries = []
        for line in lines:
            try:
                entry = parse_entry(line, key=key)
            except EntryError as error:
                raise self._damaged(error.rule) from error
            if entry.chain != self._expected.chain:
                raise self._damaged("entry-foreign")
            self._check_link(entry)
            self._is_first = False
            self._tip = Tip(entry.seq, bytes.fromhex(entry.hash))
            entries.append(entry)
        return entries

    def _check_link(self, entry: StoredEntry) -> None:
        if self._is_first and entry.seq != self._segment.first:
            is_later = entry.seq > self._segment.first
            raise self._damaged("entry-missing" if is_later else "segment-name")
        if self._tip is None:
            return
        rule = None
        if entry.seq != self._tip.seq + 1:
            rule = "entry-missing" if entry.seq > self._tip.seq else "entry-repeated"
        elif entry.previous_hash != self._tip.digest.hex():
            rule = "entry-link"
        if rule is None:
            return
        facts = _note(entry)
        if not self._is_first or facts is None or facts.type != RESUMED:
            raise self._damaged(rule)
        known = {str(condition): condition for condition in Condition}
        self.report.resumed = known.get(facts.reason, Condition.TAMPERED)

    def _check_tail(self, pending: list[bytes], tail: bytes) -> None:
        """What follows the last commit has to be sealed, or else the beginning of a batch."""
        if not self._expected.is_last:
            raise self._damaged("segment-incomplete")
        tip, is_first = self._tip, self._is_first
        entries = self._follow(pending, key=self._expected.keys[0])
        if not _is_beginning(tail):
            raise self._damaged("tail-malformed")
        self._tip, self._is_first = tip, is_first
        sealed = self._expected.sealed
        known = [Tip(entry.seq, bytes.fromhex(entry.hash)) for entry in entries]
        if sealed is not None and sealed in known:
            count = known.index(sealed) + 1
            self._count(entries[:count], sealed)
            self._tip, self._is_first = sealed, False
            self.report.unsigned = count
            self.report.good_bytes += sum(len(line) + 1 for line in pending[:count])
        self.report.torn_bytes = len(self._segment.data) - self.report.good_bytes

    def _damaged(self, rule: str) -> _DamagedError:
        seq = self._segment.first if self._tip is None or self._is_first else self._tip.seq + 1
        return _DamagedError(Condition.TAMPERED, rule, seq)


def _is_commit(line: bytes) -> bool:
    return line.startswith(COMMIT_PREFIX)


def _note(entry: StoredEntry) -> _Facts | None:
    """What an entry of the log's own says; None for all the others.

    Hashes need no key, so before its signature is checked an entry can hold anything.
    """
    if not bytes(entry.action).startswith(_OWN):
        return None
    try:
        return _facts(entry.action)
    except (ValueError, RecursionError):
        return None


def _is_beginning(tail: bytes) -> bool:
    """Whether a crash can leave this of a line: a part, perhaps followed by a hole of zeros.

    A whole object that lacks only its line break is one; with anything but that behind it, somebody
    wrote it there.
    """
    written = tail.rstrip(b"\0")
    text = written.decode("utf-8", "ignore")
    if not text:
        return True
    if not text.startswith("{"):
        return False
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return True
    except RecursionError:  # no entry is nested like that
        return False
    return end == len(text) and text.encode() == tail


def _is_shuffled(segment: Segment, expected: Expectation) -> bool:
    """Whether the segment is sound when its lines are put in order."""
    *lines, tail = segment.data.split(b"\n")
    if tail:
        return False
    keyed: list[tuple[int, bool, bytes]] = []
    for line in lines:
        try:
            if _is_commit(line):
                keyed.append((parse_commit(line).seq, True, line))
            else:
                keyed.append((_seq(line).seq, False, line))
        except (ValueError, RecursionError):
            return False
    ordered = b"".join(line + b"\n" for _, _, line in sorted(keyed))
    if ordered == segment.data:
        return False
    reader = _Reader(replace(segment, data=ordered), replace(expected, every_signature=True))
    try:
        reader.run()
    except _DamagedError:
        return False
    return True
