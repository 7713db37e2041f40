"""Where the audit log lies: `var/audit/<principal>/<session>/<first entry>.jsonl`.

Trusted with names and modes; knows nothing of what the files hold.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from astrid_core.domain.audit_entry import ChainId
from astrid_core.domain.audit_segment import Segment
from astrid_hookspecs.errors import AuditError
from astrid_hookspecs.values import is_principal

KERNEL_NAME: Final = "@kernel"
"""Directory of the entries without a principal; no principal can be called so."""
MAX_SEGMENT_BYTES: Final = 64 * 1024 * 1024
"""A larger file was not written by this log."""

_SESSION: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SEGMENT: Final = re.compile(r"(\d{20})\.jsonl")
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class NotSegmentError(AuditError):
    """Something with the name of a segment that this log cannot have written."""

    default_code = "audit.not-a-segment"


@dataclass(frozen=True, slots=True)
class AuditPlaces:
    """Paths below the directory of the log; safe from any thread."""

    root: Path

    @property
    def checkpoint(self) -> Path:
        """The signed list of heads."""
        return self.root / "checkpoint.json"

    def directory(self, chain: ChainId) -> Path:
        """Where the segments of a chain are.

        Raises:
            AuditError: `audit.field`: principal or session cannot be the name of a directory.
        """
        principal, session = chain
        if principal is not None and not is_principal(principal):
            raise AuditError(f"{principal[:80]!r} is no principal id", code="audit.field")
        if _SESSION.fullmatch(session) is None:
            raise AuditError(f"{session[:80]!r} is no session id", code="audit.field")
        return self.root / (principal or KERNEL_NAME) / session

    def segment(self, chain: ChainId, first: int) -> Path:
        """The file whose first entry has this number."""
        return self.directory(chain) / f"{first:020d}.jsonl"

    def seal(self, chain: ChainId) -> Path:
        """The seal of the last entry of a chain."""
        return self.directory(chain) / "tail.seal"

    def chains(self) -> Iterator[ChainId]:
        """Every chain that has a directory, sorted."""
        for principal in _directories(self.root):
            if principal == KERNEL_NAME or is_principal(principal):
                for session in _directories(self.root / principal):
                    if _SESSION.fullmatch(session):
                        yield ChainId(None if principal == KERNEL_NAME else principal, session)

    def segments(self, chain: ChainId) -> list[int]:
        """Numbers of the first entries of the segments there are, ascending."""
        try:
            names = [path.name for path in self.directory(chain).iterdir()]
        except FileNotFoundError:
            return []
        found = (_SEGMENT.fullmatch(name) for name in names)
        return sorted(int(match[1]) for match in found if match is not None)

    def read(self, chain: ChainId, first: int) -> Segment:
        """The content of a segment as it is now.

        Raises:
            FileNotFoundError: It was pruned meanwhile.
            NotSegmentError: It is a link, no regular file, or larger than a segment can be.
            AuditError: It cannot be read.
        """
        path = self.segment(chain, first)
        try:
            descriptor = os.open(path, _READ)
            with os.fdopen(descriptor, "rb") as file:
                status = os.fstat(descriptor)
                data = file.read(MAX_SEGMENT_BYTES + 1) if stat.S_ISREG(status.st_mode) else None
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.EISDIR, errno.ENXIO}:
                raise NotSegmentError(f"{path} is no file of the audit log") from error
            raise AuditError(f"the audit log {path} cannot be read: {error.strerror}") from error
        if data is None or len(data) > MAX_SEGMENT_BYTES:
            raise NotSegmentError(f"{path} is no file that the audit log can have written")
        return Segment(first, data)

    def size_bytes(self, chain: ChainId, first: int) -> int:
        """Size of a segment, 0 for one that is gone."""
        with contextlib.suppress(FileNotFoundError):
            return self.segment(chain, first).stat().st_size
        return 0


def _directories(path: Path) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []
