"""The event loop of the engine's connections, on a thread of its own.

Kernel threads hand coroutines over and wait; nothing of a server runs on their threads, and no
guest code runs on this one.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import time
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from astrid_engine_mcp.patience import Patience
from astrid_hookspecs.cancel import CancelToken, wait_any
from astrid_hookspecs.engines import Call
from astrid_hookspecs.errors import GuestCancelledError, GuestTimeoutError

T = TypeVar("T")
_JOIN_S: Final = 5.0
_MOMENT_S: Final = 0.1


class _Done:
    """A future as a wait source."""

    def __init__(self, future: concurrent.futures.Future[Any]) -> None:
        self._future = future
        self._waiters: set[threading.Event] = set()
        future.add_done_callback(self._wake)

    def is_ready(self) -> bool:
        """As `WaitSource.is_ready`."""
        return self._future.done()

    def add_waiter(self, event: threading.Event) -> None:
        """As `WaitSource.add_waiter`."""
        self._waiters.add(event)
        if self._future.done():
            event.set()

    def remove_waiter(self, event: threading.Event) -> None:
        """As `WaitSource.remove_waiter`."""
        self._waiters.discard(event)

    def _wake(self, _future: concurrent.futures.Future[Any]) -> None:
        for event in tuple(self._waiters):
            event.set()


class LoopThread:
    """An event loop on a thread. Every method but coroutines may be called from any other thread.

    The thread outlives every process that it starts, as sandboxes demand.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="astrid-mcp", daemon=True)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Start a coroutine."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def wait(
        self,
        work: Coroutine[Any, Any, T],
        call: Call,
        *,
        stop: CancelToken,
        patience: Patience,
        what: str,
    ) -> T:
        """Run a coroutine and wait for it, for the end of the call, or for its time to pass.

        Args:
            work: Cancelled when nobody waits for it any more.
            call: Whose token and time limit count.
            stop: Fires on unload.
            patience: Knows how much of the time went to others.
            what: For messages.

        Raises:
            GuestCancelledError, GuestTimeoutError: It was given up.
            Whatever the coroutine raises.
        """
        limit_s = call.limits.timeout_s
        deadline = None if limit_s is None else time.monotonic() + limit_s
        future = self.submit(work)
        done = _Done(future)
        stops = (stop,) if call.cancel is None else (stop, call.cancel)
        while not wait_any((*stops, done), timeout_s=_left_s(deadline, patience)):
            if _left_s(deadline, patience) == 0:
                break
        if any(token.is_fired for token in stops):
            future.cancel()
            raise GuestCancelledError(f"{what} was cancelled")
        if not future.done():
            future.cancel()
            raise GuestTimeoutError(
                f"{what} took longer than {limit_s:g} s", hint="the server was told to stop"
            )
        return future.result()

    def finish(self, work: Coroutine[Any, Any, T], *, timeout_s: float) -> T | None:
        """Run a coroutine and wait for it; None when the time was over before it ended."""
        future = self.submit(work)
        with contextlib.suppress(
            concurrent.futures.TimeoutError, concurrent.futures.CancelledError
        ):
            return future.result(timeout_s)
        future.cancel()
        return None

    def close(self) -> None:
        """Cancel what runs, stop the loop and wait for the thread."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()


def _left_s(deadline: float | None, patience: Patience) -> float | None:
    """Seconds until the deadline; a little more than none while others use them."""
    if deadline is None:
        return None
    left_s = deadline + patience.excused_s() - time.monotonic()
    return max(left_s, _MOMENT_S) if left_s > 0 else 0.0
