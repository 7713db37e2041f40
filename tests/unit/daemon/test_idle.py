"""When nobody uses a daemon for long enough."""

from __future__ import annotations

import pytest

from astrid_core.daemon.idle import VARIABLE, IdleClock, IdlePolicy, idle_policy


@pytest.mark.parametrize(
    ("ephemeral", "text", "policy"),
    [
        pytest.param(True, None, IdlePolicy(5, 1, 30), id="172-ephemeral"),
        pytest.param(True, "7", IdlePolicy(5, 1, 7), id="ephemeral-with-a-limit"),
        pytest.param(False, None, IdlePolicy(30, 15, None), id="173-persistent"),
        pytest.param(False, "10", IdlePolicy(30, 15, 10), id="173-persistent-with-a-limit"),
        pytest.param(True, "abc", IdlePolicy(5, 1, 30), id="174-ephemeral"),
        pytest.param(False, "abc", IdlePolicy(30, 15, None), id="174-persistent"),
        pytest.param(False, "", IdlePolicy(30, 15, None), id="empty"),
        pytest.param(False, "-1", IdlePolicy(30, 15, None), id="negative"),
        pytest.param(False, "1.5", IdlePolicy(30, 15, None), id="no-whole-number"),
        pytest.param(False, "9" * 400, IdlePolicy(30, 15, None), id="endless"),
        pytest.param(False, "0", IdlePolicy(30, 15, 0), id="zero"),
    ],
)
def test_the_policy(ephemeral: bool, text: str | None, policy: IdlePolicy) -> None:
    environ = {} if text is None else {VARIABLE: text}
    assert idle_policy(environ, ephemeral=ephemeral) == policy


def looks(policy: IdlePolicy, *, used_at: frozenset[float] = frozenset()) -> float | None:
    """When a daemon that takes its looks in time ends, in seconds after its start."""
    assert policy.timeout_s is not None
    clock = IdleClock(policy.timeout_s)
    now = policy.grace_s
    for _ in range(1000):
        now += policy.period_s
        if clock.is_over(idle=now not in used_at, now=now):
            return now
    return None


def test_172_an_ephemeral_daemon_ends_36_seconds_after_its_start() -> None:
    assert looks(idle_policy({}, ephemeral=True)) == 36


def test_173_a_persistent_one_ends_60_seconds_after_its_start_where_that_is_asked_for() -> None:
    assert looks(idle_policy({VARIABLE: "10"}, ephemeral=False)) == 60


def test_any_use_starts_the_clock_again() -> None:
    assert looks(IdlePolicy(5, 1, 30), used_at=frozenset({35.0})) == 66
