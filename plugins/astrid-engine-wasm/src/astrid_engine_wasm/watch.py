"""Decides, tick by tick, whether a running guest may go on.

Trusted with deadlines and cancellation: the runtime asks it on the guest's own thread each time a
tick has passed, and whatever it says is why the guest stopped. It knows no store, so that the
callback which the runtime keeps does not keep the store.

Spec: host-abi 16.5, 22.4.
"""

from __future__ import annotations

import enum
import time
from typing import Final

from astrid_hookspecs.cancel import CancelToken

_GO_ON: Final = ("continue", 1)


class Stop(enum.Enum):
    """Why a guest was stopped from outside; the value is the text of the trap."""

    TIMEOUT = "deadline passed"
    CANCELLED = "call cancelled"
    UNLOADED = "capsule unloaded"


class Watch:
    """Judges one instance; started anew for each call.

    Args:
        instance_cancel: The host instance's token. Outside a grace period it stops the guest.
    """

    __slots__ = ("_call_cancel", "_in_grace", "_instance_cancel", "_is_forced", "deadline", "stop")

    def __init__(self, instance_cancel: CancelToken) -> None:
        self._instance_cancel = instance_cancel
        self._call_cancel: CancelToken | None = None
        self._in_grace = False
        self._is_forced = False
        self.deadline: float | None = None
        self.stop: Stop | None = None

    def start(self, *, deadline: float | None, cancel: CancelToken | None) -> None:
        """A call begins.

        Args:
            deadline: `time.monotonic()` value, None for none.
            cancel: The call's own token.
        """
        self.deadline = deadline
        self._call_cancel = cancel
        self.stop = None

    def extend(self, seconds: float) -> None:
        """Move the deadline: that long, a person was thinking."""
        if self.deadline is not None:
            self.deadline += seconds

    def begin_grace(self) -> None:
        """The instance's token is about to fire; let the guest come back by itself."""
        self._in_grace = True

    def force(self) -> None:
        """The grace period is over: stop at the next tick."""
        self._is_forced = True

    def check(self) -> tuple[str, int] | str:
        """The answer to a passed tick, as `ffi.set_epoch_callback` wants it."""
        self.stop = self.verdict()
        return _GO_ON if self.stop is None else self.stop.value

    def verdict(self) -> Stop | None:
        """Why the guest must not go on now, None when it may."""
        if self._is_forced or (self._instance_cancel.is_fired and not self._in_grace):
            return Stop.UNLOADED
        if self._call_cancel is not None and self._call_cancel.is_fired:
            return Stop.CANCELLED
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return Stop.TIMEOUT
        return None
