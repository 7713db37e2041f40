"""What the checks of key-value stores work on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from astrid_conformance.check import CheckList
from astrid_hookspecs.stores import KvStore

NS: Final = "ada:capsule:note-keeper"
OTHER: Final = "bob:capsule:note-keeper"


@dataclass
class KvSubject:
    """A store to check.

    Attributes:
        factory: Of the record.
        directory: Where the store keeps its files; empty, mode 0700.
    """

    factory: Callable[[Path], KvStore]
    directory: Path
    _opened: list[KvStore] = field(default_factory=list, repr=False)

    def open(self) -> KvStore:
        """Open the store; it is closed after the check at the latest."""
        store = self.factory(self.directory)
        self._opened.append(store)
        return store


@contextlib.contextmanager
def kv_subject(factory: Callable[[Path], KvStore], directory: Path) -> Iterator[KvSubject]:
    """A subject for one check."""
    subject = KvSubject(factory, directory)
    try:
        yield subject
    finally:
        for store in subject._opened:
            store.close()


KV_STORE: Final = CheckList[KvSubject]()
