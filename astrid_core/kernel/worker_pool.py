"""Worker threads for guest calls: a bounded number, one hand-over per piece of work.

Trusted with the number of guests that compute at once: it exceeds `size` by no more than the
workers that come back from a wait, and one for each principal that would have none: whoever
computes without end, in as many capsules as it likes, keeps nobody else from running. A worker that
waits inside a host call says so with `blocked()` and another one takes its place, up to a hard cap
on threads.
"""

from __future__ import annotations

import itertools
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, NamedTuple, Protocol

from loguru import logger

from astrid_core.domain.failure_text import failure_text
from astrid_core.kernel.job_queue import JobQueue, Queued
from astrid_hookspecs.values import Principal

DEFAULT_MAX_THREADS: Final = 256
DEFAULT_IDLE_S: Final = 10.0


def default_size() -> int:
    """How many guests compute at once unless configured: two for each processor, at least 4."""
    return max(4, 2 * (os.cpu_count() or 1))


class Job(Protocol):
    """Something with a queue of its own, submitted whenever that queue stops being empty."""

    def run_one(self) -> bool:
        """Do one piece of work on this thread; never raises.

        Returns:
            Whether more is waiting; the pool then calls again, after the jobs that wait already.
        """
        ...


class _Assignment(NamedTuple):
    queued: Queued[Job]
    thread: threading.Thread | None
    """The thread to start for it; None hands it to a thread that idles."""


class _BlockedSection:
    """What `WorkerPool.blocked` returns; one object serves all threads."""

    __slots__ = ("_enter", "_leave")

    def __init__(self, enter: Callable[[], None], leave: Callable[[], None]) -> None:
        self._enter = enter
        self._leave = leave

    def __enter__(self) -> None:
        self._enter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()


