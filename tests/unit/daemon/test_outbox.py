"""Frames to a client: in order, whole, and never more than it may make others keep."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable

import pytest

from astrid_core.daemon.outbox import Outbox

Work = Callable[["World"], Awaitable[None]]
LIMIT = 300_000
FRAME = b"x" * 50_000


class World:
    """An outbox on the running loop, and the client's end of its connection."""

    def __init__(self, *, limit: int) -> None:
        ours, self.client = socket.socketpair()
        ours.setblocking(False)
        self.client.settimeout(5)
        self.overflows = 0
        self.drains = 0
        self.drained = asyncio.Event()
        self.outbox = Outbox(
            ours,
            asyncio.get_running_loop(),
            overflow=self._overflow,
            drained=self._drained,
            limit=limit,
        )

    def _overflow(self) -> None:
        self.overflows += 1

    def _drained(self) -> None:
        self.drains += 1
        self.drained.set()

    async def read(self, count: int) -> bytes:
        def receive() -> bytes:
            found = b""
            while len(found) < count:
                data = self.client.recv(count - len(found))
                if not data:
                    break
                found += data
            return found

        return await asyncio.to_thread(receive)

    def fill(self) -> int:
        """Send until the client is behind; returns how many bytes were taken."""
        count = 0
        while not self.outbox.queued_bytes:
            assert self.outbox.send(FRAME)
            count += len(FRAME)
        return count


@pytest.fixture
def run() -> Callable[[Work], None]:
    def runner(work: Work) -> None:
        async def main() -> None:
            world = World(limit=LIMIT)
            try:
                await work(world)
            finally:
                world.outbox.close()
                world.client.close()

        asyncio.run(main())

    return runner


def test_what_fits_goes_at_once(run: Callable[[Work], None]) -> None:
    async def work(world: World) -> None:
        assert world.outbox.send(b"hello")
        assert world.outbox.queued_bytes == 0
        assert await world.read(5) == b"hello"

    run(work)


def test_what_does_not_fit_follows_in_order(run: Callable[[Work], None]) -> None:
    async def work(world: World) -> None:
        count = world.fill()
        assert world.outbox.send(b"the end")
        data = await world.read(count + 7)
        assert data == FRAME * (count // len(FRAME)) + b"the end"
        assert (world.drains, world.overflows, world.outbox.queued_bytes) == (1, 0, 0)

    run(work)


def test_one_frame_may_be_longer_than_the_limit_and_none_behind_it(
    run: Callable[[Work], None],
) -> None:
    async def work(world: World) -> None:
        assert world.outbox.send(b"y" * 4 * LIMIT)
        assert not world.outbox.send(b"z" * LIMIT)
        assert not world.outbox.send(b"z")
        await asyncio.sleep(0)
        assert world.overflows == 1

    run(work)


def test_a_closed_one_takes_nothing(run: Callable[[Work], None]) -> None:
    async def work(world: World) -> None:
        world.fill()
        world.outbox.close()
        assert not world.outbox.send(b"x")
        assert world.outbox.queued_bytes == 0
        await asyncio.sleep(0)
        assert world.overflows == 0

    run(work)


def test_a_client_that_has_gone_raises_nothing(run: Callable[[Work], None]) -> None:
    async def work(world: World) -> None:
        world.fill()
        world.client.close()
        await asyncio.wait_for(world.drained.wait(), 5)
        world.outbox.send(b"x")
        assert world.overflows == 0

    run(work)


def test_frames_of_many_threads_are_whole(run: Callable[[Work], None]) -> None:
    async def work(world: World) -> None:
        def send(letter: int) -> None:
            for _ in range(100):
                assert world.outbox.send(bytes([letter]) * 500)

        threads = [threading.Thread(target=send, args=(letter,)) for letter in range(5)]
        reading = asyncio.create_task(world.read(250_000))
        for thread in threads:
            thread.start()
        data = await reading
        for thread in threads:
            thread.join()
        frames = [data[start : start + 500] for start in range(0, len(data), 500)]
        assert len(frames) == 500
        assert all(len({*frame}) == 1 for frame in frames)

    run(work)


def test_a_client_that_has_closed_is_known_to_have_whatever_it_sent(
    run: Callable[[Work], None],
) -> None:
    async def work(world: World) -> None:
        world.client.sendall(b"not read yet")
        assert not world.outbox.is_hung_up()
        world.client.shutdown(socket.SHUT_WR)  # it may still read
        assert not world.outbox.is_hung_up()
        world.client.close()
        assert world.outbox.is_hung_up()
        world.outbox.close()
        assert world.outbox.is_hung_up()

    run(work)
