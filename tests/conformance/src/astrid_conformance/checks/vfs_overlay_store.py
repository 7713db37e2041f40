"""Checks for the store of an overlay: what survives, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from astrid_conformance.check import require, require_equal, require_raises
from astrid_conformance.checks.vfs_overlay_subject import (
    VFS_OVERLAY,
    CountingMeter,
    OverlayFactory,
    OverlaySubject,
    require_changed,
)
from astrid_conformance.checks.vfs_subject import read, tree, write
from astrid_conformance.child import in_second_process, step
from astrid_conformance.fakes.vfs import DictDirectory
from astrid_hookspecs.errors import QuotaExceededError
from astrid_hookspecs.vfs import OverlaySpec, VfsOverlay

_SIZE = 10_000


@VFS_OVERLAY.required
def changes_survive_closing(subject: OverlaySubject) -> None:
    """An overlay that is opened in the same store again shows what it showed."""
    for path in ("d", "d/sub"):
        subject.door.mkdir(path)
    for path in ("a", "b", "d/x", "d/sub/y"):
        subject.door.write(path, path.encode())
    overlay = subject.overlay
    write(overlay, "a", b"modified")
    overlay.unlink("b")
    overlay.rename("d/sub", "moved")
    overlay.mkdir("d/sub")
    overlay.replace("d/sub/new", [b"new"])
    shown, before, size = tree(overlay), overlay.changes(), overlay.usage_bytes()
    for _ in range(2):
        again = subject.reopen()
        require_equal(tree(again), shown, "everything after reopening")
        require_equal(again.changes(), before, "changes after reopening")
        require_equal(again.usage_bytes(), size, "bytes in the store after reopening")
        require_equal(subject.meter.used, size, "bytes charged after reopening")


@VFS_OVERLAY.required
def changes_survive_a_crash(subject: OverlaySubject) -> None:
    """What another process did, and never closed, is there when the store is opened again."""
    steps = [
        step("mkdir", "d"),
        step("replace", "d/file", [b"one ", b"two"]),
        step("replace", "gone", [b"x"]),
        step("unlink", "gone"),
        step("rename", "d", "moved"),
    ]
    overlay = subject.overlay
    overlay.close()
    opened = partial(open_for_child, subject.factory)
    in_second_process(opened, subject.store, steps=steps, crash=True)
    again = subject.reopen()
    require_equal(tree(again), {"moved": "directory", "moved/file": b"one two"}, "everything")
    require_changed(again, {"moved": "added", "moved/file": "added"}, "changes")


@VFS_OVERLAY.required
def content_is_charged_and_given_back(subject: OverlaySubject) -> None:
    """The meter is charged with what the store holds, and gets back what goes."""
    subject.door.write("lower", b"x" * _SIZE)
    overlay, meter = subject.overlay, subject.meter

    def require_used(expected: int, what: str) -> None:
        require_equal(overlay.usage_bytes(), expected, f"bytes in the store after {what}")
        require_equal(meter.used, expected, f"bytes charged after {what}")

    require_used(0, "nothing")
    read(overlay, "lower")
    require_used(0, "reading")
    write(overlay, "new", b"x" * _SIZE)
    require_used(_SIZE, "a new file")
    file = overlay.open("new", "read-write")
    file.write_at(_SIZE - 10, b"y" * 20)
    require_used(_SIZE + 10, "growing in place")
    file.truncate(100)
    require_used(100, "a cut")
    file.close()
    overlay.replace("new", [b"z" * 70])
    require_used(70, "a smaller replacement")
    overlay.rename("new", "renamed")
    require_used(70, "a rename")
    file = overlay.open("lower", "append")
    file.write_at(0, b"y")
    file.close()
    require_used(70 + _SIZE + 1, "copying a lower file up")
    overlay.unlink("lower")
    require_used(70, "removing it")
    overlay.rollback()
    require_used(0, "a rollback")


@VFS_OVERLAY.required
def a_refused_charge_changes_nothing(subject: OverlaySubject) -> None:
    """What does not fit raises `QuotaExceededError`, and everything stays as it was."""
    subject.door.write("lower", b"x" * _SIZE)
    overlay, meter = subject.overlay, subject.meter
    write(overlay, "file", b"old")
    meter.limit = 100
    file = overlay.open("file", "read-write")
    calls: dict[str, Callable[[], object]] = {
        "a write": partial(file.write_at, 3, b"x" * _SIZE),
        "extending": partial(file.truncate, _SIZE),
        "a replacement": partial(overlay.replace, "file", [b"x" * 60, b"y" * 60]),
        "a new file": partial(overlay.replace, "new", [b"x" * _SIZE]),
        "copying up": partial(_append, overlay, "lower"),
    }
    for name, call in calls.items():
        require_raises(QuotaExceededError, call, f"{name} beyond the limit")
        require_equal(overlay.usage_bytes(), 3, f"bytes in the store after {name}")
        require_equal(meter.used, 3, f"bytes charged after {name}")
    file.close()
    require_equal(tree(overlay), {"file": b"old", "lower": b"x" * _SIZE}, "everything")
    require_changed(overlay, {"file": "added"}, "changes")
    meter.limit = None
    overlay.replace("file", [b"x" * _SIZE])
    require_equal(meter.used, _SIZE, "bytes charged once there is room")


@VFS_OVERLAY.required
def the_store_keeps_to_itself(subject: OverlaySubject) -> None:
    """Nobody else can read the store, and nothing beside it is touched."""
    write(subject.overlay, "file", b"private")
    subject.overlay.mkdir("directory")
    subject.reopen()
    require_equal(sorted(path.name for path in subject.store.parent.iterdir()), ["store"], "stores")
    require(subject.store.lstat().st_mode & 0o077 == 0, "others can look into the store")
    for path in subject.store.rglob("*"):
        require(path.lstat().st_uid == subject.store.lstat().st_uid, f"{path.name} is foreign")


def open_for_child(factory: OverlayFactory, store: Path) -> VfsOverlay:
    """Open an overlay over an empty directory; another process has to find this."""
    store.mkdir(mode=0o700, exist_ok=True)
    return factory(OverlaySpec(DictDirectory(), store, CountingMeter()))


def _append(overlay: VfsOverlay, path: str) -> None:
    file = overlay.open(path, "append")
    try:
        file.write_at(0, b"y")
    finally:
        file.close()
