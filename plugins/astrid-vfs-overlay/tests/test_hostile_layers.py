"""What a guest, or somebody below, can do to make a decision impossible, wrong or endless."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from blake3 import blake3

from astrid_hookspecs.errors import VfsError
from astrid_vfs_overlay.handles import UpperFile, let_go
from astrid_vfs_overlay.journal import Entry, write_entries
from tests.support.overlay import Workspace


def test_a_lower_file_that_gets_a_second_name_is_a_conflict_and_no_dead_end(
    ws: Workspace,
) -> None:
    """The disk's backend refuses to read it: another name may be outside."""
    ws.edit("a", b"old")
    ws.edit("b", b"old")
    ws.write("a", b"new")
    ws.write("c", b"new")
    (ws.lower / "a").unlink()
    os.link(ws.lower / "b", ws.lower / "a")
    assert ws.changed() == {"a": "modified!", "c": "added"}
    assert ws.view.commit(("c",)).committed == ["c"]
    assert ws.view.commit().conflicts == ["a"]
    assert ws.view.commit(overwrite=True).committed == ["a"]
    assert ws.contents() == {"a": b"new", "b": b"old", "c": b"new"}


def test_a_lower_file_with_a_second_name_can_be_removed_and_replaced(ws: Workspace) -> None:
    for name in ("a", "b"):
        ws.edit(name, b"old")
        os.link(ws.lower / name, ws.lower / f"{name}2")
    ws.view.unlink("a")
    ws.view.replace("b", [b"new"])
    assert ws.changed() == {"a": "deleted", "b": "modified"}
    assert ws.view.rollback() == ["a", "b"]
    ws.view.unlink("a")
    ws.view.replace("b", [b"new"])
    report = ws.view.commit(overwrite=True)
    assert report.committed == ["a", "b"]
    assert ws.contents() == {"a2": b"old", "b": b"new", "b2": b"old"}


def test_a_replacement_is_refused_when_the_overlay_is_closed_meanwhile(ws: Workspace) -> None:
    def content() -> Iterator[bytes]:
        yield b"x"
        ws.view.close()
        yield b"y"

    with pytest.raises(VfsError) as caught:
        ws.view.replace("a", content())
    assert caught.value.code == "vfs.closed"
    ws.reopen()
    assert ws.names() == []
    assert ws.meter.used == 0


def test_a_change_of_the_mode_alone_is_not_taken_for_done(ws: Workspace) -> None:
    ws.edit("a", b"same")
    (ws.lower / "a").chmod(0o644)
    ws.view.replace("a", [b"same"], mode=0o755)
    digest = blake3(b"same").digest()
    write_entries(ws.view._layers, [Entry("a", "0" * 24, digest, digest, overwrite=False)])
    ws.crash()
    assert ws.changed() == {"a": "modified"}
    assert ws.view.commit().committed == ["a"]
    assert (ws.lower / "a").stat().st_mode & 0o777 == 0o755


def test_a_reader_that_is_closed_while_it_changes_layers_keeps_nothing_open(
    ws: Workspace,
) -> None:
    ws.edit("a", b"old")
    reader = ws.view.open("a", "read")
    layers = ws.view._layers
    (known,) = let_go(layers, "a")
    ws.write("a", b"new")
    reader.close()
    node = layers.root.entries["a"]
    known.follow(UpperFile(layers, node, "read"))
    assert not node.handles
    with pytest.raises(VfsError):
        reader.read_at(0, 1)


@pytest.mark.parametrize("target", ["", "a\0b", "x" * 4096, "\ud800"])
def test_a_link_with_a_target_that_no_disk_takes_is_refused(ws: Workspace, target: str) -> None:
    with pytest.raises(VfsError) as caught:
        ws.view.symlink(target, "a")
    assert caught.value.code == "vfs.invalid-path"
    ws.view.symlink("x" * 4095, "a")
    assert ws.view.commit().committed == ["a"]


def test_names_of_contents_are_durable_before_the_records_that_need_them(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a power failure leaves a store that is taken for damaged."""
    layers = ws.view._layers
    contents = (ws.store / "data").stat().st_ino
    synced: list[bool] = []

    def fsync(descriptor: int, really: Callable[[int], None] = os.fsync) -> None:
        if os.fstat(descriptor).st_ino == contents:
            synced.append(layers.db._db.in_transaction)
        really(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    ws.write("a", b"not yet durable")
    assert synced == []
    write_entries(layers, [])
    ws.view.replace("b", [b"durable"])
    assert synced == [True, True]


def test_a_chain_of_renames_goes_back_as_a_whole(ws: Workspace) -> None:
    """Each place shows what was at another one, so none can go back alone."""
    for number in range(40):
        ws.edit(f"d{number:02}/in/f", b"%d" % number)
    ws.edit("e/f", b"")
    ws.write("e/f", b"stays")
    ws.view.rename("d39", "last")
    for number in reversed(range(39)):
        ws.view.rename(f"d{number:02}", f"d{number + 1:02}")
    assert ws.read("d20/in/f") == b"19"
    ws.view.rollback(("d20/in/f",))
    assert ws.changed() == {"e/f": "modified"}
    assert ws.seen() == {**ws.contents(), "e/f": b"stays"}


def test_a_commit_takes_along_the_rest_of_a_chain_of_renames(ws: Workspace) -> None:
    for number in range(40):
        ws.edit(f"d{number:02}/in/f", b"%d" % number)
    ws.view.rename("d39", "last")
    for number in reversed(range(39)):
        ws.view.rename(f"d{number:02}", f"d{number + 1:02}")
    ws.write("other", b"")
    shown = ws.seen()
    report = ws.view.commit(("d20/in/f",))
    assert not report.conflicts
    assert not report.failed
    left = ws.changed()
    assert "d19/in/f" in left
    assert not [path for path in left if path > "d20" and path != "other"]
    assert not ws.view.commit().failed
    assert ws.contents() == shown


def test_a_link_that_is_no_text_holds_up_nothing_but_itself(ws: Workspace) -> None:
    ws.edit("d/note", b"moves")
    (ws.lower / "d" / "odd").symlink_to(os.fsdecode(b"\xff"))
    ws.view.rename("d", "e")
    ws.write("other", b"new")
    report = ws.view.commit()
    assert sorted(report.committed) == ["d/note", "e", "e/note", "other"]
    assert dict(report.failed)["e/odd"] == "the link's target is not UTF-8"
    ws.view.rollback()
    assert ws.changed() == {}
    assert [path.name for path in (ws.lower / "d").iterdir()] == ["odd"]


def test_one_path_can_be_taken_back_beside_a_link_that_is_no_text(ws: Workspace) -> None:
    ws.edit("d/note", b"moves")
    (ws.lower / "d" / "odd").symlink_to(os.fsdecode(b"\xff"))
    ws.view.rename("d", "e")
    ws.view.mkdir("d")
    ws.write("d/new", b"new")
    ws.view.rollback(["d/new"])
    assert "d/new" not in ws.changed()
