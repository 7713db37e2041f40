"""What the log's key signs and seals: the head of a chain, and lists of heads.

Trusted with the claim that a line was written by this home. Each signed or sealed format begins
with a label of its own, so that none can stand for anything else. A seal proves to the home itself
what a signature proves to everybody, at a thirtieth of the cost. Spec: kernel-and-security 8.5,
D-56.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import struct
from collections.abc import Sequence
from typing import Final, Literal

import msgspec
from blake3 import blake3
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from astrid_core.domain.audit_entry import ChainId, EntryError

COMMIT_PREFIX: Final = b'{"commit":'
_COMMIT_LABEL: Final = b"astrid audit commit v2\0"
_SEAL_LABEL: Final = b"astrid audit seal v2\0"
_SEAL_CONTEXT: Final = "astrid 2026-11-26 audit seal key"
_SEAL: Final = struct.Struct("<Q32s16s32s")
NO_BOOT: Final = bytes(16)
"""In a seal, where nobody knows which boot of the machine this is."""
_SIZES: Final = (32, 64)
"""Bytes of a public key and of a signature. Spec: RFC 8032 5.1.5, 5.1.6."""
_encode: Final = msgspec.json.Encoder().encode

Purpose = Literal["checkpoint", "export"]


class LogKey:
    """The Ed25519 key that signs a log; its text forms never show the secret half.

    Args:
        seed: 32 bytes.
    """

    __slots__ = ("_key", "_seal_key", "public")

    def __init__(self, seed: bytes) -> None:
        self._key = SigningKey(seed)
        self._seal_key = blake3(seed, derive_key_context=_SEAL_CONTEXT).digest()
        self.public = bytes(self._key.verify_key)

    def sign(self, message: bytes) -> bytes:
        """The signature of a message, 64 bytes."""
        return self._key.sign(message).signature

    def seal(self, chain: bytes, *, seq: int, digest: bytes, boot: bytes = NO_BOOT) -> bytes:
        """Say that a chain goes as far as this entry, in a form that only this key can check.

        Args:
            chain: `ChainId.to_bytes`.
            seq: Number of the entry.
            digest: Its hash, 32 bytes; through the links it stands for every entry before it.
            boot: Which boot of the machine this is, 16 bytes.

        Returns:
            88 bytes: the number, the hash, the boot, and a keyed BLAKE3 of these and the chain.
        """
        return _SEAL.pack(seq, digest, boot, self._mac(chain, seq, digest, boot))

    def opened(self, seal: bytes, *, chain: bytes) -> tuple[int, bytes, bytes] | None:
        """Number, hash and boot of the entry that a seal names; None without this key's seal."""
        if len(seal) != _SEAL.size:
            return None
        seq, digest, boot, mac = _SEAL.unpack(seal)
        if not hmac.compare_digest(mac, self._mac(chain, seq, digest, boot)):
            return None
        return seq, digest, boot

    def _mac(self, chain: bytes, seq: int, digest: bytes, boot: bytes) -> bytes:
        message = b"".join((_SEAL_LABEL, struct.pack("<Q", seq), digest, boot, chain))
        return blake3(message, key=self._seal_key).digest()


class Commit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The signed head of a chain: it proves the entries before it to everybody.

    Attributes:
        seq: Number of the last entry.
        count: How many entries it covers that the commit before it does not.
        hash: Of the last entry.
        key: Public key, base64.
        signature: Over all of it and the identity of the chain, base64.
    """

    seq: int
    count: int
    hash: str
    key: str
    signature: str

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return base64.b64decode(self.key)


class _CommitLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    commit: Commit


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a chain goes.

    Attributes:
        principal: As in `ChainId`.
        session: The same.
        seq: Number of the last entry.
        hash: Of the last entry.
    """

    principal: str | None
    session: str
    seq: int
    hash: str

    @property
    def chain(self) -> ChainId:
        """Whose head it is."""
        return ChainId(self.principal, self.session)


