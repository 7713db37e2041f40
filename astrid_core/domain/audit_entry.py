"""One audit entry: its stored form, the bytes that are hashed, and the chain it belongs to.

Trusted with completeness: everything that a stored line says is in the hash, so that no part of it
can change unnoticed. The reference's signing bytes are the first part of what is hashed; the
second covers what they leave out. Spec: kernel-and-security 8.1, 8.2, D-52, D-53.
"""

from __future__ import annotations

import calendar
import functools
import re
import struct
import time
import uuid
from typing import Final, Literal, NamedTuple

import msgspec
from blake3 import blake3

from astrid_core.domain.audit_fields import action_json, text
from astrid_hookspecs.audit import NIL_SESSION, AuditEntry
from astrid_hookspecs.errors import AuditError

GENESIS: Final = bytes(32)
"""What the first entry of a chain has for the hash of its predecessor."""

_OUTCOMES: Final = {"denied": 0, "allowed": 1, "failed": 2}
_SEVERITIES: Final = {"low": 0, "normal": 1, "high": 2}
_VERSION: Final = 2
_REST: Final = struct.Struct("<BQBBI")
_TIMESTAMP: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,9})?Z")
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_HASH: Final = re.compile("[0-9a-f]{64}")


class ChainId(NamedTuple):
    """Whose chain: entries of one session and principal are linked.

    Attributes:
        principal: None for the kernel itself.
        session: UUID text.
    """

    principal: str | None
    session: str = NIL_SESSION

    def to_bytes(self) -> bytes:
        """The session, and the principal as the signing bytes have it."""
        return uuid.UUID(self.session).bytes + _principal_bytes(self.principal)

    def __str__(self) -> str:
        who = "the kernel" if self.principal is None else self.principal
        return who if self.session == NIL_SESSION else f"{who}, session {self.session}"


class Link(NamedTuple):
    """Where an entry goes: after which one.

    Attributes:
        seq: Its number; the first entry of a chain has 1.
        previous: Hash of its predecessor, 32 bytes.
    """

    seq: int
    previous: bytes


class StoredEntry(msgspec.Struct, forbid_unknown_fields=True):
    """A line of the log. `hash` covers all the others and the key that signs them."""

    seq: int
    id: str
    timestamp: str
    session_id: str
    principal: str | None
    action: msgspec.Raw
    authorization: msgspec.Raw
    outcome: Literal["allowed", "denied", "failed"]
    severity: Literal["low", "normal", "high"]
    previous_hash: str
    hash: str

    @property
    def chain(self) -> ChainId:
        """The chain it says it belongs to."""
        return ChainId(self.principal, self.session_id)


class EntryError(ValueError):
    """A line is no entry of this log. `rule` says what is wrong with it."""

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(StoredEntry).decode


def signing_bytes(
    *,
    entry_id: bytes,
    unix_s: int,
    chain: bytes,
    action: bytes,
    authorization: bytes,
    success: bool,
    previous: bytes,
    key: bytes,
) -> bytes:
    """The bytes that the reference hashes and signs.

    Args:
        entry_id: 16 bytes.
        unix_s: Whole seconds since 1970.
        chain: `ChainId.to_bytes`.
        action: Compact JSON.
        authorization: Compact JSON.
        success: Whether it was allowed and did not fail.
        previous: Hash of the predecessor, 32 bytes.
        key: Public Ed25519 key of the log, 32 bytes.

    Spec: kernel-and-security 8.2.
    """
    when = struct.pack("<q", unix_s)
    flag = b"\x01" if success else b"\x00"
    session, principal = chain[:16], chain[16:]
    return b"".join(
        (entry_id, when, session, principal, action, authorization, flag, previous, key)
    )


