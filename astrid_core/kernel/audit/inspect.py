"""Verification of chains as they lie on disk: all of a chain, or its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from astrid_core.domain.audit_chain import ChainCheck, ChainVerdict
from astrid_core.domain.audit_commit import Head, LogKey
from astrid_core.domain.audit_entry import ChainId
from astrid_core.domain.audit_segment import Sealed, Segment
from astrid_core.kernel.audit.places import AuditPlaces, NotSegmentError
from astrid_core.kernel.audit.tail_seal import read_seal
from astrid_hookspecs.errors import AuditError

_ATTEMPTS: Final = 5


def verify_chain(
    places: AuditPlaces,
    chain: ChainId,
    *,
    keys: Sequence[bytes],
    head: Head | None,
    own: LogKey | None = None,
) -> ChainVerdict:
    """Verify every entry and every signature of a chain, while it may be written to.

    Args:
        places: Where it lies.
        chain: Which one.
        keys: Public keys that may have signed.
        head: From a checkpoint that was read before; None when that does not know the chain.
        own: The home's key, by whose seal entries count that are not signed yet; without it only
            signatures are believed.

    Raises:
        AuditError: It cannot be read, or retention removes segments faster than they are read.
    """
    for _ in range(_ATTEMPTS):
        sealed = None if own is None else read_seal(places, chain, key=own)  # before what it seals
        firsts = places.segments(chain)
        check = ChainCheck(chain, keys=keys, head=head, sealed=sealed)
        try:
            for first in firsts:
                _add(check, _read(places, chain, first), first, is_last=first == firsts[-1])
        except FileNotFoundError:
            continue  # pruned since it was listed
        return check.verdict()
    raise AuditError(f"segments of the audit log of {chain} keep disappearing")


def verify_end(
    places: AuditPlaces, chain: ChainId, *, key: LogKey, head: Head | None
) -> ChainVerdict:
    """Verify the last segment of a chain that holds what counts, and what follows it.

    Nobody else writes: the caller holds the lock of the home, and `key` is the home's.

    Raises:
        AuditError: It cannot be read.
    """
    sealed = read_seal(places, chain, key=key)
    firsts = places.segments(chain)
    loaded: list[tuple[int, Segment | None]] = []
    for first in reversed(firsts):
        loaded.insert(0, (first, _read(places, chain, first)))
        so_far = None if sealed is None else sealed._replace(is_certain=False)
        verdict = _verdict(chain, loaded, key, so_far, head=None, from_start=first == firsts[0])
        if verdict.head is not None or verdict.findings:
            break
    is_all = len(loaded) == len(firsts)
    return _verdict(chain, loaded, key, sealed, head=head, from_start=is_all)


def _verdict(
    chain: ChainId,
    segments: Sequence[tuple[int, Segment | None]],
    key: LogKey,
    sealed: Sealed | None,
    *,
    head: Head | None,
    from_start: bool,
) -> ChainVerdict:
    check = ChainCheck(
        chain,
        keys=[key.public],
        head=head,
        from_start=from_start,
        every_signature=False,
        sealed=sealed,
    )
    for first, segment in segments:
        _add(check, segment, first, is_last=first == segments[-1][0])
    return check.verdict()


def _read(places: AuditPlaces, chain: ChainId, first: int) -> Segment | None:
    """A segment; None for what has its name and cannot be one."""
    try:
        return places.read(chain, first)
    except NotSegmentError:
        return None


def _add(check: ChainCheck, segment: Segment | None, first: int, *, is_last: bool) -> None:
    if segment is None:
        check.add_unreadable(first)
    else:
        check.add(segment, is_last=is_last)
