"""Processor time per minute."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrid_core.domain import cpu_budget
from astrid_core.domain.cpu_budget import CpuBudget


def test_a_minutes_worth_may_be_used_at_a_stretch_and_is_worked_off_evenly() -> None:
    budget = CpuBudget()
    assert budget.wait_s("a", per_minute=30, now=0) == 0
    budget.charge("a", 29.9, per_minute=30, now=0)
    assert budget.wait_s("a", per_minute=30, now=0) == 0
    budget.charge("a", 10.1, per_minute=30, now=0)
    assert budget.wait_s("a", per_minute=30, now=0) == pytest.approx(20)
    assert budget.wait_s("a", per_minute=30, now=19.9) > 0
    assert budget.wait_s("a", per_minute=30, now=20.1) == 0
    assert budget.wait_s("b", per_minute=30, now=0) == 0


def test_a_raised_budget_applies_at_once() -> None:
    budget = CpuBudget()
    budget.charge("a", 60, per_minute=30, now=0)
    assert budget.wait_s("a", per_minute=30, now=1) > 0
    assert budget.wait_s("a", per_minute=90, now=1) == 0


@given(st.lists(st.floats(0, 20), max_size=40), st.floats(0.5, 100))
def test_over_any_time_a_key_uses_no_more_than_its_rate_one_minute_and_one_call(
    calls: list[float], per_minute: float
) -> None:
    budget, now, used = CpuBudget(), 0.0, 0.0
    for call_s in calls:
        now += budget.wait_s("a", per_minute=per_minute, now=now)
        assert used <= per_minute + now * per_minute / 60 + 20 + 1e-6
        budget.charge("a", call_s, per_minute=per_minute, now=now)
        used += call_s


def test_keys_that_owe_nothing_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_budget, "MAX_KEYS", 3)
    budget = CpuBudget()
    for number in range(3):
        budget.charge(number, 1, per_minute=60, now=0)
    budget.charge("late", 1, per_minute=60, now=61)
    assert len(budget) == 1
