from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrid_engine_wasm.seal import SEAL_BYTES, derive_seal_key, make_trailer, verify
from astrid_hookspecs.errors import IntegrityError

KEY = derive_seal_key(b"0" * 32)
ARTEFACT = b"\x7fELF native code"
METADATA = b'{"facts": 1}'
SEALED = ARTEFACT + make_trailer(ARTEFACT, metadata=METADATA, key=KEY)


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
    one = make_trailer(b"ab", metadata=b"c", key=KEY)
    other = make_trailer(b"a", metadata=b"bc", key=KEY)
    assert one[-SEAL_BYTES:] != other[-SEAL_BYTES:]


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
    sealed = artefact + make_trailer(artefact, metadata=metadata, key=KEY)
    assert verify(memoryview(sealed), key=KEY) == (len(artefact), metadata)
