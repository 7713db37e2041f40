"""The clock of the machine."""

from __future__ import annotations

import time


class SystemClock:
    """Implements `astrid_core.ports.clock.Clock`."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
    monotonic_ns = staticmethod(time.monotonic_ns)
