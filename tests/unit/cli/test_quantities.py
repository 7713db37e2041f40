"""Sizes and durations. Spec: cli-and-ux 3.4."""

from __future__ import annotations

import pytest

from astrid_core.cli.quantities import parse_duration, parse_size, shown_duration, shown_size
from astrid_hookspecs.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("12B", 12),
        ("1k", 1000),
        ("1KB", 1000),
        ("1kib", 1024),
        ("64MiB", 64 << 20),
        ("1.5 MB", 1_500_000),
        ("5MiB/s", 5 << 20),
        ("2GiB", 2 << 30),
        ("1TB", 10**12),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "12parsecs", "-1", "1e9", "1Kb2", "MiB", "1i", "٣"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_size(text)
    assert caught.value.code == "cli.size"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("0", 1),
        ("500ms", 1),
        ("1500ms", 1),
        ("2m", 120),
        ("2h30m", 9000),
        ("1d", 86400),
    ],
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "1w", "2h 30m", "-1s", "m", "1.5h", "٣s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_duration(text)
    assert caught.value.code == "cli.duration"


def test_how_they_are_shown() -> None:
    assert [shown_size(size) for size in (12, 1536, 64 << 20, 1 << 30)] == [
        "12 B",
        "1.5 KiB",
        "64.0 MiB",
        "1.0 GiB",
    ]
    assert [shown_duration(seconds) for seconds in (0, 59, 120, 9000)] == [
        "0s",
        "59s",
        "2m",
        "2h30m",
    ]
