"""The worker pool: bounds, fairness, waits, idle threads and closing."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator

import pytest

from astrid_core.kernel.worker_pool import WorkerPool, _join, default_size
from astrid_hookspecs.values import Principal

WAIT_S = 20.0


class Tasks:
    """A job with a queue of callables, kept the way owners of jobs keep theirs."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._queue: deque[Callable[[], object]] = deque()
        self._is_ready = False

    def add(self, *tasks: Callable[[], object]) -> bool:
        with self._lock:
            self._queue.extend(tasks)
            if self._is_ready:
                return True
            self._is_ready = True
        return self._pool.submit(self)

    def run_one(self) -> bool:
        with self._lock:
            task = self._queue.popleft()
        task()
        with self._lock:
            self._is_ready = bool(self._queue)
            return self._is_ready


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(size=2, idle_s=WAIT_S, name="test-worker")
    yield pool
    assert pool.close(timeout_s=WAIT_S)


def wait_until(condition: Callable[[], bool]) -> None:
    """For states of other threads that nothing announces: yield until they are reached."""
    deadline = threading.Event()
    timer = threading.Timer(WAIT_S, deadline.set)
    timer.start()
    try:
        while not condition():
            assert not deadline.wait(0.001), "the state was never reached"
    finally:
        timer.cancel()


def test_job_runs_on_a_named_daemon_thread(pool: WorkerPool):
    seen: list[threading.Thread] = []
    done = threading.Event()
    Tasks(pool).add(lambda: (seen.append(threading.current_thread()), done.set()))
    assert done.wait(WAIT_S)
    assert seen[0].name.startswith("test-worker-")
    assert seen[0].daemon


def test_default_size_allows_some_waiting_guests():
    assert default_size() >= 4


def test_tasks_of_one_job_run_in_order_and_never_together(pool: WorkerPool):
    order: list[int] = []
    inside = threading.Semaphore(1)
    overlaps: list[int] = []
    done = threading.Event()
    tasks = Tasks(pool)

    def step(number: int) -> None:
        if not inside.acquire(blocking=False):
            overlaps.append(number)
            return
        order.append(number)
        inside.release()
        if number == 499:
            done.set()

    for number in range(500):
        tasks.add(lambda number=number: step(number))
    assert done.wait(WAIT_S)
    assert order == list(range(500))
    assert not overlaps


def test_no_more_than_size_run_at_once(pool: WorkerPool):
    running, peak, lock = 0, 0, threading.Lock()
    done = threading.Semaphore(0)
    release = threading.Event()
    both_in = threading.Barrier(3)

    def first_wave() -> None:
        both_in.wait(WAIT_S)
        work()

    def work() -> None:
        nonlocal running, peak
        with lock:
            running += 1
            peak = max(peak, running)
        release.wait(WAIT_S)
        with lock:
            running -= 1
        done.release()

    for number in range(12):
        Tasks(pool).add(first_wave if number < 2 else work)
    both_in.wait(WAIT_S)
    assert pool.stats() == {"threads": 2, "running": 2, "blocked": 0, "idle": 0, "waiting": 10}
    release.set()
    for _ in range(12):
        assert done.acquire(timeout=WAIT_S)
    assert peak <= 2


def test_jobs_take_turns():
    pool = WorkerPool(size=1, idle_s=WAIT_S)
    gate, done = threading.Event(), threading.Event()
    order: list[str] = []
    Tasks(pool).add(lambda: gate.wait(WAIT_S))
    greedy, modest = Tasks(pool), Tasks(pool)
    greedy.add(*[lambda: order.append("greedy")] * 3)
    modest.add(lambda: order.append("modest"), lambda: (order.append("modest"), done.set()))
    gate.set()
    assert done.wait(WAIT_S)
    assert order[:4] == ["greedy", "modest", "greedy", "modest"]
    assert pool.close(timeout_s=WAIT_S)


class For:
    """A job that works for a principal until it is let go."""

    def __init__(self, pool: WorkerPool, principal: str, *, waits: bool = False) -> None:
        self.began, self.may_end, self.ended = (threading.Event() for _ in range(3))
        self._section = pool.blocked() if waits else contextlib.nullcontext()
        assert pool.submit(self, principal=Principal(principal))

    def run_one(self) -> bool:
        self.began.set()
        with self._section:
            self.may_end.wait(WAIT_S)
        self.ended.set()
        return False


