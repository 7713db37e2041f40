"""Who gives way: a principal with much under way lets one with little go first, for a moment.

Guests compute side by side, but what the kernel does for them shares one interpreter lock. Without
this, each release of that lock is a race that somebody who floods wins as often as everybody else
together. Trusted with brevity: nobody waits longer than `WAIT_S` at a time, or for work that is not
young, so that a flood slows down and never stops, and two who compute for long ignore each other.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from astrid_hookspecs.values import Principal

WAIT_S: Final = 0.002
"""How long one step of a flood waits at most."""
YOUNG_S: Final = 0.01
"""Only for work that came less than this ago does anybody wait."""


class Turns:
    """One per kernel. Safe from any thread.

    Args:
        blocked: Entered while a thread waits.
        monotonic: Seconds that never go back.

    Attributes:
        is_contended: Whether more than one principal has work under way; read without a lock, so
            that a kernel with one active principal pays for nothing else.
    """

    def __init__(
        self,
        *,
        blocked: Callable[[], AbstractContextManager[object]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._blocked = blocked
        self._monotonic = monotonic
        self._under_way: dict[Principal, deque[float]] = {}
        self._changed = threading.Condition()
        self._waiting = 0
        self.is_contended = False

    def join(self, principal: Principal) -> None:
        """Work of a principal was accepted."""
        with self._changed:
            came = self._under_way.get(principal)
            if came is None:
                self._under_way[principal] = deque((self._monotonic(),))
                self.is_contended = len(self._under_way) > 1
            else:
                came.append(self._monotonic())

    def leave(self, principal: Principal) -> None:
        """Work of a principal is done, or will not be."""
        with self._changed:
            came = self._under_way[principal]
            came.popleft()
            if not came:
                del self._under_way[principal]
                self.is_contended = len(self._under_way) > 1
                if self._waiting:
                    self._changed.notify_all()

    def give_way(self, principal: Principal) -> None:
        """Before a step of a principal: wait while somebody with less under way has come."""
        if not self.is_contended:
            return
        deadline = self._monotonic() + WAIT_S
        with self._changed:
            if not self._should_wait(principal):
                return
        with self._blocked(), self._changed:
            self._waiting += 1
            while self._should_wait(principal):
                if not self._changed.wait(max(0.0, deadline - self._monotonic())):
                    break
            self._waiting -= 1

    def _should_wait(self, principal: Principal) -> bool:
        """Whether another one's work is young, and the principal's is more or has run for long."""
        own = self._under_way.get(principal, ())
        young_since = self._monotonic() - YOUNG_S
        has_run_long = not own or own[0] < young_since
        return any(
            came[0] >= young_since and (has_run_long or len(came) < len(own))
            for other, came in self._under_way.items()
            if other != principal
        )
