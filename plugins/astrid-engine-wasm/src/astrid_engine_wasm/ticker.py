"""Advances the engine's epoch while guest code runs, and sleeps otherwise.

Trusted with the clock of every deadline: while anyone is inside a guest, a tick comes every
`TICK_S`. One daemon thread; an idle kernel has no wake-ups from it. A burst of short calls wakes it
at most once per tick, so entering a guest costs a lock and no switch of threads.

Spec: host-abi 22.4.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from astrid_hookspecs.engines import TICK_S
from astrid_hookspecs.errors import GuestLimitError


class Ticker:
    """Calls `tick` every `TICK_S` seconds while at least one guest runs.

    Args:
        tick: Called from the ticker's thread.
    """

    def __init__(self, tick: Callable[[], None]) -> None:
        self._tick = tick
        self._lock = threading.Lock()
        self._running = 0
        self._is_asleep = False
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def enter(self) -> None:
        """A guest starts to run; starts or wakes the thread when it has to.

        Raises:
            GuestLimitError: Nothing would stop it: the system has no thread left for the clock.
        """
        with self._lock:
            if self._is_asleep:
                self._is_asleep = False
                self._wake.set()
            elif self._thread is None and not self._closed.is_set():
                self._thread = self._started()
            self._running += 1

    def leave(self) -> None:
        """A guest came back; after the last one the thread goes to sleep at the next tick."""
        with self._lock:
            self._running -= 1

    @property
    def running(self) -> int:
        """How many guests run now."""
        return self._running

    @property
    def is_asleep(self) -> bool:
        """Whether the thread waits for a guest instead of ticking."""
        return self._is_asleep

    def close(self) -> None:
        """Stop and join the thread; nothing ticks any more."""
        with self._lock:
            self._closed.set()
            self._wake.set()
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def _started(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name="astrid-wasm-ticker", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise GuestLimitError(
                "no guest can be run: the system has no thread left for the clock that stops it",
                hint="raise the limit on threads of this user or container",
            ) from error
        return thread

    def _run(self) -> None:
        while not self._closed.is_set():
            with self._lock:
                is_idle = self._running == 0 and not self._closed.is_set()
                if is_idle:
                    self._is_asleep = True
                    self._wake.clear()
            if is_idle:
                self._wake.wait()
            elif not self._closed.wait(TICK_S):
                self._tick()
