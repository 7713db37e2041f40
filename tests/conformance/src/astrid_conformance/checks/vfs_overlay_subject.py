"""What the checks of overlays work on: an overlay over a lower directory with a side door."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from astrid_conformance.check import CheckList, require_equal
from astrid_conformance.checks.vfs_backend import VFS_BACKEND
from astrid_conformance.checks.vfs_doors import DictDoor, SideDoor
from astrid_conformance.checks.vfs_subject import VfsSubject
from astrid_conformance.fakes.vfs import DictDirectory
from astrid_hookspecs.errors import QuotaExceededError, VfsError
from astrid_hookspecs.vfs import OverlaySpec, VfsDirectory, VfsOverlay

OverlayFactory = Callable[[OverlaySpec], VfsOverlay]


@dataclass(frozen=True, slots=True)
class Lower:
    """A lower directory, empty at first.

    Attributes:
        open: Opens a handle of it; the overlay that gets the handle closes it.
        door: Changes it behind the overlay's back.
    """

    open: Callable[[], VfsDirectory]
    door: SideDoor


def dict_lower() -> Lower:
    """A lower directory in memory, with a secret beside it."""
    above = DictDirectory()
    above.mkdir("root")
    above.replace("secret", [b"outside"])
    return Lower(
        partial(above.open_directory, "root"), DictDoor(above.open_directory("root"), above)
    )


class CountingMeter:
    """Implements `VfsMeter` with a limit that a check can set.

    Attributes:
        used: Bytes that are charged.
        limit: How many may be; None for no limit.
    """

    def __init__(self) -> None:
        self.used = 0
        self.limit: int | None = None
        self._lock = threading.Lock()

    def charge(self, growth_bytes: int) -> None:
        """As `VfsMeter.charge`."""
        with self._lock:
            is_over = self.limit is not None and self.used + growth_bytes > self.limit
            if growth_bytes > 0 and is_over:
                raise QuotaExceededError("the limit of the check", rule="quota.storage")
            self.used += growth_bytes


class RefusingDirectory:
    """A lower directory that refuses changes of one path, and passes on everything else.

    Args:
        inner: The directory.
        path: What it refuses.
    """

    def __init__(self, inner: VfsDirectory, path: str) -> None:
        self._inner = inner
        self._path = path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def open(self, path: str, mode: Any) -> Any:
        """As `VfsDirectory.open`."""
        self._refuse(path, is_change=mode != "read")
        return self._inner.open(path, mode)

    def rename(self, source: str, target: str) -> None:
        """As `VfsDirectory.rename`."""
        self._refuse(source, target)
        self._inner.rename(source, target)

    def link(self, source: str, target: str) -> None:
        """As `VfsDirectory.link`."""
        self._refuse(target)
        self._inner.link(source, target)

    def replace(self, path: str, *arguments: Any, **options: Any) -> Any:
        """As `VfsDirectory.replace`."""
        self._refuse(path)
        return self._inner.replace(path, *arguments, **options)

    def unlink(self, path: str, **options: Any) -> None:
        """As `VfsDirectory.unlink`."""
        self._refuse(path)
        self._inner.unlink(path, **options)

    def _refuse(self, *paths: str, is_change: bool = True) -> None:
        if is_change and self._path in paths:
            raise VfsError("this one stays as it is", code="vfs.access")


class OverlaySubject(VfsSubject):
    """An overlay to check.

    Args:
        factory: Of the record.
        directory: For the stores.
        lower: What it lies over.

    Attributes:
        door: Side door of the lower directory.
        meter: Of the first overlay.
        store: Of the first overlay.
    """

    def __init__(self, factory: OverlayFactory, directory: Path, lower: Lower) -> None:
        self.door = lower.door
        self.factory = factory
        self.meter = CountingMeter()
        self.store = directory / "store"
        self._directory = directory
        self._lower = lower
        self._opened: list[VfsOverlay] = []
        self._overlay = self.open("store", self.meter)
        super().__init__(self._overlay, lower.door, writes_through=False)

    @property
    def overlay(self) -> VfsOverlay:
        """The first overlay, as it was opened last."""
        return self._overlay

    def open(
        self, name: str, meter: CountingMeter | None = None, *, refusing: str | None = None
    ) -> VfsOverlay:
        """Open an overlay over the same lower directory.

        Args:
            name: Of the directory of its store.
            meter: Charged by it; None for one of its own.
            refusing: A path that the lower directory refuses to change.
        """
        store = self._directory / name
        store.mkdir(mode=0o700, exist_ok=True)
        lower = self._lower.open()
        if refusing is not None:
            lower = RefusingDirectory(lower, refusing)
        overlay = self.factory(OverlaySpec(lower, store, meter or CountingMeter()))
        self._opened.append(overlay)
        return overlay

    def reopen(self, *, while_closed: Callable[[], object] | None = None) -> VfsOverlay:
        """Close the overlay and open it again in the same store, as after a restart."""
        self._overlay.close()
        if while_closed is not None:
            while_closed()
        self.meter.used = 0
        self._overlay = self.root = self.open("store", self.meter)
        return self._overlay

    def twice(self) -> Iterator[VfsOverlay]:
        """The overlay, and then the same one after it was closed and opened again."""
        yield self._overlay
        yield self.reopen()

    def close(self) -> None:
        """Close every overlay."""
        for overlay in self._opened:
            overlay.close()


@contextlib.contextmanager
def overlay_subject(
    factory: OverlayFactory, directory: Path, lower: Lower | None = None
) -> Iterator[OverlaySubject]:
    """A subject for one check; the lower directory is in memory unless another one is given."""
    subject = OverlaySubject(factory, directory, dict_lower() if lower is None else lower)
    try:
        yield subject
    finally:
        subject.close()


VFS_OVERLAY: Final = CheckList[OverlaySubject]()
VFS_OVERLAY.include(VFS_BACKEND)


def changed(overlay: VfsOverlay, *paths: str) -> dict[str, str]:
    """What differs, by path: the word of the change, with `!` where it is a conflict."""
    found = overlay.changes(paths or ("",))
    return {change.path: change.change + "!" * change.conflict for change in found}


def require_changed(overlay: VfsOverlay, expected: dict[str, str], what: str) -> None:
    """Compare what differs, order included."""
    require_equal(list(changed(overlay).items()), sorted(expected.items()), what)
