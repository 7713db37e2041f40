"""What principals use of the processor, measured where their calls run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from astrid_core.domain.cpu_budget import CpuBudget
from astrid_hookspecs.values import Principal


class CpuMeter:
    """One per kernel. Safe from any thread.

    Args:
        monotonic: Seconds that never go back.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._budget = CpuBudget()
        self._lock = threading.Lock()

    def wait_s(self, principal: Principal, *, per_minute: float) -> float:
        """How long the principal has to wait before its next call; 0 for not at all."""
        with self._lock:
            return self._budget.wait_s(principal, per_minute=per_minute, now=self._monotonic())

    def charge(self, principal: Principal, used_s: float, *, per_minute: float) -> None:
        """Add what a call used."""
        with self._lock:
            self._budget.charge(principal, used_s, per_minute=per_minute, now=self._monotonic())
