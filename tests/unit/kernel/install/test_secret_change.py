"""Secrets of an installation that failed are taken back, each for itself."""

from __future__ import annotations

import pytest

from astrid_core.kernel.install.answers import SecretChange
from astrid_hookspecs.errors import SecretError

SCOPE = "default/notes"


class Store:
    """Secrets in memory; some cannot be changed."""

    def __init__(self) -> None:
        self.values = {"one": b"old", "two": b"old"}
        self.stuck: set[str] = set()

    def get(self, _scope: str, name: str) -> bytes | None:
        return self.values.get(name)

    def set(self, _scope: str, name: str, value: bytes) -> None:
        self._check(name)
        self.values[name] = value

    def delete(self, _scope: str, name: str) -> bool:
        self._check(name)
        return self.values.pop(name, None) is not None

    def names(self, _scope: str) -> list[str]:
        return sorted(self.values)

    def _check(self, name: str) -> None:
        if name in self.stuck:
            raise SecretError(f"{name} is stuck")


def test_a_secret_that_cannot_be_taken_back_holds_up_no_other() -> None:
    store = Store()
    change = SecretChange(store, SCOPE)
    change.set({"one": "new", "two": "new", "three": "new"})
    store.stuck = {"one"}
    with pytest.raises(SecretError, match="one is stuck"):
        change.undo()
    assert store.values == {"one": b"new", "two": b"old"}
    store.stuck = set()
    change.undo()
    assert store.values == {"one": b"old", "two": b"old"}
