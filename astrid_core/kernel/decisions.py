"""Where the gate's refusals go: the log, the observers, and a short memory for people who ask."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from loguru import logger

from astrid_core.host.log_line import LogBudget
from astrid_hookspecs.events import DecisionEvent

REMEMBERED: Final = 1000


class DecisionLog:
    """Receives decisions; never raises. Safe from any thread.

    Observers hear of every refusal. The log gets a bounded number of lines per second and the
    count of the rest, because a guest can be refused as often as it likes.

    Args:
        observe: Calls the observers of a hook with an event.
        denied: Told of each refusal, for the audit log; must not raise.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        observe: Callable[[str, object], None],
        *,
        denied: Callable[[DecisionEvent], None] = lambda _event: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._observe = observe
        self._denied = denied
        self._clock = clock
        self._lock = threading.Lock()
        self._budget = LogBudget()
        self._recent: deque[DecisionEvent] = deque(maxlen=REMEMBERED)

    def record(self, event: DecisionEvent) -> None:
        """Take one decision."""
        self._recent.append(event)
        self._denied(event)
        with self._lock:
            admitted, dropped = self._budget.admit(now=self._clock())
        if dropped:
            logger.warning("{} more refusals were not logged one by one", dropped)
        if admitted:
            _log(event)
        self._observe("astrid_decision_made", event)

    def recent(self) -> list[DecisionEvent]:
        """The latest refusals, oldest first."""
        return list(self._recent)


def _log(event: DecisionEvent) -> None:
    logger.info(
        "denied {action} on {resource!r} for {principal} by {capsule}: rule {rule}",
        action=event.action,
        resource=event.resource,
        principal=event.principal,
        capsule=event.capsule or "client",
        rule=event.rule,
    )
