"""The resource `pollable` of `astrid:io/poll@1.0.0`: something that becomes ready.

A pollable is level-triggered and holds nothing of its own: it asks its source, and a source whose
parent is gone counts as ready. Spec: host-abi 9.1.
"""

from __future__ import annotations

import threading
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
    """

    def __init__(self, source: WaitSource) -> None:
        self.source = source

    @classmethod
    def always_ready(cls) -> Pollable:
        """A pollable that is ready at any time."""
        return cls(_Always())

    def drop(self) -> None:
        """Nothing to release: the parent owns the source."""
