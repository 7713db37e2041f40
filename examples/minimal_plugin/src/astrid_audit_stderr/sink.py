"""An audit sink that prints refusals, one line each."""

from __future__ import annotations

import sys

from astrid_hookspecs.audit import AuditEntry


class StderrSink:
    """Implements `AuditSink`. What was allowed is not printed."""

    def write(self, entry: AuditEntry) -> None:
        """Print an entry that was not allowed; odd characters are escaped, so a line is a line."""
        if entry.outcome == "allowed":
            return
        sys.stderr.write(
            f"{entry.timestamp} {entry.principal} {entry.action} {entry.resource!a} "
            f"{entry.outcome} by {entry.rule!a}\n"
        )

    def close(self) -> None:
        """Flush; the stream is not ours to close."""
        sys.stderr.flush()
