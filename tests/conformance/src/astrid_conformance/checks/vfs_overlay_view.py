"""Checks for what an overlay shows: both layers as one tree, and the lower one untouched."""

from __future__ import annotations

from functools import partial

from astrid_conformance.check import require_equal
from astrid_conformance.checks.vfs_overlay_subject import (
    VFS_OVERLAY,
    OverlaySubject,
    require_changed,
)
from astrid_conformance.checks.vfs_subject import names, read, require_code, tree, write


def _furnish(subject: OverlaySubject) -> dict[str, bytes | str]:
    """Put a small tree into the lower directory, and return it."""
    door = subject.door
    for path in ("d", "d/sub", "empty"):
        door.mkdir(path)
    for path in ("a", "d/x", "d/sub/y"):
        door.write(path, path.encode())
    return door.tree()


@VFS_OVERLAY.required
def nothing_reaches_the_lower_layer(subject: OverlaySubject) -> None:
    """Whatever is done to the overlay, the lower directory stays as it is until a commit."""
    lower, outside = _furnish(subject), subject.door.outside()
    overlay = subject.overlay
    write(overlay, "a", b"changed")
    write(overlay, "new", b"new")
    overlay.replace("d/x", [b"replaced"], mode=0o600)
    overlay.mkdir("made")
    overlay.rename("d/sub", "made/sub")
    overlay.unlink("made/sub/y")
    overlay.rmdir("empty")
    file = overlay.open("d/x", "append")
    file.write_at(0, b" and more")
    file.sync(metadata=True)
    file.close()
    require_equal(subject.door.tree(), lower, "the lower directory")
    subject.reopen()
    require_equal(subject.door.tree(), lower, "the lower directory after reopening")
    require_equal(subject.door.outside(), outside, "what is outside the lower directory")


@VFS_OVERLAY.required
def the_lower_layer_shows_through(subject: OverlaySubject) -> None:
    """What the overlay has not changed is as the lower directory has it, now."""
    lower = _furnish(subject)
    require_equal(tree(subject.overlay), lower, "everything")
    write(subject.overlay, "d/new", b"new")
    subject.door.write("a", b"changed below")
    subject.door.write("d/later", b"later")
    require_equal(read(subject.overlay, "a"), b"changed below", "a file that changed below")
    require_equal(read(subject.overlay, "d/later"), b"later", "a file that came below")
    require_equal(names(subject.overlay, "d"), ["later", "new", "sub", "x"], "names of both layers")
    require_changed(subject.overlay, {"d/new": "added"}, "changes")


@VFS_OVERLAY.required
def what_is_written_covers_the_lower_layer(subject: OverlaySubject) -> None:
    """A changed file shows the overlay's content, whatever happens below."""
    _furnish(subject)
    overlay = subject.overlay
    file = overlay.open("a", "read-write")
    require_equal(file.read_at(0, 9), b"a", "content of a lower file")
    file.write_at(1, b"bc")
    file.close()
    require_equal(read(overlay, "a"), b"abc", "content after a write in place")
    subject.door.write("a", b"changed below")
    require_equal(read(overlay, "a"), b"abc", "content after a change below")
    subject.door.remove("a")
    require_equal(read(overlay, "a"), b"abc", "content after a removal below")


@VFS_OVERLAY.required
def listings_merge_both_layers(subject: OverlaySubject) -> None:
    """Pages have the names of both layers once each, without those that are removed."""
    for name in ("b", "d", "f", "é"):
        subject.door.write(name, b"")
    for name in ("a", "c", "d", "z"):
        write(subject.overlay, name, b"")
    subject.overlay.unlink("b")
    expected = ["a", "c", "d", "f", "z", "é"]
    found: list[str] = []
    while page := subject.overlay.names("", after=found[-1] if found else None, limit=2):
        found += page
    require_equal(found, expected, "names, page by page")


