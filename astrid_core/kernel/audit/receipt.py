"""What a receipt says about a segment that retention is about to remove."""

from __future__ import annotations

import msgspec

from astrid_core.domain.audit_entry import GENESIS, ChainId
from astrid_core.domain.audit_segment import PRUNED, Tip
from astrid_core.kernel.audit.continuing import Owed
from astrid_core.kernel.audit.places import AuditPlaces, NotSegmentError


class _FirstLine(msgspec.Struct):
    seq: int
    previous_hash: str


def receipt_for(
    places: AuditPlaces, chain: ChainId, firsts: list[int], *, tip: Tip, reason: str
) -> Owed:
    """The entry that accounts for the oldest segment.

    Args:
        places: Where it lies.
        chain: Whose it is.
        firsts: Numbers of the segments there are, ascending; not empty.
        tip: Where the chain ends.
        reason: Why it is removed.

    Raises:
        AuditError: The segments cannot be read.
    """
    oldest = firsts[0]
    last = tip if len(firsts) == 1 else _last_before(places, chain, firsts[1])
    return Owed(
        PRUNED,
        {
            "first": oldest,
            "last": last.seq,
            "hash": last.digest.hex(),
            "entries": last.seq - oldest + 1,
            "bytes": places.size_bytes(chain, oldest),
            "reason": reason,
        },
    )


def _last_before(places: AuditPlaces, chain: ChainId, first: int) -> Tip:
    """The entry before a segment, as its first entry says."""
    try:
        data = places.read(chain, first).data
        after = msgspec.json.decode(data.partition(b"\n")[0], type=_FirstLine)
        return Tip(after.seq - 1, bytes.fromhex(after.previous_hash))
    except (ValueError, NotSegmentError):  # damaged, and reported already
        return Tip(first - 1, GENESIS)
