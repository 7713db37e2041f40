"""How much of the audit log is kept, and what goes first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from astrid_core.domain.audit_entry import ChainId

MIB: Final = 1024 * 1024
DAY_S: Final = 86_400.0
RECEIPT_BYTES: Final = 4096
"""A chain of this size holds little but the receipt for what it was; it is left alone."""
_SMALLEST_SEGMENT: Final = 64 * 1024
_SEGMENTS: Final = 32


class OldSegment(NamedTuple):
    """The oldest segment of a chain.

    Attributes:
        chain: Whose.
        written_at: When it was last written, seconds since 1970.
        chain_bytes: Size of all segments of the chain.
    """

    chain: ChainId
    written_at: float
    chain_bytes: int


@dataclass(frozen=True, slots=True)
class Retention:
    """The bounds of a log.

    Attributes:
        max_bytes: Of all segments together.
        max_age_s: Of a segment that is not written to any more.
    """

    max_bytes: int = 100 * MIB
    max_age_s: float = 90 * DAY_S

    @property
    def segment_bytes(self) -> int:
        """When a segment is full: small enough that the bound is kept, and that a boot is fast."""
        return min(MIB, max(_SMALLEST_SEGMENT, self.max_bytes // _SEGMENTS))

    def next_to_prune(
        self, oldest: list[OldSegment], *, now: float
    ) -> tuple[OldSegment, str] | None:
        """Which segment has to go, and why; None when all may stay.

        Where room is short, the largest chain gives: who writes without end loses its own past and
        nobody else's.

        Args:
            oldest: The oldest segment of each chain.
            now: Seconds since 1970.
        """
        oldest = [old for old in oldest if old.chain_bytes > RECEIPT_BYTES]
        expired = [old for old in oldest if now - old.written_at > self.max_age_s]
        if expired:
            return min(expired, key=lambda old: old.written_at), "age"
        if sum(old.chain_bytes for old in oldest) > self.max_bytes:
            return max(oldest, key=lambda old: old.chain_bytes), "size"
        return None