def test_who_has_nothing_running_is_kept_back_by_nobody(pool: WorkerPool):
    hogs = [For(pool, "mallory") for _ in range(5)]
    assert all(hog.began.wait(WAIT_S) for hog in hogs[:2])
    alices, bobs = [For(pool, "alice") for _ in range(2)], [For(pool, "bob")]
    assert alices[0].began.wait(WAIT_S)
    assert bobs[0].began.wait(WAIT_S)
    assert pool.stats()["waiting"] == 4
    alices[0].may_end.set()
    assert alices[1].began.wait(WAIT_S), "the next is the first again"
    for job in (*alices, *bobs, *hogs):
        job.may_end.set()
    assert all(job.ended.wait(WAIT_S) for job in (*alices, *bobs, *hogs))


def test_a_turn_of_somebody_else_keeps_nobody_back(pool: WorkerPool):
    """One thread ends a job and takes another principal's: whose job ended gets a thread, too."""
    bob, hog = For(pool, "bob"), For(pool, "mallory")
    assert bob.began.wait(WAIT_S)
    assert hog.began.wait(WAIT_S)
    second_hog, second_bob = For(pool, "mallory"), For(pool, "bob")
    bob.may_end.set()
    assert second_hog.began.wait(WAIT_S)
    assert second_bob.began.wait(WAIT_S)
    for job in (hog, second_hog, second_bob):
        job.may_end.set()
    assert all(job.ended.wait(WAIT_S) for job in (hog, second_hog, second_bob))


def test_one_who_waits_has_nothing_running(pool: WorkerPool):
    hogs = [For(pool, "mallory") for _ in range(2)]
    assert all(hog.began.wait(WAIT_S) for hog in hogs)
    waits, computes = For(pool, "alice", waits=True), For(pool, "alice")
    assert waits.began.wait(WAIT_S)
    assert computes.began.wait(WAIT_S)
    waits.may_end.set()
    assert waits.ended.wait(WAIT_S)
    third = For(pool, "alice")
    assert not third.began.wait(0.05), "one runs already"
    computes.may_end.set()
    assert third.began.wait(WAIT_S)
    for job in (third, *hogs):
        job.may_end.set()
    assert all(job.ended.wait(WAIT_S) for job in (third, *hogs))


def test_principals_take_turns_however_many_jobs_one_has():
    pool = WorkerPool(size=1, idle_s=WAIT_S)
    order: list[str] = []
    gate, done = threading.Event(), threading.Event()
    Tasks(pool).add(lambda: gate.wait(WAIT_S))  # the kernel's own: it has a place, and no more
    first = For(pool, "alice")
    assert first.began.wait(WAIT_S)
    for who in ("alice", "alice", "alice", "bob"):
        Noted(pool, who, order, done)
    first.may_end.set()
    gate.set()
    assert done.wait(WAIT_S)
    assert order.index("bob") < 3
    assert pool.close(timeout_s=WAIT_S)


class Noted:
    """A job that notes for whom it ran; `done` at the fourth."""

    def __init__(self, pool: WorkerPool, who: str, order: list[str], done: threading.Event) -> None:
        self._who, self._order, self._done = who, order, done
        pool.submit(self, principal=Principal(who))

    def run_one(self) -> bool:
        self._order.append(self._who)
        if len(self._order) == 4:
            self._done.set()
        return False


def test_blocked_worker_is_replaced_and_the_bound_holds_after_it_returns(pool: WorkerPool):
    unblock, both_blocked = threading.Event(), threading.Barrier(3)
    done = threading.Semaphore(0)

    def waits() -> None:
        with pool.blocked(), pool.blocked():
            both_blocked.wait(WAIT_S)
            unblock.wait(WAIT_S)
        done.release()

    for _ in range(2):
        Tasks(pool).add(waits)
    both_blocked.wait(WAIT_S)
    assert pool.stats()["blocked"] == 2
    assert pool.stats()["running"] == 0

    gate, entered = threading.Event(), threading.Barrier(3)

    def computes() -> None:
        entered.wait(WAIT_S)
        gate.wait(WAIT_S)
        done.release()

    for _ in range(2):
        Tasks(pool).add(computes)
    entered.wait(WAIT_S)  # both run although two workers are held up
    late = threading.Event()
    Tasks(pool).add(late.set)
    assert pool.stats()["waiting"] == 1, "a third one ran beside two computing guests"
    unblock.set()
    for _ in range(2):
        assert done.acquire(timeout=WAIT_S)
    wait_until(lambda: pool.stats()["running"] == 2)
    assert not late.is_set(), "workers that came back took more work above the bound"
    gate.set()
    assert late.wait(WAIT_S)


