"""What guests without a kernel around them act on: a real store, bus, gate and logs."""

from __future__ import annotations

import contextlib
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from astrid_core.builtin.memory_bus import MemoryBus
from astrid_core.builtin.sqlite_kv import SqliteKvStore
from astrid_core.builtin.system_clock import SystemClock
from astrid_core.host.services import HostServices
from astrid_core.kernel.logs import CapsuleLogs
from astrid_core.kernel.profiles import ProfileStore
from astrid_core.security.gate import Gate
from astrid_hookspecs.events import DecisionEvent


def guest_services(
    base: Path, release: ExitStack, *, decisions: list[DecisionEvent], **more: Any
) -> HostServices:
    """Services in a directory.

    Args:
        base: Where they keep what they keep.
        release: Ends them.
        decisions: Gets what the gate refuses.
        more: Further fields of the services.
    """
    kv, bus = SqliteKvStore(base), MemoryBus()
    release.callback(kv.close)
    release.callback(bus.close)
    logs = CapsuleLogs(base / "homes", clock=SystemClock())
    release.callback(logs.close)
    return HostServices(
        kv=kv,
        bus=bus,
        gate=Gate(votes=None, decided=decisions.append),
        profiles=ProfileStore(base / "profiles"),
        clock=SystemClock(),
        random_bytes=os.urandom,
        logs=logs,
        blocked=contextlib.nullcontext,
        **more,
    )
