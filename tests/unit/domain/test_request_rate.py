"""Spec: kernel-and-security 4.1, D-16, vectors 68 and 69."""

from __future__ import annotations

from astrid_core.domain import request_rate
from astrid_core.domain.request_rate import RequestRate


def test_so_many_in_any_minute() -> None:
    rate = RequestRate()
    times = [0.0, 10.0, 20.0, 30.0, 40.0]
    assert [rate.wait_s("a", "Reload", limit=5, now=now) for now in times] == [0.0] * 5
    assert rate.wait_s("a", "Reload", limit=5, now=50.0) == 10.0
    assert rate.wait_s("a", "Reload", limit=5, now=60.0) == 0.0
    assert rate.wait_s("a", "Reload", limit=5, now=60.0) == 10.0


def test_principals_and_methods_do_not_share() -> None:
    rate = RequestRate()
    assert rate.wait_s("a", "Shutdown", limit=1, now=0.0) == 0.0
    assert rate.wait_s("b", "Shutdown", limit=1, now=0.0) == 0.0
    assert rate.wait_s("a", "Reload", limit=1, now=0.0) == 0.0
    assert rate.wait_s("a", "Shutdown", limit=1, now=1.0) == 59.0


def test_what_is_over_is_forgotten_when_there_are_many() -> None:
    rate = RequestRate()
    for number in range(request_rate.MAX_KEYS):
        rate.wait_s(f"p{number}", "m", limit=1, now=0.0)
    assert rate.wait_s("late", "m", limit=1, now=61.0) == 0.0
    assert len(rate._used) == 1
