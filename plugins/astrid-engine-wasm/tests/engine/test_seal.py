from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.bindings import crypto_aead_aegis128l_encrypt

from astrid_engine_wasm import mac
from astrid_engine_wasm.seal import SEAL_BYTES, derive_seal_key, describe, seal, verify
from astrid_hookspecs.errors import IntegrityError

KEY = derive_seal_key(b"0" * 32)


def sealed_file(artefact: bytes, metadata: bytes) -> bytes:
    described = artefact + describe(len(artefact), metadata)
    return described + seal(described, key=KEY)


ARTEFACT = b"\x7fELF native code"
METADATA = b'{"facts": 1}'
SEALED = sealed_file(ARTEFACT, METADATA)


def test_verify_returns_what_was_sealed() -> None:
    assert verify(SEALED, key=KEY) == (len(ARTEFACT), METADATA)
    assert SEALED.startswith(ARTEFACT), "the runtime reads the artefact from offset 0"


@pytest.mark.parametrize("position", range(len(SEALED)))
def test_every_changed_byte_is_noticed(position: int) -> None:
    changed = bytearray(SEALED)
    changed[position] ^= 0x01
    with pytest.raises(IntegrityError):
        verify(bytes(changed), key=KEY)


@pytest.mark.parametrize("size", [0, 1, SEAL_BYTES, len(SEALED) - 1])
def test_every_truncation_is_noticed(size: int) -> None:
    with pytest.raises(IntegrityError):
        verify(SEALED[:size], key=KEY)


def test_appended_bytes_are_noticed() -> None:
    with pytest.raises(IntegrityError):
        verify(SEALED + b"x", key=KEY)
    with pytest.raises(IntegrityError):
        verify(b"x" + SEALED, key=KEY)


def test_parts_cannot_be_moved_into_each_other() -> None:
    whole = sealed_file(b"ab", b"c")
    lengths = slice(3 + 8, 3 + 8 + 8 + 4)
    moved = whole[: lengths.start] + describe(1, b"bc")[2 + 8 : 2 + 20] + whole[lengths.stop :]
    assert len(moved) == len(whole)
    assert moved != whole
    with pytest.raises(IntegrityError, match="seal does not match"):
        verify(moved, key=KEY)


def test_equal_files_have_different_seals() -> None:
    one, other = sealed_file(ARTEFACT, METADATA), sealed_file(ARTEFACT, METADATA)
    assert one[-SEAL_BYTES:] != other[-SEAL_BYTES:], "a nonce is used once"


@pytest.mark.parametrize("size", [1, 31, 32, 33, 4096, 100_000])
def test_code_is_that_of_the_library_s_own_function(size: int) -> None:
    message, key, nonce = bytes(range(256)) * (size // 256 + 1), b"k" * 16, b"n" * 16
    ours = mac.authenticate(memoryview(message)[:size], nonce=nonce, key=key)
    assert ours == crypto_aead_aegis128l_encrypt(b"", message[:size], nonce, key)


@pytest.mark.parametrize(("nonce", "key"), [(b"n" * 15, b"k" * 16), (b"n" * 16, b"k" * 32)])
def test_short_keys_and_nonces_never_reach_the_library(nonce: bytes, key: bytes) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        mac.authenticate(b"message", nonce=nonce, key=key)


def test_seal_of_another_home_is_refused() -> None:
    with pytest.raises(IntegrityError):
        verify(SEALED, key=derive_seal_key(b"1" * 32))


def test_seal_key_is_not_the_secret_itself() -> None:
    assert derive_seal_key(b"0" * 32) != b"0" * 32
    with pytest.raises(IntegrityError, match="32 bytes"):
        derive_seal_key(b"short")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=100))
def test_round_trip(artefact: bytes, metadata: bytes) -> None:
    sealed = sealed_file(artefact, metadata)
    assert verify(memoryview(sealed), key=KEY) == (len(artefact), metadata)
