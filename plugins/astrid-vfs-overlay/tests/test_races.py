"""A person who changes the disk at the worst moment; records that must not outlive their use."""

from __future__ import annotations

import stat
from collections.abc import Callable
from typing import Any

import pytest

from astrid_hookspecs.vfs import CommitReport
from astrid_vfs_overlay.journal import read_entries
from tests.support.overlay import Workspace


class Racing:
    """A lower directory that lets somebody act inside an operation, after its first look."""

    def __init__(self, inner: Any, name: str, act: Callable[[], object]) -> None:
        self._inner = inner
        self._name = name
        self._act = act

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name != self._name:
            return found

        def call(*arguments: object, only_if: Any = None, **options: object) -> object:
            looks: list[None] = []

            def look(file: Any) -> bool:
                answer = only_if is None or bool(only_if(file))
                if not looks:
                    looks.append(None)
                    self._act()
                return answer

            return found(*arguments, only_if=look, **options)

        return call


def racing(ws: Workspace, name: str, act: Callable[[], object]) -> CommitReport:
    layers = ws.view._layers
    inner = layers.lower
    layers.lower = Racing(inner, name, act)  # type: ignore[assignment]
    try:
        return ws.view.commit()
    finally:
        layers.lower = inner


def test_an_edit_in_the_middle_of_a_commit_is_put_back(ws: Workspace) -> None:
    ws.edit("a", b"old")
    ws.write("a", b"mine")
    report = racing(ws, "replace", lambda: ws.edit("a", b"theirs"))
    assert report == ([], ["a"], [])
    assert ws.tree() == {"a": b"theirs"}
    assert ws.read("a") == b"mine"
    assert ws.changed() == {"a": "modified!"}


def test_an_edit_in_the_middle_of_a_removal_is_put_back(ws: Workspace) -> None:
    ws.edit("a", b"old")
    ws.view.unlink("a")
    report = racing(ws, "unlink", lambda: ws.edit("a", b"theirs"))
    assert report == ([], ["a"], [])
    assert ws.tree() == {"a": b"theirs"}
    assert ws.changed() == {"a": "deleted!"}


def test_a_file_in_place_of_a_link_is_not_taken_for_the_link(ws: Workspace) -> None:
    (ws.lower / "l").symlink_to("nowhere")
    ws.view.unlink("l")

    def replace() -> None:
        (ws.lower / "l").unlink()
        ws.edit("l", b"theirs")

    report = racing(ws, "unlink", replace)
    assert report == ([], ["l"], [])
    assert ws.tree() == {"l": b"theirs"}


def test_a_file_that_goes_in_the_middle_of_a_commit_is_not_made_again(ws: Workspace) -> None:
    ws.edit("a", b"old")
    ws.write("a", b"mine")
    report = racing(ws, "replace", (ws.lower / "a").unlink)
    assert report == ([], ["a"], [])
    assert ws.tree() == {}
    assert ws.read("a") == b"mine"


def test_a_commit_is_noted_before_the_disk_changes(ws: Workspace) -> None:
    ws.edit("a", b"old")
    ws.write("a", b"new")
    ws.edit("gone", b"x")
    ws.view.unlink("gone")
    noted: list[set[str]] = []

    def look() -> None:
        noted.append({entry.path for entry in read_entries(ws.view._layers.db)})

    assert racing(ws, "replace", look).committed == ["a", "gone"]
    assert noted == [{"a", "gone"}]
    assert read_entries(ws.view._layers.db) == []


@pytest.mark.parametrize("room", [0, len(b"from a")])
def test_a_file_whose_only_copy_could_not_be_saved_is_not_overwritten(
    ws: Workspace, room: int
) -> None:
    ws.edit("a/f", b"from a")
    ws.edit("b/f", b"from b")
    for source, goal in (("a", "t"), ("b", "a"), ("t", "b")):
        ws.view.rename(source, goal)
    ws.meter.limit = room
    report = ws.view.commit()
    assert [path for path, _ in report.failed] == ["a/f", "b/f"]
    assert ws.contents() == {"a": None, "a/f": b"from a", "b": None, "b/f": b"from b"}
    assert (ws.read("a/f"), ws.read("b/f")) == (b"from b", b"from a")
    ws.meter.limit = None
    assert ws.view.commit().committed == ["a/f", "b/f"]
    assert (ws.read("a/f"), ws.read("b/f")) == (b"from b", b"from a")


def test_old_records_do_not_make_new_conflicts(ws: Workspace) -> None:
    ws.edit("a/f", b"f")
    ws.view.rename("a", "b")
    ws.view.rename("b", "a")
    (ws.lower / "a" / "f").unlink()
    ws.write("a/f", b"mine")
    assert ws.changed() == {"a/f": "added"}


def test_a_changed_file_keeps_its_record_when_its_directory_moves(ws: Workspace) -> None:
    ws.edit("a/f", b"old")
    ws.write("a/f", b"new")
    ws.view.rename("a", "b")
    assert ws.changed() == {"a": "deleted", "a/f": "deleted", "b": "added", "b/f": "added"}
    ws.edit("a/f", b"theirs")
    assert ws.changed()["a/f"] == "deleted!"


def test_a_part_of_a_new_directory_is_committed_and_old_names_stay_hidden(ws: Workspace) -> None:
    ws.edit("d/old", b"x")
    ws.view.unlink("d/old")
    ws.view.rmdir("d")
    ws.view.mkdir("d")
    ws.write("d/new", b"n")
    ws.write("d/other", b"o")
    assert ws.view.commit(["d/new"]).committed == ["d/new"]
    assert ws.names("d") == ["new", "other"]
    assert ws.changed() == {"d/old": "deleted", "d/other": "added"}


def test_what_appears_at_the_old_path_of_a_new_directory_stays_there(ws: Workspace) -> None:
    ws.view.mkdir("new")
    ws.view.rename("new", "moved")
    ws.edit("new/theirs", b"t")
    assert ws.seen() == {"moved": None, "new": None, "new/theirs": b"t"}


def test_a_mode_that_the_person_changed_is_not_our_change(ws: Workspace) -> None:
    ws.edit("a", b"same")
    ws.write("a", b"same", "read-write")
    (ws.lower / "a").chmod(0o600)
    assert ws.changed() == {}
    ws.write("a", b"new")
    ws.view.commit()
    assert stat.S_IMODE((ws.lower / "a").stat().st_mode) == 0o600


@pytest.mark.parametrize("decide", ["commit", "rollback"])
def test_files_that_were_open_are_closed(ws: Workspace, decide: str) -> None:
    ws.edit("a", b"old")
    reader = ws.view.open("a", "read")
    ws.write("a", b"new")
    getattr(ws.view, decide)()
    with pytest.raises(Exception, match="closed") as caught:
        reader.read_at(0, 1)
    assert getattr(caught.value, "code", None) == "vfs.closed"
    reader.close()


def test_a_killed_removal_of_a_directory_hides_nothing_later(ws: Workspace) -> None:
    (ws.lower / "d").mkdir()
    ws.view.rmdir("d")
    ws.lower.joinpath("d").rmdir()  # what the commit did before it died
    ws.view.commit()
    ws.edit("d", b"theirs")
    assert ws.seen() == {"d": b"theirs"}
    assert ws.changed() == {}
