"""When a capsule that failed is started again, and when it is given up.

Pure rules: the caller passes the time in and keeps one record per failing capsule. A capsule that
starts and fails again goes on where it was; only one that ran long enough begins anew.

Spec: kernel-and-security 12.3, 16 D-04, D-85.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waiting:
    """It is down and will be started again.

    Attributes:
        tries: How often that was done already, successfully or not.
        due: Monotonic seconds of the next try.
    """

    tries: int
    due: float


@dataclass(frozen=True, slots=True)
class Running:
    """It was started again and has not run long enough yet to be trusted.

    Attributes:
        tries: How often it was started again.
        since: Monotonic seconds of the last start.
    """

    tries: int
    since: float


@dataclass(frozen=True, slots=True)
class Down:
    """It is given up; only a person brings it back.

    Attributes:
        tries: How often it was started again in vain.
    """

    tries: int


Failing = Waiting | Running | Down
"""What is kept about a capsule that failed; there is no record of one that never did."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How patient the kernel is; seconds.

    Attributes:
        first_s: Between the first failure and the first try; each later wait is twice as long.
        most_s: The longest wait.
        tries: How many tries there are.
        settled_s: A capsule that ran for so long is as good as one that never failed.
    """

    first_s: float = 2.0
    most_s: float = 120.0
    tries: int = 5
    settled_s: float = 300.0

    def after_failure(self, record: Failing | None, *, now: float) -> Waiting | Down:
        """A capsule that ran, or a try to start it, has failed.

        Args:
            record: What was kept about it; None for the first failure.
            now: Monotonic seconds.
        """
        tries = 0 if record is None or self.is_settled(record, now=now) else record.tries
        if tries >= self.tries:
            return Down(tries)
        return Waiting(tries, now + min(self.first_s * 2**tries, self.most_s))

    def after_try(self, record: Waiting, *, now: float) -> Running:
        """It was tried; if the try failed, that is a failure of what this returns."""
        return Running(record.tries + 1, now)

    def is_settled(self, record: Failing, *, now: float) -> bool:
        """Whether the record can be forgotten, provided that the capsule still runs."""
        return isinstance(record, Running) and now - record.since >= self.settled_s
