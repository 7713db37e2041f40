"""Reads the audit log of a home, with or without a running kernel; changes nothing.

Trusted with showing what is there: entries are shown whether or not they verify, `verify_log` says
which of them to believe.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from astrid_core.domain.audit_chain import ChainVerdict
from astrid_core.domain.audit_commit import COMMIT_PREFIX, LogKey
from astrid_core.domain.audit_entry import ChainId
from astrid_core.kernel.audit.checkpoint import read_checkpoint
from astrid_core.kernel.audit.inspect import verify_chain
from astrid_core.kernel.audit.places import AuditPlaces

Row = dict[str, Any]
"""A stored entry as JSON: the fields of `StoredEntry`."""

_decode: Final = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Query:
    """Which entries are wanted; what is None or empty is not asked about.

    Attributes:
        principal: Whose; `@kernel` for the kernel's own.
        action: The action, or its family followed by `.*`.
        outcome: `allowed`, `denied` or `failed`.
        capsule: Which capsule acted.
        since: RFC 3339 in UTC; that moment or later.
        until: RFC 3339 in UTC; before that moment.
    """

    principal: str | None = None
    action: str | None = None
    outcome: str | None = None
    capsule: str | None = None
    since: str | None = None
    until: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it wants every entry of the chains it wants."""
        return self == Query(principal=self.principal)

    def wants(self, chain: ChainId) -> bool:
        """Whether entries of a chain can match."""
        return self.principal is None or self.principal == (chain.principal or "@kernel")

    def matches(self, row: Row) -> bool:
        """Whether an entry matches."""
        action = row["action"]
        kind = str(action.get("type", ""))
        family = self.action is not None and self.action.endswith(".*")
        wanted = (
            self.action is None
            or kind == self.action
            or (family and kind.startswith(self.action.removesuffix("*")))
        )
        return (
            wanted
            and self.outcome in (None, row["outcome"])
            and self.capsule in (None, action.get("capsule", action.get("capsule_id")))
            and (self.since is None or row["timestamp"] >= self.since)
            and (self.until is None or row["timestamp"] < self.until)
        )


def entries(places: AuditPlaces, query: Query) -> Iterator[Row]:
    """Matching entries of all chains by time, oldest first.

    Raises:
        AuditError: A segment cannot be read.
    """
    chains = [chain for chain in places.chains() if query.wants(chain)]
    streams = [_chain_entries(places, chain) for chain in chains]
    merged = heapq.merge(*streams, key=lambda row: str(row["timestamp"]))
    return (row for row in merged if query.matches(row))


def latest(places: AuditPlaces, query: Query, *, limit: int) -> list[Row]:
    """The last matching entries, oldest first; reads no further back than needed.

    Raises:
        AuditError: A segment cannot be read.
    """
    found: list[Row] = []
    for chain in places.chains():
        if query.wants(chain):
            found += _latest_of(places, chain, query, limit)
    return sorted(found, key=lambda row: str(row["timestamp"]))[-limit:] if limit else []


def verify_log(
    places: AuditPlaces, *, keys: Sequence[bytes], own: LogKey | None = None
) -> list[ChainVerdict]:
    """Verify every entry of every chain, and that the checkpoint is believable.

    Args:
        places: Where it lies.
        keys: Public keys that may have signed; the first is the one in use.
        own: The home's key, for what is sealed and not signed yet; see `verify_chain`.

    Returns:
        One verdict per chain, and one more when the checkpoint is not what it was.

    Raises:
        AuditError: Something cannot be read.
    """
    checkpoint = read_checkpoint(places, public=keys[0])
    chains = list(dict.fromkeys([*places.chains(), *checkpoint.heads]))
    verdicts = [
        verify_chain(places, chain, keys=keys, head=checkpoint.heads.get(chain), own=own)
        for chain in chains
    ]
    return verdicts if checkpoint.problem is None else [checkpoint.problem, *verdicts]


def _chain_entries(places: AuditPlaces, chain: ChainId) -> Iterator[Row]:
    for first in places.segments(chain):
        try:
            data = places.read(chain, first).data
        except FileNotFoundError:  # pruned meanwhile
            continue
        yield from _rows(data)


def _latest_of(places: AuditPlaces, chain: ChainId, query: Query, limit: int) -> list[Row]:
    found: list[Row] = []
    for first in reversed(places.segments(chain)):
        try:
            data = places.read(chain, first).data
        except FileNotFoundError:
            break
        rows = [row for row in _rows(data) if query.matches(row)]
        found = [*rows[-limit:], *found]
        if len(found) >= limit:
            break
    return found[-limit:]


def _rows(data: bytes) -> Iterator[Row]:
    for line in data.split(b"\n"):
        if line.startswith(b'{"seq":') and not line.startswith(COMMIT_PREFIX):
            try:
                yield _decode(line)
            except ValueError:  # torn or damaged: `verify` reports it
                continue
