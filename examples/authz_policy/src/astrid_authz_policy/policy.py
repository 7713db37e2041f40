"""The policy file: rules that refuse. Pure text in, value out.

```toml
[[deny]]
name = "no-deploys-at-night"
actions = ["capsule.invoke"]
resources = ["tool_execute_deploy*"]
principals = ["agent-*"]
outside = { from = "08:00", to = "18:00", days = ["sat", "sun"], zone = "Europe/Berlin" }
```

A rule refuses what all of its lists match; a list that is missing matches everything. `*` and `?`
stand for any characters, `[abc]` for one of them; matching is case-sensitive. With `during` a rule
holds only in that window, with `outside` only out of it.
"""

from __future__ import annotations

import fnmatch
import re
import tomllib
import zoneinfo
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from astrid_hookspecs.authz import AuthzRequest
from astrid_hookspecs.errors import ConfigError

MAX_BYTES = 1024 * 1024
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LISTS = ("principals", "actions", "resources", "capsules")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


class PolicyError(ConfigError):
    """The policy file cannot be used; while that is so, everything is refused."""

    default_code = "authz-policy.invalid"


@dataclass(frozen=True, slots=True)
class Window:
    """A time of day on some days of the week, in one time zone.

    Attributes:
        start: Included.
        end: Not included; before `start` when the window passes midnight.
        days: Numbers of days, 0 for Monday; of the day on which the window began.
    """

    start: time
    end: time
    days: frozenset[int]
    zone: zoneinfo.ZoneInfo

    def contains(self, now: datetime) -> bool:
        """Whether a moment, with its own time zone, is inside."""
        local = now.astimezone(self.zone)
        clock, today = local.time(), local.weekday()
        if self.start < self.end:
            return self.start <= clock < self.end and today in self.days
        yesterday = (local - timedelta(days=1)).weekday()
        return (clock >= self.start and today in self.days) or (
            clock < self.end and yesterday in self.days
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; a pattern that is None matches everything."""

    name: str
    patterns: Mapping[str, re.Pattern[str] | None]
    during: Window | None
    outside: Window | None

    def refuses(self, request: AuthzRequest, now: datetime) -> bool:
        """Whether all of the rule applies to the request at this moment."""
        facts = {
            "principals": request.principal,
            "actions": request.action,
            "resources": request.resource,
            "capsules": request.capsule or "",
        }
        for name, pattern in self.patterns.items():
            if pattern is not None and pattern.fullmatch(facts[name]) is None:
                return False
        if self.during is not None and not self.during.contains(now):
            return False
        return self.outside is None or not self.outside.contains(now)


def parse_policy(text: str) -> tuple[Rule, ...]:
    """Read a policy file.

    Raises:
        PolicyError: Syntax, an unknown key, a value of the wrong kind; says which rule.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"it is no TOML document: {error}") from error
    _only(data, ("deny",), "the file")
    rules = data.get("deny", [])
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise PolicyError("`deny` has to be tables: [[deny]]")
    parsed = tuple(_rule(rule, number) for number, rule in enumerate(rules, start=1))
    names = [rule.name for rule in parsed]
    for name in names:
        if names.count(name) > 1:
            raise PolicyError(f"two rules are named {name!r}")
    return parsed


def _rule(table: Mapping[str, object], number: int) -> Rule:
    name = table.get("name")
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise PolicyError(f"rule {number} needs a name of lower-case letters, digits and hyphens")
    _only(table, ("name", *_LISTS, "during", "outside"), f"rule {name!r}")
    if len(table) == 1:
        raise PolicyError(f"rule {name!r} would refuse everything: name what it refuses")
    return Rule(
        name,
        {key: _globs(table[key], f"{key} of rule {name!r}") for key in _LISTS if key in table},
        *(_window(table.get(key), f"{key} of rule {name!r}") for key in ("during", "outside")),
    )


def _globs(value: object, where: str) -> re.Pattern[str]:
    texts = _texts(value, where)
    return re.compile("|".join(fnmatch.translate(text) for text in texts))


def _window(value: object, where: str) -> Window | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise PolicyError(f"{where} has to be a table with from and to")
    _only(value, ("from", "to", "days", "zone"), where)
    start, end = (_clock(value.get(key), f"{key} in {where}") for key in ("from", "to"))
    if start == end:
        raise PolicyError(f"{where} begins when it ends")
    days = _texts(value.get("days", list(DAYS)), f"days in {where}")
    if unknown := [day for day in days if day not in DAYS]:
        raise PolicyError(f"{unknown[0]!r} in {where} is no day: use {', '.join(DAYS)}")
    zone = value.get("zone", "UTC")
    try:
        found = zoneinfo.ZoneInfo(zone)
    except (TypeError, ValueError, OSError, zoneinfo.ZoneInfoNotFoundError) as error:
        raise PolicyError(f"there is no time zone {zone!r} (in {where})") from error
    return Window(start, end, frozenset(DAYS.index(day) for day in days), found)


def _clock(value: object, where: str) -> time:
    found = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise PolicyError(f'{where} has to be a time of day such as "08:30"')
    return time(int(found[1]), int(found[2]))


def _texts(value: object, where: str) -> Sequence[str]:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise PolicyError(f"{where} has to be a list of texts, and not empty")
    return value


def _only(table: Mapping[str, object], known: Sequence[str], where: str) -> None:
    if unknown := sorted(set(table) - set(known)):
        raise PolicyError(
            f"{where} has an unknown key {unknown[0]!r}; known are {', '.join(known)}"
        )