class WorkerPool:
    """Daemon threads that run jobs in the order they became ready.

    Each thread of the pool is in one of three states: running (or about to), blocked, or idle. Jobs
    wait while `size` threads are running, but for the first job of a principal. Every method may be
    called from any thread.

    Args:
        size: Threads that run at once; `default_size()` unless given.
        max_threads: Hard cap on threads, blocked and idle ones included.
        idle_s: How long a thread stays without work.
        name: Prefix of thread names.
    """

    def __init__(
        self,
        *,
        size: int | None = None,
        max_threads: int = DEFAULT_MAX_THREADS,
        idle_s: float = DEFAULT_IDLE_S,
        name: str = "astrid-worker",
    ) -> None:
        self._size = max(1, default_size() if size is None else size)
        self._max_threads = max(self._size, max_threads)
        self._idle_s = idle_s
        self._name = name
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._waiting: JobQueue[Job] = JobQueue()
        self._handed: queue.SimpleQueue[Queued[Job] | None] = queue.SimpleQueue()
        """Exactly one entry for each idle thread that was chosen; None ends the thread."""
        self._threads: set[threading.Thread] = set()
        self._running = 0
        self._blocked = 0
        self._idle = 0
        self._is_closed = False
        self._local = threading.local()
        self._section = _BlockedSection(self._enter_blocked, self._leave_blocked)

    def submit(self, job: Job, *, principal: Principal | None = None) -> bool:
        """Run a job soon. Must not be called again for it until `run_one` returned False.

        Args:
            job: The job.
            principal: For whom it works; None for the kernel itself.

        Returns:
            False when the job will not run: the pool is closed, or has no thread and gets none.
        """
        with self._lock:
            if self._is_closed:
                return False
            queued = Queued(job, principal)
            self._waiting.append(queued)
            assignments = self._assign_locked()
        return self._hand_over(assignments) or not self._is_taken_back(queued)

    def blocked(self) -> _BlockedSection:
        """A context for the time that a worker waits: another thread may run in its place.

        May be nested, and used on threads that do not belong to the pool, where it does nothing.
        """
        return self._section

    def close(self, *, timeout_s: float) -> bool:
        """Drop the jobs that wait and end the threads, each after its current piece of work.

        Whoever closes makes running work end, by cancelling it. Closing twice is not an error.

        Args:
            timeout_s: How long to wait for the threads; 0 does not wait.

        Returns:
            Whether every thread ended in time; the calling thread is not counted.
        """
        deadline = time.monotonic() + timeout_s
        with self._lock:
            self._is_closed = True
            self._waiting.clear()
            idle, self._idle = self._idle, 0
            self._running += idle
            threads = self._threads - {threading.current_thread()}
        for _ in range(idle):
            self._handed.put(None)
        for thread in threads:
            _join(thread, deadline=deadline)
        return not any(thread.is_alive() for thread in threads)

    def stats(self) -> Mapping[str, int]:
        """Threads by state and jobs that wait."""
        with self._lock:
            return {
                "threads": len(self._threads),
                "running": self._running,
                "blocked": self._blocked,
                "idle": self._idle,
                "waiting": len(self._waiting),
            }

    def _assign_locked(self) -> list[_Assignment]:
        """Choose threads for the next jobs, as long as one more may run."""
        found: list[_Assignment] = []
        while self._waiting and (self._idle or len(self._threads) < self._max_threads):
            queued = self._waiting.take(has_room=self._running < self._size)
            if queued is None:
                break
            self._running += 1
            thread = None
            if self._idle:
                self._idle -= 1
            else:
                name = f"{self._name}-{next(self._numbers)}"
                thread = threading.Thread(target=self._work, args=(queued,), name=name, daemon=True)
                self._threads.add(thread)
            found.append(_Assignment(queued, thread))
        return found

    def _is_taken_back(self, queued: Queued[Job]) -> bool:
        """Forget a job that no thread is there to take, now or later."""
        with self._lock:
            return not self._threads and self._waiting.discard(queued)

    def _hand_over(self, assignments: list[_Assignment]) -> bool:
        """Whether it went as planned; otherwise a job waits, for a thread that exists."""
        outcomes = [self._is_handed_over(one) for one in assignments]
        return all(outcomes)

    def _is_handed_over(self, assignment: _Assignment) -> bool:
        if assignment.thread is None:
            self._handed.put(assignment.queued)
            return True
        try:
            assignment.thread.start()
        except RuntimeError as error:  # the system has no thread left; a running one takes it later
            with self._lock:
                self._threads.discard(assignment.thread)
                self._running -= 1
                self._waiting.put_back(assignment.queued)
            logger.error("cannot start a worker thread: {}", error)
            return False
        return True

    def _work(self, first: Queued[Job]) -> None:
        self._local.depth = 0
        queued: Queued[Job] | None = first
        while queued is not None:
            self._local.principal = queued.principal
            try:
                more = queued.job.run_one()
            except BaseException as error:  # noqa: BLE001 - one job's fault must not cost a worker
                logger.error(
                    "a job broke its promise not to raise; it is dropped: {}", failure_text(error)
                )
                more = False
            queued = self._next(queued, more=more)
        with self._lock:
            self._threads.discard(threading.current_thread())

    def _next(self, done: Queued[Job], *, more: bool) -> Queued[Job] | None:
        """The job this thread runs next, after a wait where necessary; None ends the thread."""
        with self._lock:
            self._waiting.stop(done.principal)
            if self._is_closed:
                self._running -= 1
                return None
            if more:
                self._waiting.append(done)
            # Above the size, after waits that ended together, threads give their place up.
            following = self._waiting.take(has_room=self._running <= self._size)
            if following is None:
                self._running -= 1
                self._idle += 1
            # The job that is taken may be another principal's than the one that ended.
            others = self._assign_locked() if following is not None else []
        self._hand_over(others)
        if following is not None:
            return following
        try:
            following = self._handed.get(timeout=self._idle_s)
        except queue.Empty:
            with self._lock:
                if self._idle:
                    self._idle -= 1
                    return None
            # No idle thread is left to choose, so this one was chosen just now.
            following = self._handed.get()
        if following is None:
            with self._lock:
                self._running -= 1
        return following

    def _enter_blocked(self) -> None:
        depth = getattr(self._local, "depth", None)
        if depth is None:
            return
        self._local.depth = depth + 1
        if depth:
            return
        with self._lock:
            self._running -= 1
            self._blocked += 1
            self._waiting.stop(self._local.principal)
            assignments = [] if self._is_closed else self._assign_locked()
        self._hand_over(assignments)

    def _leave_blocked(self) -> None:
        depth = getattr(self._local, "depth", None)
        if depth is None:
            return
        self._local.depth = depth - 1
        if depth == 1:
            with self._lock:
                self._blocked -= 1
                self._running += 1
                self._waiting.go_on(self._local.principal)


def _join(thread: threading.Thread, *, deadline: float) -> None:
    while True:
        try:
            thread.join(max(0.0, deadline - time.monotonic()))
        except RuntimeError:  # somebody has made it and is about to start it
            if time.monotonic() >= deadline:
                return
            time.sleep(0.001)
        else:
            return
