"""Entries that are written together, behind one seal."""

from __future__ import annotations

import os
from collections.abc import Sequence

from astrid_core.domain.audit_entry import Link, entry_line, seal_entry
from astrid_core.domain.audit_segment import Tip
from astrid_hookspecs.audit import AuditEntry
from astrid_hookspecs.errors import AuditError

_ID_BYTES = 16


class Ticket:
    """An entry on its way, and what became of it.

    Attributes:
        entry: What to record.
        seq: Its number once it is written and sealed, 0 before.
        problem: Why it was not; an error of its own, because its caller raises it.
    """

    __slots__ = ("entry", "problem", "seq")

    def __init__(self, entry: AuditEntry) -> None:
        self.entry = entry
        self.seq = 0
        self.problem: AuditError | None = None

    @property
    def is_done(self) -> bool:
        """Whether its caller can be told."""
        return bool(self.seq) or self.problem is not None


def seal_batch(
    tickets: Sequence[Ticket], tip: Tip, *, public: bytes
) -> tuple[list[Ticket], list[bytes], Tip]:
    """Chain entries to an end.

    What may not be recorded is left out, and its ticket says why.

    Args:
        tickets: In order.
        tip: Where the chain ends.
        public: The public key that will sign them.

    Returns:
        The tickets that were sealed, the lines to write, and where the chain ends with them.
    """
    sealed: list[Ticket] = []
    lines: list[bytes] = []
    random = os.urandom(_ID_BYTES * len(tickets))
    for index, ticket in enumerate(tickets):
        link = Link(tip.seq + 1, tip.digest)
        entry_id = random[_ID_BYTES * index : _ID_BYTES * (index + 1)]
        try:
            stored = seal_entry(ticket.entry, link=link, entry_id=entry_id, key=public)
        except AuditError as error:
            ticket.problem = error
            continue
        sealed.append(ticket)
        lines.append(entry_line(stored))
        tip = Tip(stored.seq, bytes.fromhex(stored.hash))
    return sealed, lines, tip
