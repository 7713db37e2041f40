"""Where a chain is continued: behind what counts, or behind damage, which stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from astrid_core.domain.audit_chain import ChainVerdict
from astrid_core.domain.audit_commit import Head
from astrid_core.domain.audit_entry import GENESIS, ChainId
from astrid_core.domain.audit_segment import RESUMED, Tip
from astrid_core.kernel.audit.places import AuditPlaces, NotSegmentError
from astrid_core.kernel.audit.segment_file import SegmentFile
from astrid_hookspecs.audit import AuditValue, Severity

REPAIRED: Final = "audit.repaired"


@dataclass(slots=True)
class Position:
    """The end of what is written.

    Attributes:
        file: Where it is; None: the next entry begins one.
        tip: The last entry.
        unsigned: How many entries at the end have no signature yet.
    """

    file: SegmentFile | None
    tip: Tip
    unsigned: int = 0


@dataclass(frozen=True, slots=True)
class Owed:
    """What the log has to say about itself before it goes on."""

    action: str
    facts: Mapping[str, AuditValue] = field(default_factory=dict)
    severity: Severity = "normal"


def continue_chain(
    places: AuditPlaces, chain: ChainId, verdict: ChainVerdict, *, known: Head | None
) -> tuple[Position, Owed | None]:
    """Find the end of a chain and open its last segment.

    Args:
        places: Where it lies.
        chain: Which one.
        verdict: About its end, seals included.
        known: How far it goes according to the checkpoint.

    Raises:
        AuditError, OSError: It cannot be continued.
    """
    firsts = places.segments(chain)
    if not verdict.condition.is_sound:
        ends = [tip_of(verdict.head), tip_of(known)]
        if verdict.missing is not None:  # its number is never given to another entry
            ends.append(verdict.missing)
        tip = _beyond(places, chain, max(ends), firsts)
        owed = Owed(RESUMED, {"reason": str(verdict.condition)}, "high")
        return Position(None, tip), owed
    file = None
    if verdict.good_bytes:
        file = SegmentFile(places.segment(chain, firsts[-1]), size=verdict.good_bytes)
    elif firsts:  # nothing in it counts
        places.segment(chain, firsts[-1]).unlink()
    owed_repair = Owed(REPAIRED, {"bytes": verdict.torn_bytes}) if verdict.torn_bytes else None
    return Position(file, tip_of(verdict.head), verdict.unsigned), owed_repair


def tip_of(head: Head | None) -> Tip:
    """The entry that a head names; before the first one without a head."""
    return Tip(0, GENESIS) if head is None else Tip(head.seq, bytes.fromhex(head.hash))


def _beyond(places: AuditPlaces, chain: ChainId, tip: Tip, firsts: list[int]) -> Tip:
    """Behind every number that damaged segments may contain."""
    if firsts:
        try:
            lines = places.read(chain, firsts[-1]).data.count(b"\n")
        except NotSegmentError:
            lines = 0
        tip = Tip(max(tip.seq, firsts[-1] + lines), tip.digest)
    return tip
