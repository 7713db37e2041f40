from __future__ import annotations

import threading
import time

from astrid_engine_wasm.ticker import Ticker
from astrid_hookspecs.engines import TICK_S


def wait_until(condition: threading.Event) -> None:
    assert condition.wait(5.0)


class Clock:
    def __init__(self) -> None:
        self.times: list[float] = []
        self.third = threading.Event()

    def tick(self) -> None:
        self.times.append(time.monotonic())
        if len(self.times) >= 3:
            self.third.set()


def test_ticks_while_a_guest_runs_and_sleeps_afterwards() -> None:
    clock = Clock()
    ticker = Ticker(clock.tick)
    assert ticker._thread is None, "an idle engine has no thread"
    ticker.enter()
    wait_until(clock.third)
    gaps = [b - a for a, b in zip(clock.times, clock.times[1:], strict=False)]
    assert all(gap >= TICK_S * 0.9 for gap in gaps)
    ticker.leave()
    deadline = time.monotonic() + 5.0
    while not ticker.is_asleep and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    count = len(clock.times)
    threading.Event().wait(2.5 * TICK_S)
    assert len(clock.times) == count
    clock.third.clear()
    ticker.enter()
    wait_until(clock.third)
    ticker.close()


def test_nested_guests_are_counted() -> None:
    ticker = Ticker(lambda: None)
    ticker.enter()
    ticker.enter()
    ticker.leave()
    assert ticker.running == 1
    assert not ticker.is_asleep
    ticker.leave()
    ticker.close()


def test_close_joins_the_thread_and_nothing_ticks_afterwards() -> None:
    clock = Clock()
    ticker = Ticker(clock.tick)
    ticker.enter()
    wait_until(clock.third)
    thread = ticker._thread
    assert thread is not None
    ticker.close()
    ticker.close()
    assert not thread.is_alive()
    count = len(clock.times)
    ticker.leave()
    ticker.enter()
    assert ticker._thread is None
    assert len(clock.times) == count


def test_close_wakes_a_sleeping_ticker() -> None:
    ticker = Ticker(lambda: None)
    ticker.enter()
    ticker.leave()
    began = time.monotonic()
    ticker.close()
    assert time.monotonic() - began < 4
