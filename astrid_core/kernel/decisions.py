"""Where the gate's refusals go: the log, the observers, and a short memory for people who ask."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from loguru import logger

from astrid_hookspecs.events import DecisionEvent

REMEMBERED: Final = 1000


class DecisionLog:
    """Receives decisions; never raises. Safe from any thread.

    Args:
        observe: Calls the observers of a hook with an event.
    """

    def __init__(self, observe: Callable[[str, object], None]) -> None:
        self._observe = observe
        self._recent: deque[DecisionEvent] = deque(maxlen=REMEMBERED)

    def record(self, event: DecisionEvent) -> None:
        """Take one decision."""
        self._recent.append(event)
        logger.info(
            "denied {action} on {resource!r} for {principal} by {capsule}: rule {rule}",
            action=event.action,
            resource=event.resource,
            principal=event.principal,
            capsule=event.capsule or "client",
            rule=event.rule,
        )
        self._observe("astrid_decision_made", event)

    def recent(self) -> list[DecisionEvent]:
        """The latest refusals, oldest first."""
        return list(self._recent)
