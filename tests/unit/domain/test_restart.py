"""Spec: kernel-and-security 12.3, 16 D-04, D-85."""

from __future__ import annotations

import pytest

from astrid_core.domain.restart import Down, Failing, RestartPolicy, Running, Waiting

POLICY = RestartPolicy()


def test_waits_double_and_after_five_tries_it_is_given_up() -> None:
    now, record, waits = 100.0, None, []
    while not isinstance(failing := POLICY.after_failure(record, now=now), Down):
        waits.append(failing.due - now)
        now = failing.due
        record = POLICY.after_try(failing, now=now)
    assert waits == [2.0, 4.0, 8.0, 16.0, 32.0]
    assert failing == Down(5)
    assert POLICY.after_failure(failing, now=now + 1e6) == Down(5)


def test_no_wait_is_longer_than_the_longest() -> None:
    patient = RestartPolicy(tries=100)
    assert patient.after_failure(Running(5, 0.0), now=1.0).due == 65.0  # type: ignore[union-attr]
    assert patient.after_failure(Running(6, 0.0), now=1.0).due == 121.0  # type: ignore[union-attr]
    assert patient.after_failure(Running(90, 0.0), now=1.0).due == 121.0  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("ran_s", "expected"),
    [(60.0, Waiting(3, 76.0)), (299.9, Waiting(3, 315.9)), (300.0, Waiting(0, 302.0))],
)
def test_only_a_capsule_that_ran_long_enough_begins_anew(ran_s: float, expected: Waiting) -> None:
    assert POLICY.after_failure(Running(3, 0.0), now=ran_s) == expected


@pytest.mark.parametrize(
    ("record", "settled"),
    [
        (Running(1, 0.0), True),
        (Running(1, 0.1), False),
        (Waiting(1, 0.0), False),
        (Down(5), False),
    ],
)
def test_what_counts_as_settled(record: Failing, *, settled: bool) -> None:
    assert POLICY.is_settled(record, now=300.0) is settled
