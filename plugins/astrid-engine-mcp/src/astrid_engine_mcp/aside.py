"""Work that blocks, on threads of its own: looking names up, asking people, asking models.

Trusted with bounds: so many threads, each with a time. The default executor of the loop is no place
for this work, because what waits there keeps everything else from running.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from astrid_hookspecs.errors import GuestLimitError, ServerError

T = TypeVar("T")
_JOIN_S: Final = 2.0


class Aside:
    """Threads for one kind of work. Used on one loop; `close` from any thread.

    Args:
        what: For messages and names of threads.
        threads: How many there are at most; what cannot be interrupted counts until it ends.
    """

    def __init__(self, what: str, *, threads: int) -> None:
        self._what = what
        self._most = threads
        self._threads: set[threading.Thread] = set()

    async def run(self, work: Callable[[], T], *, timeout_s: float | None = None) -> T:
        """Do it on a thread and wait.

        Args:
            work: May block.
            timeout_s: When to give up; the thread ends when its work does.

        Raises:
            GuestLimitError: All threads are busy, or the system has none left.
            ServerError: `engine.server.timeout`.
            Whatever the work raises.
        """
        self._threads = {thread for thread in self._threads if thread.is_alive()}
        if len(self._threads) >= self._most:
            raise GuestLimitError(f"too much is under way: {self._what}", hint="try again later")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if done.done():
                return
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(result)  # type: ignore[arg-type]  # None where T is None

        def main() -> None:
            result, error = None, None
            try:
                result = work()
            except BaseException as caught:  # noqa: BLE001 - raised where it is waited for
                error = caught
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(settle, result, error)

        thread = threading.Thread(target=main, name=f"astrid-mcp {self._what}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise GuestLimitError(f"no thread is left: {self._what}") from error
        self._threads.add(thread)
        try:
            async with asyncio.timeout(timeout_s):
                return await done
        except TimeoutError as error:
            raise ServerError(
                f"{self._what} took longer than {timeout_s:g} s", code="engine.server.timeout"
            ) from error

    def close(self) -> None:
        """Wait a moment for the threads; what cannot be interrupted is left."""
        end = time.monotonic() + _JOIN_S
        for thread in tuple(self._threads):
            thread.join(max(end - time.monotonic(), 0.0))
