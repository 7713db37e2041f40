"""Budgets. Spec: kernel-and-security 7.5, vectors 123 to 126."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrid_core.domain.budget import Budget, BudgetVerdict, cost_of, reserve_both
from astrid_hookspecs.errors import ConfigError


@pytest.mark.parametrize(
    ("spent", "cost", "verdict", "after"),
    [
        pytest.param(0.0, 10.01, BudgetVerdict.OVER_ACTION, 0.0, id="123"),
        pytest.param(75.0, 5.0, BudgetVerdict.WARNED, 80.0, id="124"),
        pytest.param(95.0, 6.0, BudgetVerdict.OVER_SESSION, 95.0, id="125"),
        pytest.param(0.0, 10.0, BudgetVerdict.ALLOWED, 10.0, id="exactly"),
        pytest.param(95.0, 5.0, BudgetVerdict.WARNED, 100.0, id="all-of-it"),
        pytest.param(50.0, 0.0, BudgetVerdict.ALLOWED, 50.0, id="nothing"),
    ],
)
def test_reserve(spent: float, cost: float, verdict: BudgetVerdict, after: float) -> None:
    reservation = Budget(spent_usd=spent).reserve(cost)
    assert reservation == (verdict, Budget(spent_usd=after))
    assert verdict.is_allowed is (after == spent + cost)


def test_125_says_what_is_available() -> None:
    assert Budget(spent_usd=95.0).reserve(6.0).budget.available_usd == 5.0


@pytest.mark.parametrize(
    "cost",
    [
        pytest.param(math.nan, id="126-nan"),
        pytest.param(-1.0, id="126-negative"),
        math.inf,
        True,
    ],
)
def test_cost_refused_when_it_is_no_amount(cost: float) -> None:
    for use in (Budget().reserve, Budget().refund, lambda c: reserve_both(Budget(), Budget(), c)):
        with pytest.raises(ConfigError) as caught:
            use(cost)
        assert caught.value.code == "budget.amount"


@pytest.mark.parametrize("limit", ["session_max_usd", "per_action_max_usd", "warn_at_percent"])
def test_limit_refused_when_it_is_no_amount(limit: str) -> None:
    with pytest.raises(ConfigError):
        Budget(**{limit: math.nan})


@pytest.mark.parametrize(
    ("action", "cost"),
    [
        ("spend 2.50 USD", 2.5),
        ("spend 0 USD", 0.0),
        ("send mail", None),
        ("spend time", None),
        ("suspend 2 USD", None),
        ("", None),
    ],
)
def test_what_an_action_says_that_it_costs(action: str, cost: float | None) -> None:
    assert cost_of(action) == cost


@pytest.mark.parametrize(
    "action",
    [
        "spend -1 USD",
        "spend 1,50 USD",
        "spend 1e3 USD",
        "Spend 1 USD",
        "spend 1 usd",
        " spend 1 USD",
        "spend 1 USD now",
        "spend USD 1",
        "spend 1234567 USD",
        "spend \u0661 USD",
        "spend\n1 USD",
    ],
)
def test_cost_refused_when_it_is_told_in_another_form(action: str) -> None:
    with pytest.raises(ConfigError) as caught:
        cost_of(action)
    assert caught.value.code == "budget.amount"


def test_refund_and_restore() -> None:
    assert Budget(spent_usd=5.0).refund(3.0).spent_usd == 2.0
    assert Budget(spent_usd=5.0).refund(9.0).spent_usd == 0.0
    assert [Budget().restored(x).spent_usd for x in (4.0, -1.0, math.nan, math.inf)] == [4, 0, 0, 0]
    assert Budget(spent_usd=200.0).available_usd == 0.0


def test_two_budgets_take_both_or_none() -> None:
    small, large = Budget(session_max_usd=4.0, warn_at_percent=100.0), Budget()
    assert reserve_both(small, large, 5.0) == (BudgetVerdict.OVER_SESSION, small, large)
    assert reserve_both(large, small, 5.0) == (BudgetVerdict.OVER_SESSION, large, small)
    verdict, first, second = reserve_both(small, large, 3.0)
    assert (verdict, first.spent_usd, second.spent_usd) == (BudgetVerdict.ALLOWED, 3.0, 3.0)
    assert reserve_both(first, second, 1.0)[0] is BudgetVerdict.WARNED


@given(st.lists(st.floats(min_value=0, max_value=20), max_size=50))
def test_never_more_than_the_limit_is_spent(costs: list[float]) -> None:
    budget = Budget()
    for cost in costs:
        budget = budget.reserve(cost).budget
    assert budget.spent_usd <= budget.session_max_usd