@VFS_OVERLAY.required
def removed_names_stay_away(subject: OverlaySubject) -> None:
    """A lower file or directory that was removed is gone for the overlay, and only there."""
    lower = _furnish(subject)
    overlay = subject.overlay
    overlay.unlink("a")
    overlay.unlink("d/sub/y")
    overlay.rmdir("d/sub")
    for view in subject.twice():
        for path in ("a", "d/sub", "d/sub/y"):
            require_code("not-found", partial(view.stat, path), f"stat of {path}")
        require_code("not-found", partial(view.open, "a", "read"), "open of a removed file")
        require_equal(names(view), ["d", "empty"], "names")
        require_equal(names(view, "d"), ["x"], "names in a directory")
    require_equal(subject.door.tree(), lower, "the lower directory")


@VFS_OVERLAY.required
def directories_made_again_are_empty(subject: OverlaySubject) -> None:
    """A directory that was removed and made again shows nothing of the lower one."""
    _furnish(subject)
    overlay = subject.overlay
    overlay.unlink("d/sub/y")
    overlay.rmdir("d/sub")
    overlay.mkdir("d/sub")
    write(overlay, "d/sub/mine", b"mine")
    for view in subject.twice():
        require_equal(names(view, "d/sub"), ["mine"], "names")
        require_code("not-found", partial(view.stat, "d/sub/y"), "stat of an old name")
    expected = {"d/sub/mine": "added", "d/sub/y": "deleted"}
    require_changed(subject.overlay, expected, "changes")


@VFS_OVERLAY.required
def lower_directories_can_be_renamed(subject: OverlaySubject) -> None:
    """A directory of the lower layer moves with all below it, changed or not."""
    lower = _furnish(subject)
    overlay = subject.overlay
    write(overlay, "d/new", b"new")
    overlay.unlink("d/x")
    overlay.rename("d", "moved")
    expected = {"moved/sub": "directory", "moved/sub/y": b"d/sub/y", "moved/new": b"new"}
    expected |= {"a": b"a", "empty": "directory", "moved": "directory"}
    for view in subject.twice():
        require_equal(tree(view), expected, "everything")
        require_code("not-found", partial(view.stat, "d/sub/y"), "stat at the old place")
    subject.overlay.mkdir("d")
    require_equal(names(subject.overlay, "d"), [], "names of a new directory at the old place")
    require_equal(subject.door.tree(), lower, "the lower directory")


@VFS_OVERLAY.required
def kinds_can_change(subject: OverlaySubject) -> None:
    """A file takes the place of a lower directory, and the other way round."""
    _furnish(subject)
    overlay = subject.overlay
    overlay.rmdir("empty")
    write(overlay, "empty", b"now a file")
    overlay.unlink("a")
    overlay.mkdir("a")
    write(overlay, "a/below", b"x")
    expected = {"a": "directory", "a/below": b"x", "empty": b"now a file"}
    for view in subject.twice():
        shown = {path: what for path, what in tree(view).items() if path[0] in "ae"}
        require_equal(shown, expected, "what took another kind's place")


@VFS_OVERLAY.required
def overlays_do_not_see_each_other(subject: OverlaySubject) -> None:
    """Two overlays over one lower directory share that directory, and nothing else."""
    _furnish(subject)
    one, two = subject.overlay, subject.open("other")
    write(one, "a", b"one")
    write(two, "a", b"two")
    one.unlink("d/x")
    write(two, "only", b"two")
    require_equal((read(one, "a"), read(two, "a")), (b"one", b"two"), "contents")
    require_equal(names(one), ["a", "d", "empty"], "names of one")
    require_equal(read(two, "d/x"), b"d/x", "a file that the other one removed")
    require_changed(one, {"a": "modified", "d/x": "deleted"}, "changes of one")
    require_changed(two, {"a": "modified", "only": "added"}, "changes of the other")
    require_equal(two.rollback(["a"]), ["a"], "paths that the other one forgot")
    require_equal(read(one, "a"), b"one", "content of one after that")
