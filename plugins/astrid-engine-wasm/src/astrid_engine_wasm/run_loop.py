"""A run loop: one instance on a thread of its own, from `start` to unload.

Trusted with the thread: it ends when the guest does, it is stopped by the watch like any other
guest, and whatever happens in it becomes an outcome that the supervisor can ask for.

Spec: host-abi 16.2, 16.7; capsules-and-bus 5.6.
"""

from __future__ import annotations

import enum
import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from astrid_engine_wasm.instance import Instance
from astrid_engine_wasm.scan import RUN
from astrid_hookspecs.engines import Call, Health, Readiness
from astrid_hookspecs.errors import AstridError

_log = logging.getLogger(__name__)

EARLY_RETURN_S: Final = 2.0
"""A `run` that returns before this and before it was ready was no run loop."""
EXITED: Final = "run loop exited"


class Outcome(enum.Enum):
    """How a run loop ended.

    EARLY_RETURN: it returned at once; RETURNED: it returned later; FAILED: it was stopped or
    could not be started.
    """

    EARLY_RETURN = "early-return"
    RETURNED = "returned"
    FAILED = "failed"


class RunLoop:
    """Runs one instance's `run` export.

    Args:
        name: Of the capsule, for the thread and the log.
        instance: Its instance; closed when the loop ends.
        call: Owner, limits and token of the loop.
        on_end: Called on the loop's thread when the guest is gone, before waiters wake.
    """

    def __init__(
        self,
        *,
        name: str,
        instance: Instance,
        call: Call,
        on_end: Callable[[Instance, Outcome, AstridError | None], None],
    ) -> None:
        self._instance = instance
        self._call = call
        self._on_end = on_end
        self._ready = instance.host.ready
        self._was_ready = False
        self._outcome: Outcome | None = None
        self._reason = EXITED
        self._thread = threading.Thread(target=self._main, name=f"astrid-run-{name}", daemon=True)
        self._name = name

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def outcome(self) -> Outcome | None:
        """How it ended, None while it runs."""
        return self._outcome

    def wait_ready(self, *, timeout_s: float) -> Readiness:
        """Wait until the guest signalled readiness or ended."""
        if not self._ready.wait(timeout_s):
            return Readiness.TIMEOUT
        outcome = self._outcome  # set before the event, when it is the end that woke us
        if outcome is None or self._was_ready or outcome is Outcome.EARLY_RETURN:
            return Readiness.READY
        return Readiness.CRASHED

    def health(self) -> Health:
        """Failed once the loop ended, unless it turned out to be none."""
        if self._outcome in (None, Outcome.EARLY_RETURN):
            return Health(ok=True)
        return Health(ok=False, reason=self._reason)

    def join(self, *, timeout_s: float) -> bool:
        """Wait for the thread; False when it still runs."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _main(self) -> None:
        began = time.monotonic()
        error: AstridError | None = None
        try:
            self._instance.call_void(self._call, RUN, timeout_s=None)
        except AstridError as failure:
            error = failure
            self._reason = f"{EXITED}: {failure.message}"
        except BaseException as failure:  # noqa: BLE001 - the supervisor of this thread
            _log.error("run loop of %s failed inside the kernel", self._name, exc_info=failure)
            error = AstridError("the run loop failed inside the kernel")
            self._reason = f"{EXITED}: {error.message}"
        self._was_ready = self._ready.is_set()
        outcome = Outcome.FAILED
        if error is None:
            was_early = not self._was_ready and time.monotonic() - began < EARLY_RETURN_S
            outcome = Outcome.EARLY_RETURN if was_early else Outcome.RETURNED
        try:
            self._on_end(self._instance, outcome, error)
        finally:
            self._outcome = outcome
            self._ready.set()  # wakes whoever waits for readiness