class SignedHeads(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far every chain of a home went at some moment.

    Attributes:
        purpose: What it was made for; part of what is signed.
        taken: RFC 3339, UTC.
        heads: By principal and session.
        key: Public key, base64.
        signature: Over all of it, base64.
    """

    purpose: Purpose
    taken: str
    heads: list[Head]
    key: str
    signature: str = ""


_decode_commit: Final = msgspec.json.Decoder(_CommitLine).decode
_decode_heads: Final = msgspec.json.Decoder(SignedHeads).decode


def commit_line(key: LogKey, chain: bytes, *, seq: int, count: int, digest: bytes) -> bytes:
    """Sign the head of a chain.

    Args:
        key: Of the log.
        chain: `ChainId.to_bytes`.
        seq: Number of the last entry.
        count: How many entries the signature covers anew.
        digest: Hash of the last entry, 32 bytes.

    Returns:
        The stored line, with its line break.
    """
    signature = key.sign(_commit_message(chain, seq, count, digest, key.public))
    commit = Commit(seq, count, digest.hex(), _text(key.public), _text(signature))
    return _encode(_CommitLine(commit)) + b"\n"


def parse_commit(line: bytes) -> Commit:
    """Read a commit line; nothing of it is believed yet.

    Args:
        line: Without its line break.

    Raises:
        EntryError: `commit-malformed`.
    """
    try:
        found = _decode_commit(line)
        commit = found.commit
        sizes = len(_bytes(commit.key)), len(_bytes(commit.signature))
    except (ValueError, RecursionError) as error:
        raise EntryError("commit-malformed") from error
    in_range = 0 < commit.count <= commit.seq < 2**63
    if sizes != _SIZES or not in_range or _encode(found) != line:
        raise EntryError("commit-malformed")
    return commit


def is_signed(commit: Commit, *, chain: bytes, digest: bytes) -> bool:
    """Whether the key in a commit signed it, for this chain and this head.

    Args:
        commit: From `parse_commit`.
        chain: `ChainId.to_bytes`.
        digest: Hash of the last entry as it was found, 32 bytes.
    """
    message = _commit_message(chain, commit.seq, commit.count, digest, commit.public)
    return _verifies(commit.public, message, _bytes(commit.signature))


def sign_heads(key: LogKey, heads: Sequence[Head], *, purpose: Purpose, taken: str) -> bytes:
    """A signed list of heads as one line of JSON, without a line break."""
    ordered = sorted(heads, key=lambda head: (head.principal or "", head.session))
    unsigned = SignedHeads(purpose, taken, ordered, _text(key.public))
    signature = key.sign(_heads_message(unsigned))
    return _encode(msgspec.structs.replace(unsigned, signature=_text(signature)))


def parse_heads(data: bytes, *, purpose: Purpose) -> SignedHeads:
    """Read a signed list of heads and check that its key signed it.

    Raises:
        EntryError: `heads-malformed` or `heads-signature`.
    """
    try:
        found = _decode_heads(data)
        public, signature = _bytes(found.key), _bytes(found.signature)
    except (ValueError, RecursionError) as error:
        raise EntryError("heads-malformed") from error
    if found.purpose != purpose or _encode(found) != data:
        raise EntryError("heads-malformed")
    message = _heads_message(msgspec.structs.replace(found, signature=""))
    if not _verifies(public, message, signature):
        raise EntryError("heads-signature")
    return found


def _commit_message(chain: bytes, seq: int, count: int, digest: bytes, public: bytes) -> bytes:
    return b"".join((_COMMIT_LABEL, chain, struct.pack("<QI", seq, count), digest, public))


def _heads_message(unsigned: SignedHeads) -> bytes:
    return b"astrid audit heads v1\0" + _encode(unsigned)


def _verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        VerifyKey(public).verify(message, signature)
    except (BadSignatureError, ValueError):  # ValueError: a key or signature of another length
        return False
    return True


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    if _text(data) != text:  # the last character may carry bits that nothing reads
        raise ValueError("not canonical base64")
    return data
