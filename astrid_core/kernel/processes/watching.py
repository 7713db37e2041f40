"""Tells who watches a process that it has ended, or that it has printed something.

Trusted with two properties: the thread that serves processes never waits for a watcher, and a
process that prints without end makes no more than one event a second. Spec: host-abi 13.5.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable
from typing import Final, NamedTuple, Protocol

from loguru import logger

from astrid_core.domain.failure_text import failure_text
from astrid_core.domain.process_events import EventKind
from astrid_core.host.process_service import RunningProcess, Tell
from astrid_core.host.threads import started_thread

EVENT_S: Final = 1.0
"""Between two events of one kind about one process."""
ROUND_S: Final = 0.02
"""Between two looks at all that is watched."""
_CLOSE_S: Final = 5.0


class Pace:
    """When there was an event about a process; kept with it, as watching again resets nothing."""

    def __init__(self) -> None:
        self._next_s: dict[EventKind, float] = {}

    def wait_s(self, kind: EventKind, now: float) -> float:
        """How long there must be none of this kind; 0 for an event now."""
        return max(0.0, self._next_s.get(kind, now) - now)

    def told(self, kind: EventKind, now: float) -> None:
        """There is one now."""
        self._next_s[kind] = now + EVENT_S


class Watchable(Hashable, Protocol):
    """What can be watched; compared by identity."""

    @property
    def process(self) -> RunningProcess:
        """The process."""
        ...

    @property
    def pace(self) -> Pace:
        """When there was an event about it."""
        ...


class _Watch:
    """One watch.

    Attributes:
        seen: Up to where the output is known to the watcher.
    """

    def __init__(self, target: Watchable, tell: Tell) -> None:
        self.target = target
        self.tell = tell
        self.seen = target.process.output_end - target.process.output_facts()[0]


class _Look(NamedTuple):
    """What there is to tell, if anything, and how long it has to wait."""

    kind: EventKind
    wait_s: float


class Watches:
    """All watches of a process table, served by one thread, which the first one starts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watches: dict[Watchable, _Watch] = {}
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, target: Watchable, tell: Tell) -> None:
        """Tell somebody about a process from now on, instead of whoever was told before.

        Raises:
            QuotaExceededError: It would be the first one, and the system has no thread left.
        """
        fresh = _Watch(target, tell)
        with self._lock:
            if self._closing.is_set():
                return
            if self._thread is None:
                self._thread = started_thread(self._run, name="process-watch")
            self._watches[target] = fresh
            target.process.exited.add_waiter(self._wake)  # which wakes it for the present state

    def unwatch(self, target: Watchable) -> None:
        """Tell nobody any more; an event that is on its way may still arrive."""
        with self._lock:
            self._drop(target)

    def close(self) -> None:
        """Tell nobody about anything any more, and end the thread."""
        self._closing.set()
        with self._lock:
            for target in list(self._watches):
                self._drop(target)
            thread = self._thread
        self._wake.set()
        if thread is not None:
            thread.join(_CLOSE_S)

    def _drop(self, target: Watchable) -> None:
        if self._watches.pop(target, None) is not None:
            target.process.exited.remove_waiter(self._wake)

    def _run(self) -> None:
        due_s: float | None = None
        while True:
            self._wake.wait(due_s)
            if self._closing.wait(ROUND_S):
                return
            self._wake.clear()
            due_s = self._round()

    def _round(self) -> float | None:
        """Tell what can be told now.

        Returns:
            After how many seconds there is more to tell; None when something must happen first.
        """
        with self._lock:
            watches = list(self._watches.values())
        waits = []
        for watch in watches:
            now = time.monotonic()
            look = _look(watch, now)
            if look is None:
                continue
            if look.wait_s > 0:
                waits.append(look.wait_s)
            elif self._note(watch, look.kind, now):
                _tell(watch, look.kind)
        return min(waits, default=None)

    def _note(self, watch: _Watch, kind: EventKind, now: float) -> bool:
        """Whether it is still watched; then the event counts as told."""
        with self._lock:
            if self._watches.get(watch.target) is not watch:
                return False
            watch.target.pace.told(kind, now)
            if kind == "exited":
                self._drop(watch.target)
            else:
                watch.seen = watch.target.process.output_end
            return True


def _look(watch: _Watch, now: float) -> _Look | None:
    process, pace = watch.target.process, watch.target.pace
    if process.exit is not None:
        return _Look("exited", pace.wait_s("exited", now))
    if process.output_end > watch.seen:
        return _Look("log-ready", pace.wait_s("log-ready", now))
    return None


def _tell(watch: _Watch, kind: EventKind) -> None:
    try:
        watch.tell(kind, watch.target.process.exit if kind == "exited" else None)
    except Exception as error:  # noqa: BLE001 - a bus that fails ends nobody else's watch
        logger.error("an event about a process was lost: {}", failure_text(error))
