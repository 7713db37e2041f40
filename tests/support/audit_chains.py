"""Audit chains in memory, as the writer makes them on the disk."""

from __future__ import annotations

from dataclasses import dataclass, field

from astrid_core.domain.audit_chain import ChainCheck, ChainVerdict
from astrid_core.domain.audit_commit import Head, LogKey, commit_line
from astrid_core.domain.audit_entry import (
    GENESIS,
    ChainId,
    Link,
    StoredEntry,
    entry_line,
    seal_entry,
)
from astrid_core.domain.audit_segment import Sealed, Segment
from astrid_hookspecs.audit import AuditEntry, AuditValue
from astrid_hookspecs.values import CapsuleId, Principal

KEY = LogKey(bytes(range(32)))
OTHER_KEY = LogKey(bytes(32))
ADA = ChainId("ada")


def entry(number: int = 1, **changes: object) -> AuditEntry:
    """An ordinary entry."""
    facts: dict[str, AuditValue] = {"path": f"f{number}", "bytes": str(number)}
    values: dict[str, object] = {
        "timestamp": f"2026-03-01T10:00:{number % 60:02}.000Z",
        "principal": Principal("ada"),
        "capsule": CapsuleId("notes"),
        "action": "fs.write-file",
        "resource": f"workspace://f{number}",
        "outcome": "allowed",
        "rule": "fs_write:cwd://",
        "detail": facts,
    }
    return AuditEntry(**{**values, **changes})  # type: ignore[arg-type]


@dataclass
class Chain:
    """Writes entries in batches, and segments of them."""

    chain: ChainId = ADA
    key: LogKey = KEY
    seq: int = 0
    digest: bytes = GENESIS
    segments: list[list[bytes]] = field(default_factory=list)
    firsts: list[int] = field(default_factory=list)

    def segment(self) -> Chain:
        """Begin a segment with the next entry."""
        self.segments.append([])
        self.firsts.append(self.seq + 1)
        return self

    def batch(self, *entries: AuditEntry) -> Chain:
        """Entries and the commit that covers them."""
        if not self.segments:
            self.segment()
        for item in entries:
            self.add(item)
        self.commit(len(entries))
        return self

    def add(self, item: AuditEntry) -> StoredEntry:
        """One entry without a commit."""
        stored = seal_entry(
            item,
            link=Link(self.seq + 1, self.digest),
            entry_id=(self.seq + 1).to_bytes(16, "big"),
            key=self.key.public,
        )
        self.segments[-1].append(entry_line(stored))
        self.seq, self.digest = stored.seq, bytes.fromhex(stored.hash)
        return stored

    def commit(self, count: int) -> None:
        """The commit of what was added."""
        line = commit_line(
            self.key, self.chain.to_bytes(), seq=self.seq, count=count, digest=self.digest
        )
        self.segments[-1].append(line)

    def data(self) -> list[bytes]:
        """The content of each segment."""
        return [b"".join(lines) for lines in self.segments]

    @property
    def head(self) -> Head:
        """How far it goes."""
        return Head(*self.chain, self.seq, self.digest.hex())


def three_segments() -> Chain:
    """Seven entries in five batches."""
    chain = Chain()
    chain.segment().batch(entry(1), entry(2)).batch(entry(3))
    chain.segment().batch(entry(4)).batch(entry(5), entry(6))
    chain.segment().batch(entry(7))
    return chain


def verify(
    firsts: list[int],
    data: list[bytes],
    *,
    head: Head | None = None,
    keys: tuple[bytes, ...] = (KEY.public,),
    chain: ChainId = ADA,
    from_start: bool = True,
    every_signature: bool = True,
    sealed: Sealed | None = None,
) -> ChainVerdict:
    """The verdict about segments."""
    check = ChainCheck(
        chain,
        keys=keys,
        head=head,
        from_start=from_start,
        every_signature=every_signature,
        sealed=sealed,
    )
    for index, (first, content) in enumerate(zip(firsts, data, strict=True)):
        check.add(Segment(first, content), is_last=index == len(firsts) - 1)
    return check.verdict()
