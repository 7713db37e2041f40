"""What a person decides: changes, commit, rollback, conflicts."""

from __future__ import annotations

import os
import stat

import pytest

from astrid_hookspecs.errors import VfsError
from tests.support.overlay import Workspace


def test_changes_are_those_that_a_commit_makes(ws: Workspace) -> None:
    ws.edit("mod", b"old")
    ws.edit("same", b"same")
    ws.edit("gone/x", b"x")
    ws.edit("gone/sub/y", b"y")
    ws.write("mod", b"new")
    ws.write("same", b"same")
    ws.write("new", b"n")
    ws.view.mkdir("made")
    for path in ("gone/x", "gone/sub/y"):
        ws.view.unlink(path)
    ws.view.rmdir("gone/sub")
    ws.view.rmdir("gone")
    assert ws.changed() == {
        "gone": "deleted",
        "gone/sub": "deleted",
        "gone/sub/y": "deleted",
        "gone/x": "deleted",
        "made": "added",
        "mod": "modified",
        "new": "added",
    }
    assert ws.changed("gone/sub", "new") == {
        "gone/sub": "deleted",
        "gone/sub/y": "deleted",
        "new": "added",
    }
    report = ws.view.commit()
    assert (sorted(report.committed), report.conflicts, report.failed) == (
        ["gone", "gone/sub", "gone/sub/y", "gone/x", "made", "mod", "new"],
        [],
        [],
    )
    assert ws.tree() == {"made": None, "mod": b"new", "new": b"n", "same": b"same"}
    assert ws.changed() == {}
    assert ws.read("mod") == b"new"


def test_a_change_of_mind_below_is_a_conflict(ws: Workspace) -> None:
    ws.edit("mod", b"old")
    ws.edit("gone", b"old")
    ws.write("mod", b"mine")
    ws.view.unlink("gone")
    ws.write("new", b"mine")
    ws.write("free", b"mine")
    for path in ("mod", "gone", "new"):
        ws.edit(path, b"theirs")
    assert ws.changed() == {
        "free": "added",
        "gone": "deleted!",
        "mod": "modified!",
        "new": "modified!",
    }
    before = ws.tree()
    report = ws.view.commit()
    assert report == ((), ["gone", "mod", "new"], ())
    assert ws.tree() == before
    assert ws.view.commit(["free"]).committed == ["free"]
    assert sorted(ws.view.commit(overwrite=True).committed) == ["gone", "mod", "new"]
    assert ws.tree() == {"free": b"mine", "mod": b"mine", "new": b"mine"}


def test_touching_a_lower_file_is_no_conflict(ws: Workspace) -> None:
    ws.edit("a", b"old")
    ws.write("a", b"new")
    os.utime(ws.lower / "a")
    assert ws.changed() == {"a": "modified"}
    assert ws.view.commit().committed == ["a"]


def test_a_renamed_directory_is_committed_whole(ws: Workspace) -> None:
    ws.edit("a/x", b"x")
    ws.edit("a/sub/y", b"y")
    ws.view.rename("a", "b")
    ws.write("b/x", b"changed")
    assert ws.changed() == {
        "a": "deleted",
        "a/sub": "deleted",
        "a/sub/y": "deleted",
        "a/x": "deleted",
        "b": "added",
        "b/sub": "added",
        "b/sub/y": "added",
        "b/x": "added",
    }
    ws.view.commit(["a"])
    assert ws.tree() == {"b": None, "b/sub": None, "b/sub/y": b"y", "b/x": b"changed"}
    assert ws.changed() == {}
    assert ws.view.usage_bytes() == 0


def test_a_part_of_a_renamed_directory_can_be_committed(ws: Workspace) -> None:
    ws.edit("a/x", b"x")
    ws.edit("a/y", b"y")
    ws.view.rename("a", "b")
    assert ws.view.commit(["b/x"]).committed == ["b", "b/x"]
    assert ws.tree() == {"a": None, "a/x": b"x", "a/y": b"y", "b": None, "b/x": b"x"}
    assert ws.names("b") == ["x", "y"]
    assert ws.read("b/y") == b"y"
    ws.view.commit()
    assert ws.tree() == {"b": None, "b/x": b"x", "b/y": b"y"}


def test_two_directories_change_places(ws: Workspace) -> None:
    ws.edit("a/f", b"from a")
    ws.edit("b/f", b"from b")
    ws.view.rename("a", "t")
    ws.view.rename("b", "a")
    ws.view.rename("t", "b")
    assert (ws.read("a/f"), ws.read("b/f")) == (b"from b", b"from a")
    assert ws.changed() == {"a/f": "modified", "b/f": "modified"}
    ws.view.commit()
    assert ws.tree() == {"a": None, "a/f": b"from b", "b": None, "b/f": b"from a"}
    assert ws.view.usage_bytes() == 0


