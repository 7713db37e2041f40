"""A thread that serves descriptors and times: those of processes, or those of clients.

Trusted with living until it is stopped: a confined process dies with the thread that started it. It
never waits for anything else, and never runs guest code.
"""

from __future__ import annotations

import heapq
import itertools
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

from loguru import logger

from astrid_core.domain.failure_text import failure_text
from astrid_core.host.threads import started_thread
from astrid_hookspecs.errors import SandboxError

_T = TypeVar("_T")
_CALL_LIMIT_S: Final = 30.0


class Reactor:
    """Runs callbacks for descriptors and times. Methods without a note may be called anywhere.

    Args:
        serves: What it serves, for the thread's name and for the log.
    """

    def __init__(self, serves: str) -> None:
        self._serves = serves
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._jobs: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None
        self._wake_reader, self._wake_writer = os.pipe()
        for descriptor in (self._wake_reader, self._wake_writer):
            os.set_blocking(descriptor, False)
        self._selector.register(self._wake_reader, selectors.EVENT_READ, self._woken)
        self._stopping = False

    def submit(self, job: Callable[[], None]) -> bool:
        """Run a job on the thread, soon. Jobs of one caller keep their order.

        Returns:
            False when the thread has ended or is about to, and the job is forgotten.

        Raises:
            QuotaExceededError: It would be the first job, and the system has no thread left.
        """
        with self._lock:
            if self._stopping:
                return False
            if self._thread is None:
                self._thread = started_thread(self._run, name=self._serves)
            self._jobs.append(job)
            self._wake()  # before `stop` can close what wakes, whose number may be another file's
        return True

    def call(self, job: Callable[[], _T]) -> _T:
        """Run a job on the thread and wait for what it returns or raises.

        Raises:
            TimeoutError: It was not its turn in time, and never will be: nobody would know what it
                did. Or it takes far too long.
            SandboxError: `kernel.closed`.
        """
        done = threading.Event()
        turn = threading.Lock()  # taken once: by the job, or by who waits no more
        results: list[_T] = []
        errors: list[BaseException] = []

        def run() -> None:
            if not turn.acquire(blocking=False):
                return
            try:
                results.append(job())
            except BaseException as error:  # noqa: BLE001 - handed to who asked
                errors.append(error)
            done.set()

        if not self.submit(run):
            raise SandboxError("the kernel is closing", code="kernel.closed")
        if not done.wait(_CALL_LIMIT_S) and (
            turn.acquire(blocking=False) or not done.wait(_CALL_LIMIT_S)
        ):
            raise TimeoutError(f"{self._serves} are not being served")
        if errors:
            raise errors[0]
        return results[0]

    def after(self, delay_s: float, job: Callable[[], None]) -> None:
        """Run a job on the thread, after a while."""
        due = time.monotonic() + delay_s
        self.submit(lambda: heapq.heappush(self._timers, (due, next(self._numbers), job)))

    def watch(self, descriptor: int, events: int, callback: Callable[[], None]) -> None:
        """Call back while a descriptor is ready; 0 to stop. On the thread only."""
        is_known = descriptor in self._selector.get_map()
        if events == 0:
            if is_known:
                self._selector.unregister(descriptor)
        elif is_known:
            self._selector.modify(descriptor, events, callback)
        else:
            self._selector.register(descriptor, events, callback)

    def stop(self) -> None:
        """End the thread, and with it every process that it started and nobody closed; once."""
        with self._lock:
            self._stopping = True
            thread = self._thread
            self._wake()
        if thread is not None:
            thread.join()
        self._selector.close()
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    def _wake(self) -> None:
        try:
            os.write(self._wake_writer, b"\0")
        except BlockingIOError:
            return  # it is full, so the thread will wake

    def _woken(self) -> None:
        try:
            os.read(self._wake_reader, 4096)
        except BlockingIOError:
            return

    def _run(self) -> None:
        while True:
            with self._lock:
                jobs, self._jobs = self._jobs, deque()
                if self._stopping and not jobs:
                    return
            for job in jobs:
                self._guarded(job)
            while self._timers and self._timers[0][0] <= time.monotonic():
                self._guarded(heapq.heappop(self._timers)[2])
            due = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
            with self._lock:
                is_wanted = bool(self._jobs) or self._stopping
            for key, _ in self._selector.select(0 if is_wanted else due):
                self._guarded(key.data)

    def _guarded(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as error:  # noqa: BLE001 - one of them must not end the service of all
            logger.error("serving {} failed: {}", self._serves, failure_text(error))
