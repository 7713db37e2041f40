"""Percentiles of the latest calls."""

from __future__ import annotations

from astrid_core.kernel.latency import KEPT, Latencies, Percentiles


def test_no_calls_took_no_time() -> None:
    assert Latencies().percentiles() == Percentiles(0.0, 0.0)


def test_percentiles_are_of_the_latest_calls_only() -> None:
    latencies = Latencies()
    for _ in range(KEPT):
        latencies.add(9.0)
    for number in range(KEPT):
        latencies.add(number / 1000)
    found = latencies.percentiles()
    assert found.p50_ms == KEPT // 2
    assert found.p95_ms == KEPT * 95 // 100


def test_one_slow_call_of_ten_is_seen() -> None:
    latencies = Latencies()
    for seconds in [0.001] * 9 + [1.0]:
        latencies.add(seconds)
    assert latencies.percentiles() == Percentiles(1.0, 1000.0)