def test_waiting_job_starts_when_a_worker_blocks():
    pool = WorkerPool(size=1, idle_s=WAIT_S)
    other_ran, entered = threading.Event(), threading.Event()
    blocked_saw: list[bool] = []
    go = threading.Event()

    def waits() -> None:
        entered.set()
        go.wait(WAIT_S)
        with pool.blocked():
            blocked_saw.append(other_ran.wait(WAIT_S))

    Tasks(pool).add(waits)
    assert entered.wait(WAIT_S)
    Tasks(pool).add(other_ran.set)
    assert pool.stats()["waiting"] == 1
    go.set()
    assert other_ran.wait(WAIT_S)
    assert pool.close(timeout_s=WAIT_S)
    assert blocked_saw == [True]


def test_hard_cap_on_threads_holds_while_all_are_blocked():
    pool = WorkerPool(size=1, max_threads=3, idle_s=WAIT_S)
    unblock, blocked = threading.Event(), threading.Barrier(4)
    done = threading.Semaphore(0)

    def waits() -> None:
        with pool.blocked():
            blocked.wait(WAIT_S)
            unblock.wait(WAIT_S)
        done.release()

    for _ in range(3):
        Tasks(pool).add(waits)
    blocked.wait(WAIT_S)
    Tasks(pool).add(done.release)
    assert pool.stats() == {"threads": 3, "running": 0, "blocked": 3, "idle": 0, "waiting": 1}
    unblock.set()
    for _ in range(4):
        assert done.acquire(timeout=WAIT_S)
    assert pool.close(timeout_s=WAIT_S)


def test_blocked_does_nothing_on_other_threads(pool: WorkerPool):
    before = pool.stats()
    with pool.blocked():
        assert pool.stats() == before
    assert pool.stats() == before


def test_idle_threads_end():
    pool = WorkerPool(size=2, idle_s=0.01)
    done = threading.Event()
    Tasks(pool).add(done.set)
    assert done.wait(WAIT_S)
    wait_until(lambda: pool.stats()["threads"] == 0)
    assert pool.stats()["idle"] == 0
    again = threading.Event()
    Tasks(pool).add(again.set)
    assert again.wait(WAIT_S), "the pool does not come back after its threads ended"
    assert pool.close(timeout_s=WAIT_S)


def test_work_racing_with_idle_exit_is_never_lost():
    pool = WorkerPool(size=4, idle_s=0.0001)
    finished: Counter[int] = Counter()
    lock = threading.Lock()
    left = threading.Semaphore(0)

    def work(number: int) -> None:
        with lock:
            finished[number] += 1
        left.release()

    for number in range(1500):
        Tasks(pool).add(lambda number=number: work(number))
        if number % 3 == 0:
            assert left.acquire(timeout=WAIT_S)
    for _ in range(1000):
        assert left.acquire(timeout=WAIT_S)
    assert finished == Counter(range(1500))
    assert pool.close(timeout_s=WAIT_S)


@pytest.mark.parametrize("error", [ValueError("broken"), SystemExit(0)])
def test_failing_job_costs_no_worker(pool: WorkerPool, error: BaseException):
    def fails() -> None:
        raise error

    for _ in range(10):
        Tasks(pool).add(fails)
    done = threading.Event()
    Tasks(pool).add(done.set)
    assert done.wait(WAIT_S)
    assert pool.stats()["threads"] <= 2


def test_failure_to_start_a_thread_keeps_work_only_for_a_thread_that_exists(
    pool: WorkerPool, monkeypatch: pytest.MonkeyPatch
):
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    ran: list[str] = []
    entered, gate, done = threading.Event(), threading.Event(), threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert not Tasks(pool).add(lambda: ran.append("nobody"))
    assert pool.stats() == {"threads": 0, "running": 0, "blocked": 0, "idle": 0, "waiting": 0}
    assert Tasks(pool).add(lambda: (entered.set(), gate.wait(WAIT_S)))
    assert entered.wait(WAIT_S)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert Tasks(pool).add(lambda: (ran.append("kept"), done.set()))
    gate.set()
    assert done.wait(WAIT_S)
    assert ran == ["kept"]


