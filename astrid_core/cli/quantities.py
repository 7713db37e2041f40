"""Sizes and durations as people type and read them. Spec: cli-and-ux 3.4."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from astrid_hookspecs.errors import ConfigError

_SIZE: Final = re.compile(r"(\d{1,18}(?:\.\d{1,6})?)\s*([a-z]*)(?:/s)?", re.IGNORECASE | re.ASCII)
_POWERS: Final = {"k": 1, "m": 2, "g": 3, "t": 4}
_SECONDS: Final = re.compile(r"\d{1,9}", re.ASCII)
_DURATION: Final = re.compile(r"(?:\d{1,9}(?:ms|[smhd]))+", re.ASCII)
_PART: Final = re.compile(r"(\d+)(ms|[smhd])", re.ASCII)
_UNIT_MS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def parse_size(text: str) -> int:
    """Bytes, from a number with an optional unit: `64MiB`, `1.5 GB`, `10MiB/s`, `4096`.

    Raises:
        ConfigError: `cli.size`.
    """
    found = _SIZE.fullmatch(text.strip())
    factor = None if found is None else _factor(found[2].lower())
    if found is None or factor is None:
        raise ConfigError(
            f"{text[:40]!r} is no size",
            code="cli.size",
            hint="use a number of bytes, or units such as 512KiB, 64MiB, 1GB",
        )
    return int(Decimal(found[1]) * factor)


def parse_duration(text: str) -> int:
    """Whole seconds, at least one, from `90`, `2h30m`, `1500ms`.

    Raises:
        ConfigError: `cli.duration`.
    """
    plain = text.strip().lower()
    if _SECONDS.fullmatch(plain) is not None:
        return max(1, int(plain))
    if _DURATION.fullmatch(plain) is None:
        raise ConfigError(
            f"{text[:40]!r} is no duration",
            code="cli.duration",
            hint="use seconds, or units such as 500ms, 90s, 2h30m, 1d",
        )
    total_ms = sum(int(number) * _UNIT_MS[unit] for number, unit in _PART.findall(plain))
    return max(1, total_ms // 1000)


def shown_size(size_bytes: int) -> str:
    """One decimal with `KiB`, `MiB` or `GiB`; below that, bytes."""
    for unit, power in (("GiB", 3), ("MiB", 2), ("KiB", 1)):
        if size_bytes >= 1024**power:
            return f"{size_bytes / 1024**power:.1f} {unit}"
    return f"{size_bytes} B"


def shown_duration(seconds: int) -> str:
    """`2h30m`, `5m`, `90s` without parts that are zero."""
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    parts = ((hours, "h"), (minutes, "m"), (left, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"


def _factor(unit: str) -> int | None:
    if unit in ("", "b"):
        return 1
    power = _POWERS.get(unit[0])
    if power is None or unit[1:] not in ("", "b", "ib"):
        return None
    return int((1024 if unit.endswith("ib") else 1000) ** power)
