"""Points in time as people type them."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

from astrid_core.kernel.log_reader import utc_text
from astrid_hookspecs.errors import ConfigError

_AGE: Final = re.compile(r"(\d{1,6})(s|m|h|d)")
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def second_text(seconds: int) -> str:
    """A point in time as people read it.

    Args:
        seconds: Unix time.
    """
    return utc_text(dt.datetime.fromtimestamp(seconds, dt.UTC))


def parse_moment(text: str | None, *, code: str = "audit.query") -> str | None:
    """RFC 3339 in UTC, milliseconds, from a date, a time or an age; None for None.

    Raises:
        ConfigError: `code`; it is none of them.
    """
    if text is None:
        return None
    age = _AGE.fullmatch(text)
    try:
        if age is not None:
            seconds = int(age[1]) * _UNIT_S[age[2]]
            moment = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds)
        else:
            moment = dt.datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"{text[:40]!r} is no time",
            code=code,
            hint="use 2026-05-01, 2026-05-01T12:00:00Z, or an age such as 30m, 2h, 7d",
        ) from error
    if moment.tzinfo is None:
        moment = moment.astimezone()
    return utc_text(moment)
