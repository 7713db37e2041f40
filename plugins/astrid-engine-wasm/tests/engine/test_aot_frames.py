from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

import pytest

from astrid_engine_wasm.frames import MAX_FRAME_BYTES, FrameError, receive_frame, send_frame

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_messages_keep_their_borders(pair: Pair) -> None:
    ours, theirs = pair
    for payload in (b"", b"one", b"x" * 10_000):
        send_frame(ours, payload)
    assert [receive_frame(theirs)[0] for _ in range(3)] == [b"", b"one", b"x" * 10_000]


def test_descriptors_travel_with_a_message(pair: Pair) -> None:
    ours, theirs = pair
    read_end, write_end = os.pipe()
    send_frame(ours, b"job", descriptors=(write_end,))
    payload, (received,) = receive_frame(theirs, descriptors=1)
    assert payload == b"job"
    os.write(received, b"x")
    assert os.read(read_end, 1) == b"x"
    for descriptor in (read_end, write_end, received):
        os.close(descriptor)


def test_end_between_messages_differs_from_end_within_one(pair: Pair) -> None:
    ours, theirs = pair
    ours.shutdown(socket.SHUT_WR)
    with pytest.raises(EOFError):
        receive_frame(theirs)


@pytest.mark.parametrize("sent", [b"\0", struct.pack(">I", 5), struct.pack(">I", 5) + b"four"])
def test_message_that_is_cut_off_is_refused(pair: Pair, sent: bytes) -> None:
    ours, theirs = pair
    ours.sendall(sent)
    ours.shutdown(socket.SHUT_WR)
    with pytest.raises(FrameError):
        receive_frame(theirs)


def test_message_that_is_too_long_is_refused_before_it_is_read(pair: Pair) -> None:
    ours, theirs = pair
    ours.sendall(struct.pack(">I", MAX_FRAME_BYTES + 1))
    with pytest.raises(FrameError, match="too long"):
        receive_frame(theirs)
    with pytest.raises(FrameError, match="too long"):
        send_frame(ours, bytes(MAX_FRAME_BYTES + 1))


def test_descriptors_of_a_refused_message_are_closed(pair: Pair) -> None:
    ours, theirs = pair
    read_end, write_end = os.pipe()
    header = struct.pack(">I", MAX_FRAME_BYTES + 1)
    socket.send_fds(ours, [header], [write_end])
    os.close(write_end)
    with pytest.raises(FrameError):
        receive_frame(theirs, descriptors=1)
    assert os.read(read_end, 1) == b"", "nobody holds the other end any more"
    os.close(read_end)
