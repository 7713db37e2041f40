"""Copies of the audit log as one file of JSON lines, and the proof that such a file is whole.

A copy of whole chains holds the stored lines, commits included, and ends with a signed list of
where each chain ends. What a filter leaves over is a list of entries without a proof.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from astrid_core.domain.audit_chain import ChainCheck, ChainVerdict, Finding
from astrid_core.domain.audit_commit import (
    COMMIT_PREFIX,
    Head,
    LogKey,
    SignedHeads,
    parse_heads,
    sign_heads,
)
from astrid_core.domain.audit_entry import ChainId, EntryError
from astrid_core.domain.audit_segment import Condition, Segment, first_seq
from astrid_core.kernel.audit.checkpoint import read_checkpoint, whole_log_problem
from astrid_core.kernel.audit.inspect import verify_chain
from astrid_core.kernel.audit.places import AuditPlaces
from astrid_core.kernel.audit.reader import Query
from astrid_hookspecs.errors import AuditError


class _Line(msgspec.Struct):
    principal: str | None
    session_id: str


_line: Final = msgspec.json.Decoder(_Line).decode


def export_chains(places: AuditPlaces, query: Query, *, key: LogKey, taken: str) -> Iterator[bytes]:
    """The stored lines of whole chains, and a signed list of the heads of those that are sound.

    Args:
        places: Where the log lies.
        query: Only its principal is looked at.
        key: Signs the list.
        taken: RFC 3339, UTC.

    Raises:
        AuditError: Something cannot be read.
    """
    known = read_checkpoint(places, public=key.public).heads
    heads = []
    for chain in places.chains():
        if query.wants(chain):
            verdict = verify_chain(places, chain, keys=[key.public], head=known.get(chain))
            for first in places.segments(chain):
                if verdict.head is None or first <= verdict.head.seq:  # what came since is left out
                    data = places.read(chain, first).data
                    yield data[: _committed(data, verdict.head)]
            if verdict.condition.is_sound and verdict.head is not None:
                heads.append(verdict.head)
    yield sign_heads(key, heads, purpose="export", taken=taken) + b"\n"


def verify_export(path: Path, *, keys: Sequence[bytes]) -> list[ChainVerdict]:
    """Verify a file that `export_chains` made; needs no home.

    Args:
        path: The file.
        keys: Public keys that may have signed, 32 bytes each.

    Returns:
        One verdict per chain, and one more when the list at the end is not what it was.

    Raises:
        AuditError: The file cannot be read.
    """
    try:
        if path.exists() and not path.is_file():  # a device has no end, a pipe makes one wait
            raise AuditError(f"{path} is not a regular file", code="audit.export")
        *lines, last = path.read_bytes().removesuffix(b"\n").split(b"\n")
    except OSError as error:
        raise AuditError(f"{path} cannot be read: {error.strerror}") from error
    signed = _signed(last, keys)
    if not isinstance(signed, SignedHeads):
        return [signed]
    heads = {head.chain: head for head in signed.heads}
    parts = _by_chain(lines)
    return [
        _verdict(chain, parts.get(chain, b""), heads.get(chain), keys)
        for chain in dict.fromkeys([*parts, *heads])
    ]


def _committed(data: bytes, head: Head | None) -> int:
    """How much of a segment is behind a commit that was verified; all where nothing is known."""
    if head is None:
        return len(data)
    mark = data.rfind(b"\n" + COMMIT_PREFIX + b'{"seq":%d,' % head.seq)
    return len(data) if mark < 0 else data.index(b"\n", mark + 1) + 1


def _signed(line: bytes, keys: Sequence[bytes]) -> SignedHeads | ChainVerdict:
    try:
        found = parse_heads(line, purpose="export")
    except EntryError as error:
        return whole_log_problem(Condition.TAMPERED, error.rule)
    if base64.b64decode(found.key) not in keys:
        return whole_log_problem(Condition.RESIGNED, "export-key")
    return found


def _by_chain(lines: list[bytes]) -> dict[ChainId, bytes]:
    """The lines of each chain; a commit belongs to the chain of the line before it."""
    parts: dict[ChainId, list[bytes]] = {}
    chain = ChainId(None)
    for line in lines:
        if not line.startswith(COMMIT_PREFIX):
            with contextlib.suppress(ValueError, RecursionError):  # its chain will not verify
                chain = ChainId(*msgspec.structs.astuple(_line(line)))
        parts.setdefault(chain, []).append(line + b"\n")
    return {key: b"".join(part) for key, part in parts.items()}


def _verdict(chain: ChainId, data: bytes, head: Head | None, keys: Sequence[bytes]) -> ChainVerdict:
    try:
        check = ChainCheck(chain, keys=keys, head=head)
    except ValueError:  # a session that is none
        return whole_log_problem(Condition.TAMPERED, "entry-malformed")
    if data:
        segment = Segment(first_seq(Segment(1, data)), data)
        check.add(segment, is_last=False)
    verdict = check.verdict()
    if head is None and verdict.condition.is_sound:
        finding = Finding(Condition.TAMPERED, "export-head", 0, 0)
        return dataclasses.replace(verdict, condition=finding.condition, findings=(finding,))
    return verdict
