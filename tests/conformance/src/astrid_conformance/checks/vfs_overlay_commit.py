"""Checks for what people decide: what differs, committing it, conflicts, forgetting it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from astrid_conformance.check import require, require_equal, require_raises
from astrid_conformance.checks.vfs_overlay_subject import (
    VFS_OVERLAY,
    OverlaySubject,
    changed,
    require_changed,
)
from astrid_conformance.checks.vfs_subject import names, read, require_no_path, tree, write
from astrid_hookspecs.errors import AuditError
from astrid_hookspecs.vfs import CommitReport, OverlayChange


def _change(subject: OverlaySubject) -> dict[str, str]:
    """A lower tree and one change of each sort; returns what `changed` has to say."""
    for path in ("d", "gone"):
        subject.door.mkdir(path)
    for path in ("a", "b", "d/x", "gone/y", "same"):
        subject.door.write(path, path.encode())
    overlay = subject.overlay
    write(overlay, "a", b"modified")
    overlay.unlink("b")
    overlay.mkdir("d/made")
    overlay.replace("d/made/new", [b"added"])
    overlay.unlink("gone/y")
    overlay.rmdir("gone")
    return {
        "a": "modified",
        "b": "deleted",
        "d/made": "added",
        "d/made/new": "added",
        "gone": "deleted",
        "gone/y": "deleted",
    }


def _require_report(
    report: CommitReport, committed: list[str], what: str, conflicts: tuple[str, ...] = ()
) -> None:
    require_equal(sorted(report.committed), committed, f"paths that {what} committed")
    require_equal(tuple(report.conflicts), conflicts, f"conflicts of {what}")
    require_equal(tuple(report.failed), (), f"failures of {what}")


@VFS_OVERLAY.required
def changes_are_what_differs(subject: OverlaySubject) -> None:
    """`changes` lists each path that differs, once, in byte order, with kind and size."""
    expected = _change(subject)
    overlay = subject.overlay
    require_changed(overlay, expected, "changes")
    found = {change.path: change for change in overlay.changes()}
    require_equal(found["a"][2:4], ("regular", 8), "kind and size of a modified file")
    require_equal(found["d/made/new"][2:4], ("regular", 5), "kind and size of a new file")
    require_equal(found["d/made"].kind, "directory", "kind of a new directory")
    require_equal(found["gone"].kind, "directory", "kind of a removed directory")
    require_equal(found["b"].kind, "regular", "kind of a removed file")
    chosen = changed(overlay, "d", "b")
    require_equal(list(chosen), ["b", "d/made", "d/made/new"], "changes of chosen paths")
    require_equal(changed(overlay, "d/made/new", "d"), changed(overlay, "d"), "paths given twice")
    require_equal(changed(overlay, "absent", "sam"), {}, "changes where there are none")


@VFS_OVERLAY.required
def what_comes_and_goes_is_no_change(subject: OverlaySubject) -> None:
    """Made and removed again, or written as it was: nothing differs."""
    subject.door.write("a", b"old")
    overlay = subject.overlay
    write(overlay, "n", b"x")
    overlay.unlink("n")
    overlay.mkdir("m")
    overlay.rmdir("m")
    write(overlay, "a", b"new")
    overlay.open("a", "read").close()
    require_changed(overlay, {"a": "modified"}, "changes")
    write(overlay, "a", b"old")
    require_changed(overlay, {}, "changes after the old content was written again")


@VFS_OVERLAY.required
def a_commit_brings_everything(subject: OverlaySubject) -> None:
    """After `commit` the lower directory is as the overlay showed it, and nothing differs."""
    expected = _change(subject)
    overlay = subject.overlay
    shown = tree(overlay)
    _require_report(overlay.commit(), sorted(expected), "a commit")
    require_equal(subject.door.tree(), shown, "the lower directory, temporaries included")
    require_equal(tree(overlay), shown, "the overlay")
    require_changed(overlay, {}, "changes afterwards")
    require_equal(overlay.usage_bytes(), 0, "bytes in the store afterwards")
    require_equal(subject.meter.used, 0, "bytes charged afterwards")
    _require_report(overlay.commit(), [], "a second commit")
    write(overlay, "a", b"once more")
    _require_report(overlay.commit(), ["a"], "a commit of what came later")
    require_equal(subject.door.read("a"), b"once more", "content below")


@VFS_OVERLAY.required
def a_commit_of_some_leaves_the_others(subject: OverlaySubject) -> None:
    """A commit of chosen paths brings what is at and below them; the rest stays a change."""
    expected = _change(subject)
    overlay = subject.overlay
    _require_report(overlay.commit(["d", "b"]), ["b", "d/made", "d/made/new"], "a commit")
    require_equal(subject.door.read("d/made/new"), b"added", "a committed file below")
    require_equal(subject.door.read("b"), None, "a file that was to go")
    require_equal(subject.door.read("a"), b"a", "a file that was not chosen")
    rest = {path: word for path, word in expected.items() if path[0] in "ag"}
    require_changed(overlay, rest, "changes that are left")
    require_equal(read(overlay, "a"), b"modified", "a file that was not chosen, in the overlay")
    subject.reopen()
    require_changed(subject.overlay, rest, "changes that are left after reopening")


@VFS_OVERLAY.required
def a_moved_directory_is_committed(subject: OverlaySubject) -> None:
    """A renamed lower directory arrives at its new place and leaves the old one."""
    subject.door.mkdir("old")
    subject.door.write("old/x", b"x")
    overlay = subject.overlay
    overlay.rename("old", "new")
    write(overlay, "new/y", b"y")
    expected = {"new": "added", "new/x": "added", "new/y": "added"}
    require_changed(overlay, {**expected, "old": "deleted", "old/x": "deleted"}, "changes")
    report = overlay.commit()
    require_equal((tuple(report.conflicts), tuple(report.failed)), ((), ()), "what went wrong")
    lower = {"new": "directory", "new/x": b"x", "new/y": b"y"}
    require_equal(subject.door.tree(), lower, "the lower directory")
    require_changed(overlay, {}, "changes afterwards")


@VFS_OVERLAY.required
def decisions_are_announced(subject: OverlaySubject) -> None:
    """All that a commit or rollback changes is told first, and nothing happens when refused."""
    subject.door.write("a", b"old")
    overlay = subject.overlay
    write(overlay, "a", b"new")
    overlay.mkdir("n")
    overlay.replace("n/new", [b"added"])
    every = {"a": "modified", "n": "added", "n/new": "added"}
    told: list[str] = []

    def refuse(changes: Sequence[OverlayChange]) -> None:
        told.extend(change.path for change in changes)
        require_equal(subject.door.tree(), {"a": b"old"}, "the lower directory when it is told")
        require_equal(read(overlay, "a"), b"new", "the overlay when it is told")
        raise AuditError("refused", code="audit.write")

    for decide in (overlay.commit, overlay.rollback):
        require_raises(AuditError, partial(decide, announce=refuse), "a decision that is refused")
        require_equal(sorted(told), list(every), "paths that were told")
        require_equal(subject.door.tree(), {"a": b"old"}, "the lower directory")
        require_changed(overlay, every, "changes")
        told.clear()
    report = overlay.commit(["n/new"], announce=lambda changes: told.extend(c[0] for c in changes))
    _require_report(report, ["n", "n/new"], "a commit of something new in a new directory")
    require_equal(sorted(told), ["n", "n/new"], "paths that were told, what goes along included")
    overlay.rollback(["a"], announce=lambda changes: told.extend(c[0] for c in changes))
    require_equal(told[-1], "a", "the path that a rollback told")


@VFS_OVERLAY.required
def conflicts_stop_a_commit(subject: OverlaySubject) -> None:
    """What changed below since is a conflict: nothing is committed, nothing is overwritten."""
    for path in ("both", "fine", "removed-here", "removed-there"):
        subject.door.write(path, b"old")
    overlay = subject.overlay
    for path in ("both", "added", "fine", "removed-there"):
        write(overlay, path, b"mine")
    overlay.unlink("removed-here")
    for path in ("both", "added", "removed-here"):
        subject.door.write(path, b"theirs")
    subject.door.remove("removed-there")
    lower = subject.door.tree()
    expected = {
        "added": "modified!",
        "both": "modified!",
        "fine": "modified",
        "removed-here": "deleted!",
        "removed-there": "added!",
    }
    require_changed(overlay, expected, "changes")
    conflicts = tuple(path for path, word in expected.items() if word.endswith("!"))
    _require_report(overlay.commit(), [], "a commit with conflicts", conflicts)
    require_equal(subject.door.tree(), lower, "the lower directory")
    require_changed(overlay, expected, "changes afterwards")
    _require_report(overlay.commit(["fine"]), ["fine"], "a commit without conflicts")
    require_equal(subject.door.tree(), {**lower, "fine": b"mine"}, "the lower directory after that")


@VFS_OVERLAY.required
def conflicts_are_remembered(subject: OverlaySubject) -> None:
    """What somebody changed below while the overlay was closed is a conflict, too."""
    subject.door.write("a", b"old")
    write(subject.overlay, "a", b"mine")
    subject.reopen(while_closed=partial(subject.door.write, "a", b"theirs"))
    require_changed(subject.overlay, {"a": "modified!"}, "changes after reopening")
    _require_report(subject.overlay.commit(), [], "a commit", ("a",))
    require_equal(subject.door.read("a"), b"theirs", "content below")


@VFS_OVERLAY.required
def the_same_change_is_no_conflict(subject: OverlaySubject) -> None:
    """When the lower directory came to the same content by itself, nothing differs."""
    subject.door.write("a", b"old")
    write(subject.overlay, "a", b"new")
    subject.door.write("a", b"new")
    require_changed(subject.overlay, {}, "changes")


@VFS_OVERLAY.required
def overwriting_is_asked_for(subject: OverlaySubject) -> None:
    """`overwrite` commits conflicts of the chosen paths, and only those."""
    for path in ("a", "b"):
        subject.door.write(path, b"old")
        write(subject.overlay, path, b"mine")
        subject.door.write(path, b"theirs")
    overlay = subject.overlay
    _require_report(overlay.commit(["a"], overwrite=True), ["a"], "a commit that overwrites")
    require_equal(subject.door.tree(), {"a": b"mine", "b": b"theirs"}, "the lower directory")
    require_changed(overlay, {"b": "modified!"}, "changes that are left")


@VFS_OVERLAY.required
def what_the_lower_layer_refuses_stays(subject: OverlaySubject) -> None:
    """A path that the lower directory refuses is reported, and stays a change."""
    subject.door.write("locked", b"old")
    overlay = subject.open("refused", refusing="locked")
    write(overlay, "locked", b"new")
    write(overlay, "other", b"other")
    report = overlay.commit()
    require_equal([path for path, _ in report.failed], ["locked"], "paths that failed")
    require(report.failed[0][1], "the failure says nothing")
    require("locked" not in report.committed, "what failed is reported as committed")
    require_equal(subject.door.read("locked"), b"old", "content below")
    require_equal(changed(overlay, "locked"), {"locked": "modified"}, "what is left")
    require_equal(read(overlay, "locked"), b"new", "content in the overlay")


@VFS_OVERLAY.required
def a_rollback_forgets(subject: OverlaySubject) -> None:
    """`rollback` shows the lower directory again, and returns the paths that changed."""
    expected = _change(subject)
    lower = subject.door.tree()
    overlay = subject.overlay
    require_equal(sorted(overlay.rollback(["a"])), ["a"], "paths of a rollback of one")
    require_equal(read(overlay, "a"), b"a", "content after a rollback of one")
    rest = {path: word for path, word in expected.items() if path != "a"}
    require_changed(overlay, rest, "changes that are left")
    require_equal(sorted(overlay.rollback()), sorted(rest), "paths of a rollback of the rest")
    for view in subject.twice():
        require_equal(tree(view), lower, "everything")
        require_changed(view, {}, "changes")
        require_equal(view.usage_bytes(), 0, "bytes in the store")
    require_equal(subject.door.tree(), lower, "the lower directory")
    require_equal(subject.meter.used, 0, "bytes charged")


@VFS_OVERLAY.required
def a_commit_shows_in_other_overlays(subject: OverlaySubject) -> None:
    """What one overlay commits is below the others: shown, or a conflict where they differ."""
    for path in ("a", "b"):
        subject.door.write(path, b"old")
    one, two = subject.overlay, subject.open("other")
    write(one, "a", b"one")
    write(one, "b", b"one")
    write(two, "a", b"two")
    one.commit()
    require_equal(read(two, "b"), b"one", "a file that the other one had not changed")
    require_changed(two, {"a": "modified!"}, "changes of the other one")
    require_equal(read(two, "a"), b"two", "a file that both changed")


@VFS_OVERLAY.required
def decisions_take_canonical_paths(subject: OverlaySubject) -> None:
    """`changes`, `commit` and `rollback` refuse paths that lead outside, and do nothing."""
    overlay = subject.overlay
    write(overlay, "a", b"mine")
    for path in ("..", "../secret", "/a", "a/../a", "./a", "a//b", "a\0"):
        require_no_path(partial(overlay.changes, [path]), f"changes of {path!r}")
        require_no_path(partial(overlay.commit, ["a", path]), f"commit of {path!r}")
        require_no_path(partial(overlay.rollback, ["a", path]), f"rollback of {path!r}")
    require_changed(overlay, {"a": "added"}, "changes afterwards")
    require_equal(subject.door.tree(), {}, "the lower directory")


@VFS_OVERLAY.optional("modes")
def modes_are_committed(subject: OverlaySubject) -> None:
    """Permission bits of new and replaced files reach the lower directory."""
    subject.door.write("old", b"x")
    subject.overlay.replace("old", [b"y"], mode=0o700)
    subject.overlay.replace("new", [b"y"], mode=0o600)
    subject.overlay.commit()
    found = (subject.door.mode("old"), subject.door.mode("new"))
    require_equal(found, (0o700, 0o600), "modes below")


@VFS_OVERLAY.optional("symlink")
def links_are_committed_as_links(subject: OverlaySubject) -> None:
    """A symbolic link is committed as it was written, and never followed on the way."""
    outside = subject.door.outside()
    subject.door.link("planted", "../secret")
    overlay = subject.overlay
    overlay.symlink("../secret", "mine")
    overlay.unlink("planted")
    write(overlay, "planted", b"a file now")
    overlay.commit()
    expected = {"mine": "symlink", "planted": b"a file now"}
    require_equal(subject.door.tree(), expected, "the lower directory")
    require_equal(overlay.readlink("mine"), "../secret", "target of the link")
    require_equal(names(overlay), ["mine", "planted"], "names")
    require_equal(subject.door.outside(), outside, "what is outside the lower directory")
