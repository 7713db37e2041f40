"""Seals compiled components, so that native code is loaded only when this home compiled it.

Trusted with the decision "these bytes were written by us and nothing changed since". Pure: no I/O.
A sealed file is the artefact followed by a trailer:

    artefact | metadata | magic (8) | artefact length (8) | metadata length (4) | seal (32)

Numbers are little-endian. The seal is keyed BLAKE3 over everything before it. The artefact comes
first and starts at offset 0, because the runtime maps the file and reads it as an object file,
whose tables ignore what follows.
"""

from __future__ import annotations

import hmac
import os
import struct
from typing import Final, NamedTuple

import blake3

from astrid_hookspecs.errors import IntegrityError

SEAL_BYTES: Final = 32
KEY_BYTES: Final = 32

_CONTEXT: Final = "astrid-engine-wasm 2026-01 compiled component seal v1"
_MAGIC: Final = b"astaot\x00\x01"
_FOOTER: Final = struct.Struct("<8sQI")
_TRAILER_BYTES: Final = _FOOTER.size + SEAL_BYTES
_THREADS: Final = min(4, os.cpu_count() or 1)
"""Threads that check a seal. A number starts threads of its own, which the system spreads over idle
processors; `AUTO` wakes kept ones, which may queue on the processor that woke them."""


class SealedParts(NamedTuple):
    """What a verified file consists of.

    Attributes:
        artefact_bytes: Length of the artefact at the start of the file.
        metadata: The metadata, as it was sealed.
    """

    artefact_bytes: int
    metadata: bytes


def derive_seal_key(secret: bytes) -> bytes:
    """The key for seals, 32 bytes, from the 32 secret bytes of a home.

    Raises:
        IntegrityError: The secret has another length.
    """
    if len(secret) != KEY_BYTES:
        raise IntegrityError(
            f"the seal key must have {KEY_BYTES} bytes, not {len(secret)}",
            code="integrity.seal-key",
            hint="remove the damaged key; compiled components are compiled again",
        )
    return blake3.blake3(secret, derive_key_context=_CONTEXT).digest()


def make_trailer(artefact: bytes | memoryview, *, metadata: bytes, key: bytes) -> bytes:
    """The trailer to append to an artefact.

    Args:
        artefact: The whole artefact.
        metadata: Anything that describes it; comes back from `verify`.
        key: As `derive_seal_key` returns it.
    """
    footer = _FOOTER.pack(_MAGIC, len(artefact), len(metadata))
    hasher = blake3.blake3(artefact, key=key)
    hasher.update(metadata + footer)
    return metadata + footer + hasher.digest()


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
    body, seal = view[:-SEAL_BYTES], view[-SEAL_BYTES:]
    digest = blake3.blake3(body, key=key, max_threads=_THREADS).digest()
    if not hmac.compare_digest(digest, bytes(seal)):
        raise _broken("its seal does not match")
    magic, artefact_bytes, metadata_bytes = _FOOTER.unpack(body[-_FOOTER.size :])
    if magic != _MAGIC or artefact_bytes + metadata_bytes + _TRAILER_BYTES != len(view):
        raise _broken("it has another format")
    metadata = bytes(body[artefact_bytes : artefact_bytes + metadata_bytes])
    return SealedParts(artefact_bytes, metadata)


def _broken(what: str) -> IntegrityError:
    return IntegrityError(
        f"a compiled component was refused: {what}",
        code="integrity.artefact",
        hint="it is compiled again; if this repeats, look for what writes to the cache directory",
    )
