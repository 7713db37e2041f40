"""Throughput limit of guest publishes: bytes per key in fixed windows of one second.

Trusted with refusing what exceeds a principal's ceiling. A pure state machine: the caller passes
the time in and holds a lock around each call.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

MAX_MESSAGE_BYTES: Final = 5 * 1024 * 1024
DEFAULT_CEILING_BYTES: Final = 10 * 1024 * 1024
WINDOW_S: Final = 1.0

_PRUNE_ABOVE: Final = 1000
_PRUNE_EVERY_S: Final = 60.0
_CROWDED: Final = 10_000
"""From this many keys on, windows are pruned each second: a front end may claim any number of
principals, and each of them is a key."""


class RateLimiter:
    """Bytes that each key used in its current window.

    The key of a guest publish is (source id of the instance, principal); for publish-as, the
    claimed principal. `fits` answers early, in the order that guests observe; `allow` charges, and
    is called last, so that a publish refused for another reason costs nothing [H-15].

    Spec: capsules-and-bus 6.8.
    """

    def __init__(self) -> None:
        self._windows: dict[Hashable, tuple[float, int]] = {}
        self._pruned_at = float("-inf")

    def __len__(self) -> int:
        return len(self._windows)

    def fits(self, key: Hashable, *, size_bytes: int, ceiling_bytes: int, now: float) -> bool:
        """Whether `allow` would accept the message; changes nothing.

        Args:
            key: Whose budget.
            size_bytes: Length of the payload; an empty one always fits.
            ceiling_bytes: Bytes per window, from the principal's profile.
            now: Monotonic time in seconds.
        """
        if size_bytes == 0:
            return True
        if size_bytes > MAX_MESSAGE_BYTES:
            return False
        return self._used(key, now=now)[1] + size_bytes <= ceiling_bytes

    def allow(self, key: Hashable, *, size_bytes: int, ceiling_bytes: int, now: float) -> bool:
        """Charge the message if it fits; arguments as for `fits`.

        Returns:
            False, with nothing charged, when it does not fit.
        """
        if not self.fits(key, size_bytes=size_bytes, ceiling_bytes=ceiling_bytes, now=now):
            return False
        if size_bytes:
            start, used = self._used(key, now=now)
            self._prune(now=now)
            self._windows[key] = (start, used + size_bytes)
        return True

    def _used(self, key: Hashable, *, now: float) -> tuple[float, int]:
        """Start of the key's window and the bytes charged in it."""
        window = self._windows.get(key)
        if window is None or now - window[0] >= WINDOW_S:
            return now, 0
        return window

    def _prune(self, *, now: float) -> None:
        count = len(self._windows)
        pause = WINDOW_S if count > _CROWDED else _PRUNE_EVERY_S
        if count <= _PRUNE_ABOVE or now - self._pruned_at <= pause:
            return
        self._pruned_at = now
        self._windows = {
            key: window for key, window in self._windows.items() if now - window[0] < WINDOW_S
        }
