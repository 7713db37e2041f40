"""Times: seconds here, whole milliseconds at the host."""

from __future__ import annotations

import math
from typing import Final

_MS: Final = 1000


def milliseconds(seconds: float | None) -> int | None:
    """A time as the host takes it; rounded up, so that a little is not nothing."""
    return None if seconds is None else max(0, math.ceil(seconds * _MS))


def seconds(found_ms: int | None) -> float | None:
    """A time as the host gives it."""
    return None if found_ms is None else found_ms / _MS
