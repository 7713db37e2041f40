"""Who gives way to whom. What it buys is measured by the `isolation` benchmark."""

from __future__ import annotations

import threading
from contextlib import nullcontext

import pytest

from astrid_core.kernel import turns as turns_module
from astrid_core.kernel.turns import YOUNG_S, Turns
from astrid_hookspecs.values import Principal

ALICE, BOB = Principal("alice"), Principal("bob")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def turns(clock: Clock) -> Turns:
    return Turns(blocked=nullcontext, monotonic=clock)


def waits(turns: Turns, principal: Principal) -> bool:
    """Whether a step of the principal waits, however briefly."""
    reached = []
    turns._blocked = lambda: reached.append(True) or nullcontext()  # type: ignore[func-returns-value]
    turns.give_way(principal)
    return bool(reached)


def test_nobody_waits_alone(turns: Turns) -> None:
    for _ in range(5):
        turns.join(ALICE)
    assert not turns.is_contended
    assert not waits(turns, ALICE)


def test_who_has_more_under_way_waits_and_the_other_does_not(turns: Turns) -> None:
    turns.join(ALICE)
    turns.join(ALICE)
    turns.join(BOB)
    assert turns.is_contended
    assert waits(turns, ALICE)
    assert not waits(turns, BOB)


def test_equals_do_not_wait(turns: Turns) -> None:
    turns.join(ALICE)
    turns.join(BOB)
    assert not waits(turns, ALICE)
    assert not waits(turns, BOB)


def test_work_that_runs_for_long_waits_for_what_has_just_come(turns: Turns, clock: Clock) -> None:
    turns.join(ALICE)
    clock.now += 2 * YOUNG_S
    turns.join(BOB)
    assert waits(turns, ALICE)
    assert not waits(turns, BOB)


def test_nobody_waits_for_work_that_runs_for_long(turns: Turns, clock: Clock) -> None:
    turns.join(BOB)
    clock.now += 2 * YOUNG_S
    turns.join(ALICE)
    turns.join(ALICE)
    assert not waits(turns, ALICE)


def test_a_run_loop_waits_for_calls(turns: Turns) -> None:
    turns.join(BOB)
    turns.join(ALICE)
    assert waits(turns, Principal("carol"))


def test_the_wait_ends_when_the_other_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "WAIT_S", 60.0)
    monkeypatch.setattr(turns_module, "YOUNG_S", 60.0)
    turns = Turns(blocked=nullcontext)
    turns.join(ALICE)
    turns.join(ALICE)
    turns.join(BOB)
    step = threading.Thread(target=turns.give_way, args=(ALICE,))
    step.start()
    assert step.is_alive()
    turns.leave(BOB)
    step.join(10)
    assert not step.is_alive()
    assert not turns.is_contended


def test_a_wait_is_bounded_even_when_the_other_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "YOUNG_S", 60.0)
    turns = Turns(blocked=nullcontext)
    turns.join(ALICE)
    turns.join(ALICE)
    turns.join(BOB)
    turns.give_way(ALICE)  # returns
    assert turns.is_contended
