"""Outcomes from worker threads reach the futures of a loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from astrid_core.kernel.loop_inbox import LoopInbox


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts how often other threads woke it."""

    wake_ups = 0

    def call_soon_threadsafe(self, *args: object, **named: object) -> asyncio.Handle:
        self.wake_ups += 1
        return super().call_soon_threadsafe(*args, **named)  # type: ignore[arg-type]


def test_one_wake_up_serves_all_that_arrived_meanwhile() -> None:
    loop = CountingLoop()

    async def main() -> list[int]:
        inbox: LoopInbox[int] = LoopInbox(loop)
        futures: list[asyncio.Future[int]] = [loop.create_future() for _ in range(100)]

        def work() -> None:
            for number, future in enumerate(futures):
                inbox.put(future, number)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()  # the loop stands still until everything has arrived
        return await asyncio.gather(*futures)

    try:
        assert loop.run_until_complete(main()) == list(range(100))
        assert loop.wake_ups == 1
    finally:
        loop.close()


def test_nothing_is_lost_between_wake_ups() -> None:
    async def main() -> None:
        inbox: LoopInbox[int] = LoopInbox(asyncio.get_running_loop())
        for number in range(200):
            future = asyncio.get_running_loop().create_future()
            thread = threading.Thread(target=inbox.put, args=(future, number))
            thread.start()
            assert await asyncio.wait_for(future, 5) == number
            thread.join()

    asyncio.run(main())


@pytest.mark.parametrize("settled", ["cancelled", "answered"])
def test_a_future_that_is_done_stays_as_it_is(settled: str) -> None:
    async def main() -> None:
        inbox: LoopInbox[int] = LoopInbox(asyncio.get_running_loop())
        first, second = (asyncio.get_running_loop().create_future() for _ in range(2))
        if settled == "cancelled":
            first.cancel()
        else:
            first.set_result(7)
        inbox.put(first, 1)
        inbox.put(second, 2)
        assert await second == 2
        assert first.cancelled() if settled == "cancelled" else first.result() == 7

    asyncio.run(main())


def test_a_closed_loop_takes_nothing_and_raises_nothing() -> None:
    loop = asyncio.new_event_loop()
    future: asyncio.Future[int] = loop.create_future()
    inbox: LoopInbox[int] = LoopInbox(loop)
    loop.close()
    inbox.put(future, 1)
    inbox.put(future, 2)
    assert not future.done()
