"""What the file of a workspace may change: it may tighten what the operator allows, never widen it.

Trusted with the border between a project, which is hostile, and the operator. A key without a rule
here is not the workspace's to set. Pure. Spec: kernel-and-security 14.3, 16 D-38, D-80 to D-84.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from astrid_core.config.settings import LOG_LEVELS

Rule = Callable[[Any, Any], Any]
"""From the operator's value and the workspace's wish to the value that holds."""


class Verdict(NamedTuple):
    """What became of a wish of a workspace.

    Attributes:
        value: What holds.
        note: Why it is not what was wished; None when it is.
    """

    value: Any
    note: str | None


def at_most(allowed: float | None, wished: float) -> float:
    """The smaller number, whole or not; None is no bound. Spec: D-82."""
    return wished if allowed is None else min(allowed, wished)


def tightest(order: Sequence[str]) -> Rule:
    """The word that comes first in an order from tight to wide."""
    return lambda allowed, wished: min(allowed, wished, key=order.index)


RULES: Final[Mapping[str, Rule]] = {
    "budget.per_action_max_usd": at_most,
    "budget.session_max_usd": at_most,
    "budget.warn_at_percent": at_most,
    "budget.workspace_max_usd": at_most,
    "files.hard_links": tightest(("refuse", "read")),
    "limits.instances": at_most,
    "limits.workers": at_most,
    "logging.level": tightest(LOG_LEVELS),  # never quieter: warnings are the operator's
    "network.connections": at_most,
    "processes.network": tightest(("refuse", "allow")),
    "processes.workspace": tightest(("read", "write")),
}
"""By dotted key. Which code runs (`engines`, `storage`, `secrets`, `kernel`, `files.overlay`), what
else guests see (`mounts`), who somebody is (`identity`) and what is kept of it (`audit`) are the
operator's alone."""


def weigh(key: str, allowed: object, wished: object) -> Verdict:
    """Decide about one wish of a workspace.

    Args:
        key: Dotted, of a valid setting.
        allowed: The value without the workspace.
        wished: What its file says, of the right type.
    """
    rule = RULES.get(key)
    if rule is None:
        return Verdict(allowed, f"{key} is ignored: only the operator can set it")
    value = rule(allowed, wished)
    if value == wished:
        return Verdict(value, None)
    return Verdict(value, f"{key} stays {value!r}: a workspace may tighten it, not widen it")