def test_rolling_back_a_part_of_a_rename_takes_it_back_whole(ws: Workspace) -> None:
    for selected in ("a", "a/x", "b", "b/x"):
        ws.edit("a/x", b"x")
        ws.view.rename("a", "b")
        assert ws.view.rollback([selected]) == ["a", "a/x", "b", "b/x"], selected
        assert ws.names() == ["a"]
        assert ws.changed() == {}


def test_rolling_back_below_a_removed_directory_brings_it_back(ws: Workspace) -> None:
    ws.edit("d/x", b"x")
    ws.edit("d/y", b"y")
    for path in ("d/x", "d/y"):
        ws.view.unlink(path)
    ws.view.rmdir("d")
    assert ws.view.rollback(["d/x"]) == ["d", "d/x"]
    assert ws.names("d") == ["x"]
    assert ws.changed() == {"d/y": "deleted"}


def test_rollback_forgets_and_closes(ws: Workspace) -> None:
    ws.edit("a", b"old")
    ws.write("a", b"new")
    ws.write("d", b"x")
    handles = [ws.view.open("a", "read"), ws.view.open("a", "append")]
    other = ws.view.open("d", "read")
    assert ws.view.rollback(["a"]) == ["a"]
    assert ws.read("a") == b"old"
    for handle in handles:
        with pytest.raises(VfsError) as caught:
            handle.stat()
        assert caught.value.code == "vfs.closed"
    assert other.read_at(0, 9) == b"x"
    assert ws.view.rollback() == ["d"]
    assert ws.view.usage_bytes() == 0 == ws.meter.used
    assert list((ws.store / "data").iterdir()) == []


def test_kinds_change_in_a_commit(ws: Workspace) -> None:
    ws.edit("to-file/x", b"x")
    ws.edit("to-directory", b"f")
    ws.edit("to-link", b"f")
    (ws.lower / "from-link").symlink_to("old")
    ws.view.unlink("to-file/x")
    ws.view.rmdir("to-file")
    ws.write("to-file", b"now a file")
    ws.view.unlink("to-directory")
    ws.view.mkdir("to-directory")
    ws.write("to-directory/in", b"in")
    ws.view.unlink("to-link")
    ws.view.symlink("target", "to-link")
    ws.view.unlink("from-link")
    ws.view.symlink("new", "from-link")
    report = ws.view.commit()
    assert report.conflicts == report.failed == []
    assert (ws.lower / "to-link").readlink().name == "target"
    assert (ws.lower / "from-link").readlink().name == "new"
    assert (ws.lower / "to-file").read_bytes() == b"now a file"
    assert (ws.lower / "to-directory" / "in").read_bytes() == b"in"
    assert ws.changed() == {}


def test_hard_links_become_files_of_their_own(ws: Workspace) -> None:
    ws.write("a", b"x")
    ws.view.link("a", "b")
    assert ws.view.commit(["a"]).committed == ["a"]
    assert ws.changed() == {"b": "added"}
    ws.view.commit()
    assert (ws.lower / "a").stat().st_nlink == 1
    assert ws.tree() == {"a": b"x", "b": b"x"}


def test_modes_are_committed(ws: Workspace) -> None:
    ws.edit("tool", b"#!")
    (ws.lower / "tool").chmod(0o755)
    ws.write("tool", b"x", "append")
    ws.view.replace("private", [b"x"], mode=0o600)
    ws.view.commit()
    modes = [stat.S_IMODE((ws.lower / name).stat().st_mode) for name in ("tool", "private")]
    assert modes == [0o755, 0o600]


def test_what_the_lower_layer_refuses_is_reported_and_the_rest_goes_on(ws: Workspace) -> None:
    os.mkfifo(ws.lower / "pipe-a")
    ws.edit("d/x", b"x")
    os.mkfifo(ws.lower / "d" / "pipe")
    ws.view.rename("d", "e")
    ws.write("free", b"f")
    report = ws.view.commit()
    assert [path for path, _ in report.failed] == ["d", "d/pipe", "e/pipe"]
    assert report.committed == ["d/x", "e", "e/x", "free"]
    assert (ws.lower / "d" / "pipe").exists()
    assert ws.names("e") == ["pipe", "x"]
    assert ws.view.stat("e/pipe").kind == "fifo"


def test_new_files_in_a_removed_directory_are_a_conflict(ws: Workspace) -> None:
    ws.edit("d/x", b"x")
    ws.view.unlink("d/x")
    ws.view.rmdir("d")
    ws.edit("d/theirs", b"t")
    assert ws.changed() == {"d": "deleted", "d/theirs": "deleted!", "d/x": "deleted"}
    assert ws.view.commit().conflicts == ["d/theirs"]
    assert ws.view.commit(["d/x"]).committed == ["d/x"]
    assert ws.tree() == {"d": None, "d/theirs": b"t"}
