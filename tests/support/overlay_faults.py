"""Lets a process die at any of the places where an overlay changes something, without a process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from astrid_vfs_overlay.blobs import Blobs, BlobWriter
from astrid_vfs_overlay.database import Database

_CHANGES_LOWER = frozenset({"replace", "unlink", "mkdir", "rmdir", "rename", "symlink"})
_CHANGES_STORE = (
    (Database, "execute"),
    (Blobs, "open"),
    (Blobs, "remove"),
    (BlobWriter, "write"),
)


class KilledError(BaseException):
    """The process died here."""


class Faults:
    """Lets the process die at the n-th place that could change something."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.dead = False

    def pass_by(self) -> None:
        """A place where the process can die; once dead, it does nothing any more."""
        if self.left is not None:
            self.left -= 1
            self.dead |= self.left <= 0
        if self.dead:
            raise KilledError

    def kills(self, act: Callable[[], object], at: int | None) -> bool:
        """Do something in a process that dies at the given place; whether it came that far."""
        self.left = at
        with contextlib.suppress(KilledError):
            act()
        was_killed = self.dead
        self.left, self.dead = None, False
        return was_killed


class DyingLower:
    """A lower directory whose process can die before or after each change."""

    def __init__(self, inner: Any, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return _dying(found, self._faults) if name in _CHANGES_LOWER else found


@contextlib.contextmanager
def dying_stores(faults: Faults) -> Iterator[None]:
    """Every change of every store is a place where the process can die, before it or after it."""
    real = [(owner, name, getattr(owner, name)) for owner, name in _CHANGES_STORE]
    for owner, name, function in real:
        setattr(owner, name, _dying(function, faults))
    try:
        yield
    finally:
        for owner, name, function in real:
            setattr(owner, name, function)


def _dying(function: Any, faults: Faults) -> Any:
    def call(*arguments: object, **options: object) -> object:
        faults.pass_by()
        result = function(*arguments, **options)
        faults.pass_by()
        return result

    return call
