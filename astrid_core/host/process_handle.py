"""The resource `process-handle`: a running process in a guest's hands. Spec: host-abi 13.4."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

from astrid_core.host.pollable import Pollable
from astrid_core.host.process_service import RunningProcess
from astrid_hookspecs.cancel import WaitSource
from astrid_hookspecs.engines import WitError
from astrid_hookspecs.values import Principal


class ProcessHandle:
    """A process, for the principal it was started for.

    Args:
        process: Ended with the handle when `owned`.
        owned: Whether it lives and dies with the handle; otherwise dropping lets go of it.
        dropped: Told when the guest is done with it.

    Attributes:
        written_bytes: Input that went through the handle.
    """

    def __init__(
        self, process: RunningProcess, *, owned: bool, dropped: Callable[[ProcessHandle], None]
    ) -> None:
        self.owned = owned
        self.written_bytes = len(process.launch.request.stdin or b"")
        self._process = process
        self._dropped = dropped
        self._is_open = True

    def check_use(self, principal: Principal) -> RunningProcess:
        """The process, if the handle serves this principal; a run loop serves many.

        Raises:
            WitError: `closed`, `capability-denied`.
        """
        if not self._is_open:
            raise WitError("closed")
        if principal != self._process.launch.principal:
            raise WitError("capability-denied")
        return self._process

    def pollable(self, what: Literal["exited", "has_output"]) -> Pollable:
        """Something that becomes ready with the process, and is when the handle is gone."""
        return Pollable(_WhileOpen(getattr(self._process, what), lambda: self._is_open))

    def drop(self) -> None:
        """As `HostResource.drop`."""
        if self._is_open:
            self._is_open = False
            if self.owned:
                self._process.close()
            self._dropped(self)


class _WhileOpen:
    """A source that is ready once its parent is gone."""

    def __init__(self, source: WaitSource, is_open: Callable[[], bool]) -> None:
        self._source = source
        self._is_open = is_open

    def is_ready(self) -> bool:
        return not self._is_open() or self._source.is_ready()

    def add_waiter(self, event: threading.Event) -> None:
        self._source.add_waiter(event)

    def remove_waiter(self, event: threading.Event) -> None:
        self._source.remove_waiter(event)
