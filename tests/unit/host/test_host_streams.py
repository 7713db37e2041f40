from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest

from astrid_core.host.byte_pipe import BytePipe
from astrid_core.host.pollable import Pollable
from astrid_core.host.stream import InputStream, OutputStream
from astrid_hookspecs.engines import HostTrap, WitError

KIB = 1024
IN, OUT = "[method]input-stream.", "[method]output-stream."


@pytest.fixture
def io(call: Any) -> Any:
    return partial(call, interface="astrid:io/streams@1.0.0")


@pytest.fixture
def ends() -> tuple[BytePipe, InputStream, OutputStream]:
    pipe = BytePipe()
    return pipe, InputStream(pipe.source), OutputStream(pipe.sink)


def in_background(action: Any) -> threading.Thread:
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    return thread


def test_read_gives_what_is_there(world: Any, io: Any, ends: Any) -> None:
    pipe, source, _ = ends
    alice = world.open()
    assert io(alice, IN + "read", source, 10) == ("ok", b"")
    pipe.sink.write(b"abcdef")
    assert io(alice, IN + "read", source, 0) == ("ok", b"")
    assert io(alice, IN + "read", source, 4) == ("ok", b"abcd")
    assert io(alice, IN + "skip", source, 10) == ("ok", 2)


def test_read_moves_at_most_1_mib(world: Any, io: Any) -> None:
    pipe = BytePipe(capacity=4 * KIB * KIB)
    pipe.sink.write(bytes(3 * KIB * KIB))
    assert len(io(world.open(), IN + "read", InputStream(pipe.source), 2**64 - 1)[1]) == KIB * KIB


def test_the_end_of_the_data_is_closed(world: Any, io: Any, ends: Any) -> None:
    pipe, source, _ = ends
    alice = world.open()
    pipe.sink.write(b"a")
    pipe.sink.close()
    assert io(alice, IN + "blocking-read", source, 10) == ("ok", b"a")
    for function in ("read", "blocking-read", "skip", "blocking-skip"):
        assert io(alice, IN + function, source, 10) == ("closed", None)


def test_blocking_read_waits_for_a_byte(world: Any, io: Any, ends: Any) -> None:
    pipe, source, _ = ends
    alice = world.open()
    assert io(alice, IN + "blocking-read", source, 0) == ("ok", b"")
    thread = in_background(lambda: pipe.sink.write(b"xyz"))
    assert io(alice, IN + "blocking-skip", source, 2) == ("ok", 2)
    thread.join()


def test_blocking_calls_are_closed_by_unload(world: Any, io: Any, ends: Any) -> None:
    _, source, sink = ends
    alice = world.open()
    alice.cancel.fire()
    assert io(alice, IN + "blocking-read", source, 1) == ("closed", None)
    assert io(alice, OUT + "blocking-write-and-flush", sink, b"x") == ("closed", None)


def test_a_failure_is_reported_once(world: Any, io: Any, call: Any, ends: Any) -> None:
    pipe, source, sink = ends
    alice = world.open()
    pipe.fail(OSError(5, "i/o failed", "/host/path"))
    for stream, function in ((source, IN + "read"), (sink, OUT + "check-write")):
        arguments = (1,) if stream is source else ()
        case, error = io(alice, function, stream, *arguments)
        assert case == "last-operation-failed"
        text = call(
            alice, "[method]error.to-debug-string", error, interface="astrid:io/error@1.0.0"
        )
        assert text == ("ok", "i/o failed")
        assert io(alice, function, stream, *arguments) == ("closed", None)
        error.drop()


def test_141_write_needs_a_permit_and_uses_it_up(world: Any, io: Any, ends: Any) -> None:
    pipe, source, sink = ends
    alice = world.open()
    assert io(alice, OUT + "check-write", sink) == ("ok", 64 * KIB)
    assert io(alice, OUT + "write", sink, b"abc") == ("ok", None)
    with pytest.raises(HostTrap):
        io(alice, OUT + "write", sink, b"d")
    assert io(alice, OUT + "check-write", sink) == ("ok", 64 * KIB - 3)
    with pytest.raises(HostTrap):
        io(alice, OUT + "write", sink, bytes(64 * KIB))
    assert io(alice, IN + "read", source, 10) == ("ok", b"abc")
    assert pipe.sink.is_flushed()


def test_141_zeroes_above_the_permit_trap_before_memory_is_spent(
    world: Any, io: Any, ends: Any
) -> None:
    _, source, sink = ends
    alice = world.open()
    io(alice, OUT + "check-write", sink)
    with pytest.raises(HostTrap):
        io(alice, OUT + "write-zeroes", sink, 2**63)
    io(alice, OUT + "check-write", sink)
    assert io(alice, OUT + "write-zeroes", sink, 3) == ("ok", None)
    assert io(alice, IN + "read", source, 10) == ("ok", b"\0\0\0")


@pytest.mark.parametrize("direction", [IN, OUT], ids=["141-input", "141-output"])
def test_a_stream_dropped_before_its_pollable_traps_and_is_released(
    world: Any, io: Any, ends: Any, direction: str
) -> None:
    pipe, source, sink = ends
    stream = source if direction == IN else sink
    pollables = [io(world.open(), direction + "subscribe", stream)[1] for _ in range(2)]
    pollables[0].drop()
    with pytest.raises(HostTrap, match="before its pollables"):
        stream.drop()
    assert pipe.reader_gone if direction == IN else pipe.writer_gone
    assert pollables[1].source.is_ready()


