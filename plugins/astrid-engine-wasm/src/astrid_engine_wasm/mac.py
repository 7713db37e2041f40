"""AEGIS-128L as a message authentication code over bytes that stay where they are.

A compiled Python capsule is 30 MB, and every start authenticates it: on one processor in less than
half the time that keyed BLAKE3 takes on two. The message is the additional data of an encryption of
nothing, which is how the specification of AEGIS makes a code of it; a code of 256 bits resists
forgery as the key of 128 bits does.

PyNaCl's own function takes `bytes` only, and copying a mapped file costs more than authenticating
it. So the C function is called as that one does, with a pointer to the buffer.

Source: draft-irtf-cfrg-aegis-aead, AEGISMAC with AEGIS-128L.
"""

from __future__ import annotations

from typing import Final

from nacl._sodium import ffi, lib

KEY_BYTES: Final = 16
NONCE_BYTES: Final = 16
CODE_BYTES: Final = 32


def authenticate(message: bytes | memoryview, *, nonce: bytes, key: bytes) -> bytes:
    """The code of a message, 32 bytes. Other threads run meanwhile.

    Args:
        message: Any number of bytes; not copied.
        nonce: 16 bytes, never used with this key for another message.
        key: 16 bytes.

    Raises:
        ValueError: Key or nonce has another length.
    """
    if len(key) != KEY_BYTES or len(nonce) != NONCE_BYTES:
        raise ValueError(f"key and nonce have {KEY_BYTES} bytes each")
    code = ffi.new("unsigned char[]", CODE_BYTES)
    length = ffi.new("unsigned long long *")
    nothing = ffi.NULL
    with ffi.from_buffer(message) as data:
        lib.crypto_aead_aegis128l_encrypt(
            code, length, nothing, 0, data, len(data), nothing, nonce, key
        )
    return bytes(ffi.buffer(code, length[0]))
