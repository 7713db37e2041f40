"""Jobs that wait for a thread, by whose they are: nobody's many jobs keep another's first one back.

Trusted with the choice: it is one principal after the other, and where as much runs as should,
those that have nothing running are still next. Its owner holds a lock around each call.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from typing import Generic, NamedTuple, TypeVar

from astrid_hookspecs.values import Principal

JobT = TypeVar("JobT")


class Queued(NamedTuple, Generic[JobT]):
    """A job, and for whom it works; None for the kernel itself."""

    job: JobT
    principal: Principal | None


class JobQueue(Generic[JobT]):
    """Jobs in the order in which they came, for each principal, and how many of each run."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[Principal | None, deque[JobT]] = OrderedDict()
        self._running: Counter[Principal | None] = Counter()
        self._kept_back: dict[Principal, None] = {}
        """Principals that wait and have nothing running, in the order in which that came to be."""

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def append(self, queued: Queued[JobT]) -> None:
        """Add the newest job of a principal."""
        self._jobs(queued.principal).append(queued.job)

    def put_back(self, queued: Queued[JobT]) -> None:
        """A job that was taken does not run: it is the next of its principal again."""
        self._jobs(queued.principal).appendleft(queued.job)
        self.stop(queued.principal)

    def take(self, *, has_room: bool) -> Queued[JobT] | None:
        """The next job, which counts as running from now on.

        Args:
            has_room: Whether less runs than should; without, only who has nothing running is next.
        """
        turns = self._waiting if has_room else self._kept_back
        if not turns:
            return None
        principal = next(iter(turns))
        jobs = self._waiting[principal]
        job = jobs.popleft()
        if jobs:
            self._waiting.move_to_end(principal)
        else:
            del self._waiting[principal]
        self.go_on(principal)
        return Queued(job, principal)

    def go_on(self, principal: Principal | None) -> None:
        """One more job of a principal runs."""
        self._running[principal] += 1
        if principal is not None:
            self._kept_back.pop(principal, None)

    def stop(self, principal: Principal | None) -> None:
        """One job of a principal less runs: it is over, or waits for something."""
        self._running[principal] -= 1
        if not self._running[principal]:
            del self._running[principal]
            if principal is not None and principal in self._waiting:
                self._kept_back[principal] = None

    def discard(self, queued: Queued[JobT]) -> bool:
        """Forget a job that waits; False when it does not."""
        jobs = self._waiting.get(queued.principal, ())
        if queued.job not in jobs:
            return False
        self._waiting[queued.principal].remove(queued.job)
        if not self._waiting[queued.principal]:
            del self._waiting[queued.principal]
            if queued.principal is not None:
                self._kept_back.pop(queued.principal, None)
        return True

    def clear(self) -> None:
        """Forget every job that waits."""
        self._waiting.clear()
        self._kept_back.clear()

    def _jobs(self, principal: Principal | None) -> deque[JobT]:
        jobs = self._waiting.get(principal)
        if jobs is None:
            jobs = self._waiting[principal] = deque()
            if principal is not None and principal not in self._running:
                self._kept_back[principal] = None
        return jobs