def test_closing_ends_idle_threads_and_drops_what_waits():
    pool = WorkerPool(size=1, idle_s=WAIT_S)
    gate, entered = threading.Event(), threading.Event()
    ran: list[str] = []
    Tasks(pool).add(lambda: (entered.set(), gate.wait(WAIT_S)))
    assert entered.wait(WAIT_S)
    Tasks(pool).add(lambda: ran.append("waited"))
    assert not pool.close(timeout_s=0), "a busy thread counts as not ended"
    assert not Tasks(pool).add(lambda: ran.append("late"))
    gate.set()
    assert pool.close(timeout_s=WAIT_S)
    assert ran == []
    assert pool.stats() == {"threads": 0, "running": 0, "blocked": 0, "idle": 0, "waiting": 0}


def test_closing_wakes_every_idle_thread():
    pool = WorkerPool(size=4, idle_s=WAIT_S)
    together = threading.Barrier(5)
    for _ in range(4):
        Tasks(pool).add(lambda: together.wait(WAIT_S))
    together.wait(WAIT_S)
    wait_until(lambda: pool.stats()["idle"] == 4)
    assert pool.close(timeout_s=WAIT_S)
    assert pool.stats()["threads"] == 0


def test_closing_from_a_worker_does_not_wait_for_itself():
    pool = WorkerPool(size=2, idle_s=WAIT_S)
    results: list[bool] = []
    done = threading.Event()
    Tasks(pool).add(lambda: (results.append(pool.close(timeout_s=WAIT_S)), done.set()))
    assert done.wait(WAIT_S)
    assert results == [True]


def test_closing_while_a_worker_is_blocked_starts_no_thread():
    pool = WorkerPool(size=1, idle_s=WAIT_S)
    entered, go = threading.Event(), threading.Event()

    def waits() -> None:
        entered.set()
        go.wait(WAIT_S)
        with pool.blocked():
            pass

    Tasks(pool).add(waits)
    assert entered.wait(WAIT_S)
    pool.close(timeout_s=0)
    go.set()
    assert pool.close(timeout_s=WAIT_S)
    assert pool.stats()["threads"] == 0


def test_many_jobs_under_load_run_each_task_once_with_waits_in_between():
    pool = WorkerPool(size=3, max_threads=8, idle_s=0.001)
    jobs = [Tasks(pool) for _ in range(20)]
    log: list[list[int]] = [[] for _ in jobs]
    left = threading.Semaphore(0)
    start = threading.Barrier(4)

    def work(job: int, number: int) -> None:
        if number % 5 == 0:
            with pool.blocked():
                log[job].append(number)
        else:
            log[job].append(number)
        left.release()

    def feed(jobs_of_thread: range) -> None:
        start.wait(WAIT_S)
        for number in range(60):
            for job in jobs_of_thread:
                jobs[job].add(lambda job=job, number=number: work(job, number))

    feeders = [threading.Thread(target=feed, args=(range(n, 20, 4),)) for n in range(4)]
    for feeder in feeders:
        feeder.start()
    for _ in range(20 * 60):
        assert left.acquire(timeout=WAIT_S)
    for feeder in feeders:
        feeder.join(WAIT_S)
    assert log == [list(range(60))] * 20
    assert pool.stats()["threads"] <= 8
    assert pool.close(timeout_s=WAIT_S)
    assert pool.stats() == {"threads": 0, "running": 0, "blocked": 0, "idle": 0, "waiting": 0}


def test_close_waits_for_a_thread_that_is_about_to_be_started() -> None:
    thread = threading.Thread(target=lambda: None)
    starter = threading.Timer(0.02, thread.start)
    starter.start()
    _join(thread, deadline=time.monotonic() + 5)
    starter.join()
    assert thread.ident is not None
    assert not thread.is_alive()
    never = threading.Thread(target=lambda: None)
    _join(never, deadline=time.monotonic())
    assert never.ident is None