def seal_entry(entry: AuditEntry, *, link: Link, entry_id: bytes, key: bytes) -> StoredEntry:
    """Make the stored form of an entry.

    Args:
        entry: What to record.
        link: Its place in its chain.
        entry_id: 16 random bytes; version and variant of the UUID are set here.
        key: Public key of the log, 32 bytes.

    Raises:
        AuditError: `audit.field`: the entry has a fact that may not be recorded, or is malformed.
    """
    if entry.outcome not in _OUTCOMES or entry.severity not in _SEVERITIES:
        raise AuditError(
            f"an audit entry has no outcome {entry.outcome!r} of severity {entry.severity!r}",
            code="audit.field",
        )
    if _TIMESTAMP.fullmatch(entry.timestamp) is None:
        raise AuditError(
            f"{entry.timestamp!r} is no RFC 3339 time in UTC that ends in Z", code="audit.field"
        )
    action = action_json(
        entry.action, capsule=entry.capsule, resource=entry.resource, facts=entry.detail
    )
    line = StoredEntry(
        seq=link.seq,
        id=_uuid_text(entry_id),
        timestamp=entry.timestamp,
        session_id=entry.session,
        principal=entry.principal,
        action=msgspec.Raw(action),
        authorization=msgspec.Raw(authorization_json(entry.outcome, entry.rule)),
        outcome=entry.outcome,  # type: ignore[arg-type]  # checked above
        severity=entry.severity,
        previous_hash=link.previous.hex(),
        hash="",
    )
    line.hash = content_hash(line, key=key).hex()
    return line


@functools.lru_cache(maxsize=256)
def authorization_json(outcome: str, rule: str) -> bytes:
    """The authorization part of an entry: which rule decided, and whether it refused.

    Spec: kernel-and-security 8.1.
    """
    kind = "denied" if outcome == "denied" else "system" if rule else "not_required"
    return _encode({"type": kind, "reason": text(rule) or "no rule was asked"})


def content_hash(entry: StoredEntry, *, key: bytes) -> bytes:
    """BLAKE3 over everything an entry says but its own hash; 32 bytes.

    Args:
        entry: Its fields have the form that `parse_entry` or `seal_entry` checked.
        key: Public key of the log.
    """
    stamp = entry.timestamp.encode()
    signed = signing_bytes(
        entry_id=bytes.fromhex(entry.id.replace("-", "")),
        unix_s=_unix_seconds(entry.timestamp[:19]),
        chain=_chain_bytes(entry.principal, entry.session_id),
        action=bytes(entry.action),
        authorization=bytes(entry.authorization),
        success=entry.outcome == "allowed",
        previous=bytes.fromhex(entry.previous_hash),
        key=key,
    )
    rest = _REST.pack(
        _VERSION,
        entry.seq,
        _OUTCOMES[entry.outcome],
        _SEVERITIES[entry.severity],
        len(stamp),
    )
    return blake3(signed + rest + stamp).digest()


def entry_line(entry: StoredEntry) -> bytes:
    """The stored line, with its line break."""
    return _encode(entry) + b"\n"


def parse_entry(line: bytes, *, key: bytes) -> StoredEntry:
    """Read a stored line and check that it says what was hashed.

    Args:
        line: Without its line break.
        key: Public key of the log.

    Raises:
        EntryError: `entry-malformed`, or `entry-hash`: it was changed after it was written.
    """
    try:
        entry = _decode(line)
        malformed = (
            not 0 < entry.seq < 2**63
            or _TIMESTAMP.fullmatch(entry.timestamp) is None
            or _UUID.fullmatch(entry.id) is None
            or _UUID.fullmatch(entry.session_id) is None
            or _HASH.fullmatch(entry.previous_hash) is None
            or _encode(entry) != line
        )
        digest = b"" if malformed else content_hash(entry, key=key)
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, no moment of a calendar
        raise EntryError("entry-malformed") from error
    if malformed:
        raise EntryError("entry-malformed")
    if digest.hex() != entry.hash:
        raise EntryError("entry-hash")
    return entry


def _uuid_text(random: bytes) -> str:
    # As `uuid.UUID(bytes=random, version=4)` prints it, at a quarter of the cost.
    digits = random.hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


@functools.lru_cache(maxsize=4)
def _unix_seconds(stamp: str) -> int:
    # A pure function of its argument, called many times within each second.
    return calendar.timegm(time.strptime(stamp, "%Y-%m-%dT%H:%M:%S"))


@functools.lru_cache(maxsize=256)
def _chain_bytes(principal: str | None, session: str) -> bytes:
    return ChainId(principal, session).to_bytes()


def _principal_bytes(principal: str | None) -> bytes:
    if principal is None:
        return b"\x00"
    name = principal.encode()
    return b"\xff" + struct.pack("<I", len(name)) + name