def test_a_stream_dropped_after_its_pollables_or_closed_by_its_end_is_no_trap(
    world: Any, io: Any, ends: Any
) -> None:
    pipe, source, _ = ends
    alice = world.open()
    pollable = io(alice, IN + "subscribe", source)[1]
    pipe.sink.close()
    assert io(alice, IN + "read", source, 1) == ("closed", None)
    pollable.drop()
    source.drop()


def test_no_permit_while_a_flush_runs(world: Any, io: Any, ends: Any) -> None:
    _, source, sink = ends
    alice = world.open()
    pollable = io(alice, OUT + "subscribe", sink)[1]
    io(alice, OUT + "check-write", sink)
    io(alice, OUT + "write", sink, b"abc")
    assert pollable.source.is_ready()
    assert io(alice, OUT + "flush", sink) == ("ok", None)
    assert io(alice, OUT + "check-write", sink) == ("ok", 0)
    assert not pollable.source.is_ready()
    source.read(3)
    assert pollable.source.is_ready()
    assert io(alice, OUT + "check-write", sink) == ("ok", 64 * KIB)


@pytest.mark.parametrize("size", [0, 3, 300 * KIB])
@pytest.mark.parametrize("zeroes", [False, True])
def test_blocking_writes_of_any_length_are_delivered(
    world: Any, io: Any, ends: Any, size: int, zeroes: Any
) -> None:
    _, source, sink = ends
    alice, bob = world.open(), world.open(principal="bob")
    received = bytearray()

    def read_all() -> None:
        while len(received) < size:
            received.extend(io(bob, IN + "blocking-read", source, KIB * KIB)[1])

    thread = in_background(read_all)
    contents = bytes(size) if zeroes else bytes(range(256)) * (size // 256) + b"abc"[: size % 256]
    if zeroes:
        done = io(alice, OUT + "blocking-write-zeroes-and-flush", sink, size)
    else:
        done = io(alice, OUT + "blocking-write-and-flush", sink, contents)
    thread.join(30)
    assert done == ("ok", None)
    assert bytes(received) == contents


def test_a_reader_that_left_closes_the_writer(world: Any, io: Any, ends: Any) -> None:
    _, source, sink = ends
    alice = world.open()
    io(alice, OUT + "check-write", sink)
    source.drop()
    assert io(alice, OUT + "write", sink, b"x") == ("closed", None)
    for function in ("check-write", "flush", "blocking-flush"):
        assert io(alice, OUT + function, sink) == ("closed", None)


def test_splice_moves_what_is_there_and_fits(world: Any, io: Any, ends: Any) -> None:
    _, first, feed = ends
    narrow = BytePipe(capacity=4)
    second, sink = InputStream(narrow.source), OutputStream(narrow.sink)
    alice = world.open()
    assert io(alice, OUT + "splice", sink, first, 100) == ("ok", 0)
    io(alice, OUT + "check-write", feed)
    io(alice, OUT + "write", feed, b"abcdefg")
    assert io(alice, OUT + "splice", sink, first, 2) == ("ok", 2)
    assert io(alice, OUT + "blocking-splice", sink, first, 100) == ("ok", 2)
    assert io(alice, OUT + "splice", sink, first, 100) == ("ok", 0)
    assert second.read(100) == b"abcd"
    assert io(alice, OUT + "blocking-splice", sink, first, 0) == ("ok", 0)
    feed.drop()
    assert io(alice, OUT + "blocking-splice", sink, first, 100) == ("ok", 3)
    assert io(alice, OUT + "blocking-splice", sink, first, 100) == ("closed", None)
    assert io(alice, OUT + "check-write", sink) == ("ok", 1)


def test_input_pollable_is_ready_for_data_and_for_the_end(world: Any, io: Any, ends: Any) -> None:
    pipe, source, _ = ends
    alice = world.open()
    pollable = io(alice, IN + "subscribe", source)[1]
    assert not pollable.source.is_ready()
    pipe.sink.write(b"x")
    assert pollable.source.is_ready()
    source.read(1)
    assert not pollable.source.is_ready()
    pipe.sink.close()
    assert pollable.source.is_ready()


def test_zeroes_for_a_closed_stream_take_no_memory() -> None:
    stream = OutputStream.closed()
    for length in (2**63, 2**64 - 1):  # more than can be asked for: nothing may be
        with pytest.raises(WitError, match="closed"):
            stream.write_zeroes(length)


def test_streams_that_are_closed_from_the_start(world: Any, io: Any) -> None:
    alice = world.open()
    assert io(alice, IN + "blocking-read", InputStream.closed(), 1) == ("closed", None)
    assert io(alice, OUT + "write", OutputStream.closed(), b"x") == ("closed", None)
    assert io(alice, OUT + "write-zeroes", OutputStream.closed(), 0) == ("closed", None)
    pollable = io(alice, OUT + "subscribe", OutputStream.closed())[1]
    assert isinstance(pollable, Pollable)
    assert pollable.source.is_ready()
