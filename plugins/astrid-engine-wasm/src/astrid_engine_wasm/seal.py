"""Seals compiled components, so that native code is loaded only when this home compiled it.

Trusted with the decision "these bytes were written by us and nothing changed since". Pure: no I/O.
A sealed file is the artefact followed by a trailer:

    artefact | metadata | footer | seal (32)

Numbers are little-endian. The footer is magic (8), artefact length (8), metadata length (4) and a
random nonce (16); the seal authenticates everything before it. The artefact comes first and starts
at offset 0, because the runtime maps the file and reads it as an object file, whose tables ignore
what follows.
"""

from __future__ import annotations

import hmac
import os
import struct
from typing import Final, NamedTuple

import blake3

from astrid_engine_wasm import mac
from astrid_hookspecs.errors import IntegrityError

SEAL_BYTES: Final = mac.CODE_BYTES
SECRET_BYTES: Final = 32

_CONTEXT: Final = "astrid-engine-wasm 2026-11 compiled component seal v2"
_MAGIC: Final = b"astaot\x00\x02"
_FOOTER: Final = struct.Struct(f"<8sQI{mac.NONCE_BYTES}s")
_TRAILER_BYTES: Final = _FOOTER.size + SEAL_BYTES


class SealedParts(NamedTuple):
    """What a verified file consists of.

    Attributes:
        artefact_bytes: Length of the artefact at the start of the file.
        metadata: The metadata, as it was sealed.
    """

    artefact_bytes: int
    metadata: bytes


def derive_seal_key(secret: bytes) -> bytes:
    """The key for seals, 16 bytes, from the 32 secret bytes of a home.

    Raises:
        IntegrityError: The secret has another length.
    """
    if len(secret) != SECRET_BYTES:
        raise IntegrityError(
            f"the seal key must have {SECRET_BYTES} bytes, not {len(secret)}",
            code="integrity.seal-key",
            hint="remove the damaged key; compiled components are compiled again",
        )
    return blake3.blake3(secret, derive_key_context=_CONTEXT).digest(length=mac.KEY_BYTES)


def describe(artefact_bytes: int, metadata: bytes) -> bytes:
    """What follows an artefact in its file, up to the seal.

    Args:
        artefact_bytes: Its length.
        metadata: Anything that describes it; comes back from `verify`.
    """
    nonce = os.urandom(mac.NONCE_BYTES)
    return metadata + _FOOTER.pack(_MAGIC, artefact_bytes, len(metadata), nonce)


def seal(described: bytes | memoryview, *, key: bytes) -> bytes:
    """The seal of an artefact with its description, to append to them.

    Args:
        described: The artefact, followed by what `describe` returned.
        key: As `derive_seal_key` returns it.
    """
    nonce = bytes(described[-mac.NONCE_BYTES :])
    return mac.authenticate(described, nonce=nonce, key=key)


def verify(sealed: bytes | memoryview, *, key: bytes) -> SealedParts:
    """Check a sealed file.

    Args:
        sealed: The whole file.
        key: As `derive_seal_key` returns it.

    Raises:
        IntegrityError: Any part of it is not what was sealed with this key.
    """
    view = memoryview(sealed)
    if len(view) < _TRAILER_BYTES:
        raise _broken("it is cut off")
    described = view[:-SEAL_BYTES]
    if not hmac.compare_digest(seal(described, key=key), view[-SEAL_BYTES:]):
        raise _broken("its seal does not match")
    magic, artefact_bytes, metadata_bytes, _ = _FOOTER.unpack(described[-_FOOTER.size :])
    if magic != _MAGIC or artefact_bytes + metadata_bytes + _TRAILER_BYTES != len(view):
        raise _broken("it has another format")
    metadata = bytes(described[artefact_bytes : artefact_bytes + metadata_bytes])
    return SealedParts(artefact_bytes, metadata)


def _broken(what: str) -> IntegrityError:
    return IntegrityError(
        f"a compiled component was refused: {what}",
        code="integrity.artefact",
        hint="it is compiled again; if this repeats, look for what writes to the cache directory",
    )
