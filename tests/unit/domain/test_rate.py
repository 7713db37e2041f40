"""The throughput limiter, with the time passed in."""

from __future__ import annotations

import pytest

from astrid_core.domain.rate import MAX_MESSAGE_BYTES, RateLimiter

MIB = 1024 * 1024
KEY = ("instance", "alice")


def allow(limiter: RateLimiter, size: int, now: float, *, key: object = KEY, ceiling: int = MIB):
    return limiter.allow(key, size_bytes=size, ceiling_bytes=ceiling, now=now)


@pytest.mark.parametrize("size", [pytest.param(943_718, id="100"), pytest.param(629_146, id="85")])
def test_second_message_refused_when_window_is_full(size: int):
    limiter = RateLimiter()
    assert allow(limiter, size, 5.0)
    assert not allow(limiter, size, 5.9)
    assert allow(limiter, size, 5.9, key=("instance", "bob")), "another principal is limited too"
    assert allow(limiter, size, 5.9, key=("other", "alice")), "another instance is limited too"
    assert allow(limiter, size, 6.1), "the window never restarts"


def test_window_is_fixed_and_does_not_slide():
    limiter = RateLimiter()
    assert allow(limiter, MIB // 2, 0.0)
    assert allow(limiter, MIB // 2, 0.9)
    assert not allow(limiter, 1, 0.99)
    assert allow(limiter, MIB, 1.0)


def test_refused_message_costs_nothing():
    limiter = RateLimiter()
    assert allow(limiter, MIB // 2, 0.0)
    assert not allow(limiter, MIB, 0.1)
    assert allow(limiter, MIB // 2, 0.2), "the refusal was charged"


def test_looking_costs_nothing():
    limiter = RateLimiter()
    for _ in range(3):
        assert limiter.fits(KEY, size_bytes=MIB, ceiling_bytes=MIB, now=0.0)
    assert len(limiter) == 0
    assert allow(limiter, MIB, 0.0)
    assert not limiter.fits(KEY, size_bytes=1, ceiling_bytes=MIB, now=0.5)


def test_exact_ceiling_fits():
    assert allow(RateLimiter(), MIB, 0.0)
    assert not allow(RateLimiter(), MIB + 1, 0.0)


def test_message_above_five_mebibytes_refused_whatever_the_ceiling():
    limiter = RateLimiter()
    assert not allow(limiter, MAX_MESSAGE_BYTES + 1, 0.0, ceiling=100 * MIB)
    assert allow(limiter, MAX_MESSAGE_BYTES, 0.0, ceiling=100 * MIB)


def test_empty_message_always_fits():
    limiter = RateLimiter()
    assert allow(limiter, MIB, 0.0)
    assert allow(limiter, 0, 0.1)
    assert allow(limiter, 0, 0.1, ceiling=0)


def test_old_windows_are_pruned_once_a_minute():
    limiter = RateLimiter()
    for number in range(1001):
        assert allow(limiter, 1, 100.0, key=number)
    assert len(limiter) == 1001
    assert allow(limiter, 1, 102.0, key="first prune")
    assert len(limiter) == 1
    for number in range(1001):
        assert allow(limiter, 1, 103.0, key=number)
    assert allow(limiter, 1, 161.9, key="too early")
    assert len(limiter) == 1003
    assert allow(limiter, 1, 162.1, key="a minute later")
    assert len(limiter) == 2, "only the live window and the new one stay"


def test_pruning_keeps_live_windows():
    limiter = RateLimiter()
    for number in range(1000):
        assert allow(limiter, 1, 10.0, key=number)
    assert allow(limiter, MIB, 10.5, key="live")
    assert allow(limiter, 1, 11.2, key="prunes")
    assert len(limiter) == 2
    assert not allow(limiter, 1, 11.3, key="live"), "pruning refilled a budget"


def test_crowds_are_pruned_each_second():
    limiter = RateLimiter()
    for number in range(10_002):
        assert allow(limiter, 1, 10.0, key=number)
    assert allow(limiter, 1, 11.5, key="prunes")
    assert len(limiter) == 1
