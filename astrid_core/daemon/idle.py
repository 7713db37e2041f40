"""When a daemon that nobody uses ends itself. Spec: kernel-and-security 12.1; cli-and-ux 6.2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

VARIABLE: Final = "ASTRID_IDLE_TIMEOUT_SECS"


class IdlePolicy(NamedTuple):
    """How idleness is judged; seconds.

    Attributes:
        grace_s: After the boot nothing is judged for so long.
        period_s: Between two looks.
        timeout_s: Idle for so long means the end; None never.
    """

    grace_s: float
    period_s: float
    timeout_s: float | None


def idle_policy(environ: Mapping[str, str], *, ephemeral: bool) -> IdlePolicy:
    """The policy of a daemon; a variable that is no whole number counts as unset."""
    text = environ.get(VARIABLE, "")
    given = float(text) if text.isdecimal() and len(text) < 10 else None  # noqa: PLR2004 - 30 years
    if ephemeral:
        return IdlePolicy(5.0, 1.0, 30.0 if given is None else given)
    return IdlePolicy(30.0, 15.0, given)


class IdleClock:
    """Measures how long nobody has used the daemon.

    Args:
        timeout_s: How long is too long.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._since: float | None = None

    def is_over(self, *, idle: bool, now: float) -> bool:
        """Take one look; True when it has been idle at every look for the whole time.

        Args:
            idle: Whether nobody uses it right now.
            now: Monotonic seconds.
        """
        if not idle:
            self._since = None
            return False
        if self._since is None:
            self._since = now
            return False
        return now - self._since >= self._timeout_s
