from __future__ import annotations

import pytest

from astrid_engine_mcp import bounds
from astrid_engine_mcp.bounds import Backoff, Flow


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_flood_is_a_fault_and_answers_are_none() -> None:
    flow = Flow(clock=Clock())
    for _ in range(3000):
        flow.asked()
    faults = [flow.fault(size_bytes=10, is_garbage=False) for _ in range(3500)]
    assert set(faults) == {None}
    assert "messages a second" in (flow.fault(size_bytes=10, is_garbage=False) or "")


def test_a_second_later_it_may_speak_again() -> None:
    clock = Clock()
    flow = Flow(clock=clock)
    for _ in range(5):
        assert not any(flow.fault(size_bytes=1, is_garbage=False) for _ in range(500))
        clock.now += 1.0


def test_garbage_is_counted_for_good() -> None:
    clock = Clock()
    flow = Flow(clock=clock)
    for _ in range(bounds.GARBAGE_LINES):
        assert flow.fault(size_bytes=1, is_garbage=True) is None
        clock.now += 1.0
    assert "no messages" in (flow.fault(size_bytes=1, is_garbage=True) or "")


def test_bytes_are_counted() -> None:
    flow = Flow(clock=Clock())
    faults = [flow.fault(size_bytes=bounds.MESSAGE_BYTES, is_garbage=False) for _ in range(5)]
    assert faults[:4] == [None] * 4
    assert "MiB a second" in (faults[4] or "")


@pytest.mark.parametrize(("ends", "wait_s"), [(1, 0.0), (2, 0.5), (3, 1.0), (20, 60.0)])
def test_the_more_often_it_ends_the_later_it_starts(ends: int, wait_s: float) -> None:
    backoff = Backoff(clock=Clock())
    for _ in range(ends):
        backoff.ended(lived_s=0.1)
    assert backoff.wait_s() == wait_s


def test_a_steady_process_is_forgiven() -> None:
    backoff = Backoff(clock=Clock())
    for _ in range(5):
        backoff.ended(lived_s=0.1)
    backoff.ended(lived_s=bounds.STEADY_S)
    assert backoff.wait_s() == 0.0
