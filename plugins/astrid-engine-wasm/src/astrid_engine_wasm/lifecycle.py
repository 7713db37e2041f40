"""The host side of a life-cycle call: the clock stands still while a person answers.

Trusted with the deadline of install and upgrade hooks only.

Spec: host-abi 16.5, 16.8.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from astrid_engine_wasm.watch import Watch
from astrid_hookspecs.engines import MIB, Call, HostInstance, Limits

TIMEOUT_S: Final = 600.0
"""6000 ticks, time inside `elicit` not counted."""
HOST_TIMEOUT_S: Final = 3600.0
"""Waits in host calls end by themselves before this; it is also the most that prompts may add."""
LIMITS: Final = Limits(memory_bytes=64 * MIB, timeout_s=TIMEOUT_S)

_PROMPTING: Final = "astrid:elicit/host@"


class PromptingHost:
    """A `HostInstance` that moves the deadline by the time that prompts take.

    Args:
        host: The kernel's side, which does everything else.
    """

    def __init__(self, host: HostInstance) -> None:
        self._host = host
        self._added_s = 0.0
        self.cancel = host.cancel
        self.ready = host.ready
        self.watch: Watch | None = None

    def handler(self, interface: str, function: str) -> Callable[..., object] | None:
        """As `HostInstance.handler`."""
        handler = self._host.handler(interface, function)
        if handler is None or not interface.startswith(_PROMPTING):
            return handler
        return self._timed(handler)

    def enter(self, call: Call, *, deadline: float | None) -> None:
        """As `HostInstance.enter`."""
        self._host.enter(call, deadline=deadline)

    def leave(self) -> None:
        """As `HostInstance.leave`."""
        self._host.leave()

    def close(self) -> None:
        """As `HostInstance.close`."""
        self._host.close()

    def _timed(self, handler: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            began = time.monotonic()
            try:
                return handler(*arguments)
            finally:
                self._add(time.monotonic() - began)

        return call

    def _add(self, seconds: float) -> None:
        seconds = min(seconds, HOST_TIMEOUT_S - TIMEOUT_S - self._added_s)
        if self.watch is not None and seconds > 0:
            self._added_s += seconds
            self.watch.extend(seconds)
