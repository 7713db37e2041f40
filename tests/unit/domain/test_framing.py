from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrid_core.domain.framing import (
    MAX_FRAME_BYTES,
    MAX_HANDSHAKE_BYTES,
    PREFIX,
    FrameReader,
    encode_frame,
)
from astrid_hookspecs.errors import LocalProtocolError, RemoteProtocolError


def read_all(reader: FrameReader) -> list[bytes]:
    found = []
    while (body := reader.next_frame()) is not None:
        found.append(body)
    return found


@given(st.lists(st.binary(max_size=40), max_size=6), st.data())
@pytest.mark.slow
def test_frames_come_out_whole_however_the_bytes_arrive(
    bodies: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(encode_frame(body) for body in bodies)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader = FrameReader(limit=MAX_FRAME_BYTES)
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        reader.feed(stream[start:end])
        found += read_all(reader)
    assert found == bodies
    assert not reader.is_partial


def test_a_prefix_cut_anywhere_is_kept() -> None:
    reader = FrameReader(limit=16)
    for byte in encode_frame(b"{}")[:-1]:
        reader.feed(bytes([byte]))
        assert reader.next_frame() is None
        assert reader.is_partial
    assert reader.announced == 2
    reader.feed(b"}")
    assert reader.next_frame() == b"{}"
    assert (reader.announced, reader.is_partial) == (0, False)


@pytest.mark.parametrize("limit", [MAX_HANDSHAKE_BYTES, MAX_FRAME_BYTES])
def test_frames_above_the_limit_are_refused_before_their_body(limit: int) -> None:
    reader = FrameReader(limit=limit)
    reader.feed(limit.to_bytes(4, "big"))
    assert reader.next_frame() is None
    refusing = FrameReader(limit=limit)
    refusing.feed((limit + 1).to_bytes(4, "big"))
    with pytest.raises(RemoteProtocolError) as caught:
        refusing.next_frame()
    assert caught.value.code == "protocol.frame-too-long"


def test_the_limit_may_grow_after_the_handshake() -> None:
    reader = FrameReader(limit=4)
    reader.feed(encode_frame(b"four") + encode_frame(b"longer"))
    assert reader.next_frame() == b"four"
    reader.limit = 6
    assert reader.next_frame() == b"longer"


def test_sending_more_than_the_other_side_takes_is_refused_here() -> None:
    with pytest.raises(LocalProtocolError) as caught:
        encode_frame(b"12345", limit=4)
    assert caught.value.code == "protocol.frame-too-long"


def test_the_length_comes_first_big_endian() -> None:
    assert encode_frame(b"ab") == b"\x00\x00\x00\x02ab"
    assert encode_frame(b"") == b"\x00\x00\x00\x00"


def test_who_receives_what_is_missing_takes_nothing_of_the_next_frame() -> None:
    first, arriving = b"hello", encode_frame(b"hello") + encode_frame(b"more")
    reader = FrameReader(limit=MAX_HANDSHAKE_BYTES)
    taken = 0
    while (body := reader.next_frame()) is None:
        step = arriving[taken : taken + reader.missing]
        reader.feed(step)
        taken += len(step)
    assert (body, taken) == (first, len(encode_frame(first)))
    reader.feed(b"\0\0\0\0more")
    assert reader.missing == 0


def test_what_is_missing_is_known_before_and_after_the_prefix() -> None:
    reader = FrameReader(limit=16)
    assert reader.missing == PREFIX.size
    reader.feed(encode_frame(b"body")[:5])
    assert reader.next_frame() is None
    assert (reader.missing, reader.held_bytes) == (3, 5)
