"""Counts what is held of something bounded, for everybody at once. Any thread may call it.

Trusted with giving back: what was taken counts until whoever took it says that it is over, whatever
became of the instance, the capsule or the caller meanwhile.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from astrid_hookspecs.errors import QuotaExceededError

OwnerT = TypeVar("OwnerT", bound=Hashable)


class Counts(Generic[OwnerT]):
    """How many of something each owner has.

    Args:
        what: In words, for the refusal: `requests that have not ended`.
        rule: What the refusal names.
        most: Of one owner.
        total: Of all owners together; None: as many as there are owners.
    """

    def __init__(self, *, what: str, rule: str, most: int, total: int | None = None) -> None:
        self._what = what
        self._rule = rule
        self._most = most
        self._total = total
        self._lock = threading.Lock()
        self._counts: Counter[OwnerT] = Counter()

    def has_room(self, owner: OwnerT) -> bool:
        """Whether there may be one more now."""
        with self._lock:
            return self._refusal(owner) is None

    def check(self, owner: OwnerT) -> None:
        """Make sure that there may be one more now; it is not counted yet.

        Raises:
            QuotaExceededError: There are too many.
        """
        with self._lock:
            self._check(owner)

    def take(self, owner: OwnerT) -> Callable[[], None]:
        """Count one more.

        Returns:
            To be called when it is over; again does nothing.

        Raises:
            QuotaExceededError: There are too many.
        """
        with self._lock:
            self._check(owner)
            self._counts[owner] += 1
        taken = [owner]

        def over() -> None:
            with self._lock:
                while taken:
                    self._counts[taken.pop()] -= 1
                    if not self._counts[owner]:
                        del self._counts[owner]

        return over

    def _check(self, owner: OwnerT) -> None:
        refusal = self._refusal(owner)
        if refusal is not None:
            raise QuotaExceededError(refusal, rule=self._rule)

    def _refusal(self, owner: OwnerT) -> str | None:
        if self._counts[owner] >= self._most:
            return f"at most {self._most} {self._what} at a time"
        if self._total is not None and self._counts.total() >= self._total:
            return f"at most {self._total} {self._what} of everybody at a time"
        return None
