"""The resource `pollable` of `astrid:io/poll@1.0.0`: something that becomes ready.

A pollable is level-triggered and holds nothing of its own: it asks its source, and a source whose
parent is gone counts as ready. A parent that has to outlive its pollables is told when they go.
Spec: host-abi 2.5, 9.1.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from astrid_hookspecs.cancel import WaitSource

MAX_POLLABLES: Final = 256


class _Always:
    """A source that is ready at any time."""

    def is_ready(self) -> bool:
        return True

    def add_waiter(self, event: threading.Event) -> None:
        event.set()

    def remove_waiter(self, event: threading.Event) -> None:
        pass


class Pollable:
    """The resource `pollable`.

    Args:
        source: What it waits for; must answer `is_ready` with True once its parent is gone.
        dropped: Called when the guest gives it up; None where the parent need not know.
    """

    def __init__(self, source: WaitSource, *, dropped: Callable[[], None] | None = None) -> None:
        self.source = source
        self._dropped = dropped

    @classmethod
    def always_ready(cls) -> Pollable:
        """A pollable that is ready at any time."""
        return cls(_Always())

    def drop(self) -> None:
        """Nothing to release: the parent owns the source, and may want to know."""
        if self._dropped is not None:
            self._dropped()
