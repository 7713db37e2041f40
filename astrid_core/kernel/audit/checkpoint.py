"""The signed list of where each chain ends: without it, a missing tail would go unseen."""

from __future__ import annotations

import base64
from typing import Final, NamedTuple

from astrid_core.domain.audit_chain import ChainVerdict, Finding
from astrid_core.domain.audit_commit import Head, LogKey, parse_heads, sign_heads
from astrid_core.domain.audit_entry import ChainId, EntryError
from astrid_core.domain.audit_segment import Condition
from astrid_core.kernel.audit.places import AuditPlaces
from astrid_core.kernel.durable import write_atomic
from astrid_hookspecs.errors import AuditError

_WHOLE_LOG: Final = ChainId(None)


class Checkpoint(NamedTuple):
    """What the checkpoint says.

    Attributes:
        heads: How far each chain went when it was signed.
        problem: Why it is not believed, None when it is.
    """

    heads: dict[ChainId, Head]
    problem: ChainVerdict | None


def read_checkpoint(places: AuditPlaces, *, public: bytes) -> Checkpoint:
    """Read it. A log without any chain needs none; one with chains always has one.

    Args:
        places: Where the log lies.
        public: The key in use, 32 bytes.

    Raises:
        AuditError: It cannot be read.
    """
    try:
        data = places.checkpoint.read_bytes()
    except FileNotFoundError:
        if next(places.chains(), None) is None:
            return Checkpoint({}, None)
        return Checkpoint({}, whole_log_problem(Condition.TRUNCATED, "checkpoint-missing"))
    except OSError as error:
        raise AuditError(f"the audit checkpoint cannot be read: {error.strerror}") from error
    try:
        found = parse_heads(data.removesuffix(b"\n"), purpose="checkpoint")
    except EntryError as error:
        return Checkpoint({}, whole_log_problem(Condition.TAMPERED, error.rule))
    if base64.b64decode(found.key) != public:
        return Checkpoint({}, whole_log_problem(Condition.RESIGNED, "checkpoint-key"))
    return Checkpoint({head.chain: head for head in found.heads}, None)


def write_checkpoint(
    places: AuditPlaces, heads: dict[ChainId, Head], *, key: LogKey, taken: str
) -> None:
    """Sign it and replace the old one, durably.

    Raises:
        OSError: It was not replaced.
    """
    data = sign_heads(key, [*heads.values()], purpose="checkpoint", taken=taken)
    write_atomic(places.checkpoint, data + b"\n")


def whole_log_problem(condition: Condition, rule: str) -> ChainVerdict:
    """The verdict about a list of heads that is not what it was."""
    return ChainVerdict(
        chain=_WHOLE_LOG,
        condition=condition,
        findings=(Finding(condition, rule, 0, 0),),
        entries=0,
        pruned=0,
        head=None,
        good_bytes=0,
        torn_bytes=0,
    )
