"""The gate's refusals in the audit log: each one, or how many of a flood.

A guest can be refused as often as it likes, so refusals of one kind (who, which capsule, which
action, which rule) are recorded one by one up to a bound per window, and the rest as one entry that
counts them. Trusted with losing none of the counts while the kernel runs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from loguru import logger

from astrid_core.domain.payload_message import format_timestamp
from astrid_core.ports.audit import AuditTrail
from astrid_hookspecs.audit import AuditEntry, AuditValue
from astrid_hookspecs.errors import AuditError
from astrid_hookspecs.events import DecisionEvent

WINDOW_S: Final = 10.0
MAX_SINGLE: Final = 20
MAX_KINDS: Final = 4096


class _Kind(NamedTuple):
    principal: str
    capsule: str | None
    action: str
    rule: str


class _Window:
    def __init__(self, ends: float) -> None:
        self.ends = ends
        self.seen = 0
        self.since = ""
        self.last: DecisionEvent | None = None


class DenialRecorder:
    """Records refusals. `record` may be called from any thread and never raises.

    Args:
        audit: Where they go.
        clock: Monotonic seconds.
    """

    def __init__(self, audit: AuditTrail, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._audit = audit
        self._clock = clock
        self._lock = threading.Lock()
        self._windows: dict[_Kind, _Window] = {}

    def record(self, event: DecisionEvent) -> None:
        """Record a refusal, now or in the count of its window."""
        if event.allowed:
            return
        kind = _Kind(event.principal, event.capsule, event.action, event.rule)
        now = self._clock()
        with self._lock:
            window = self._windows.get(kind)
            ended = window if window is not None and now >= window.ends else None
            if window is None or ended is not None:
                window = self._windows[kind] = _Window(now + WINDOW_S)
            window.seen += 1
            is_single = window.seen <= MAX_SINGLE
            if not is_single:
                window.since = window.since or format_timestamp(time.time_ns())
                window.last = event
            overfull = [*self._windows.values()] if len(self._windows) > MAX_KINDS else []
            if overfull:
                self._windows = {}
        for other in [*overfull, *([ended] if ended is not None else [])]:
            self._close(other)
        if is_single:
            self._append(event, {})

    def flush(self) -> None:
        """Record the counts of the windows that have ended."""
        now = self._clock()
        with self._lock:
            ended = {kind: w for kind, w in self._windows.items() if now >= w.ends}
            for kind in ended:
                del self._windows[kind]
        for window in ended.values():
            self._close(window)

    def close(self) -> None:
        """Record the counts that are left."""
        with self._lock:
            windows, self._windows = [*self._windows.values()], {}
        for window in windows:
            self._close(window)

    def _close(self, window: _Window) -> None:
        if window.last is not None:
            self._append(window.last, {"count": window.seen - MAX_SINGLE, "since": window.since})

    def _append(self, event: DecisionEvent, extra: dict[str, AuditValue]) -> None:
        facts = {key: value for key, value in event.detail.items() if key == "method"}
        try:
            self._audit.append(
                AuditEntry(
                    timestamp=format_timestamp(time.time_ns()),
                    principal=event.principal,
                    capsule=event.capsule,
                    action=event.action,
                    resource=event.resource,
                    outcome="denied",
                    rule=event.rule,
                    detail={**facts, **extra},
                )
            )
        except AuditError as error:  # it was refused all the same
            logger.error("a refusal could not be recorded: {}", error)
