"""Wait for several things at once.

Spec: astrid:io@1.0.0 poll.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from astrid_sdk.bindings import guarded, host_call
from astrid_sdk.held import Held


class Pollable(Held):
    """Something that becomes ready, for example a subscription with a message."""

    @property
    def handle(self) -> Any:
        """What the host knows it by."""
        return self._handle

    def ready(self) -> bool:
        """Whether it is ready now."""
        return bool(guarded("poll", "ready", self._handle.ready))

    def block(self) -> None:
        """Wait until it is ready.

        Raises:
            PollError: `CancelledError` when the host stops the capsule.
        """
        guarded("poll", "block", self._handle.block)


def wait_any(pollables: Sequence[Pollable]) -> list[int]:
    """Wait until at least one of 1 to 256 pollables is ready; indexes of all ready ones, ascending.

    Raises:
        PollError: `CancelledError` when the host stops the capsule; `InvalidInputError` for none,
            `TooLargeError` for too many.
    """
    ready: list[int] = host_call("poll", "poll", [item.handle for item in pollables])
    return ready
