"""What a guest sees through the overlay: both layers as one file system."""

from __future__ import annotations

import os
import socket
from functools import partial

import pytest

from astrid_hookspecs.errors import PathEscapeError, VfsError, VfsNotFoundError
from astrid_hookspecs.vfs import NodeStat, VfsDirectory
from tests.support.overlay import Workspace


def code(caught: pytest.ExceptionInfo[VfsError]) -> str:
    return caught.value.code


def test_a_write_is_seen_here_and_not_below(ws: Workspace) -> None:
    """Vector 154."""
    ws.edit("a", b"old")
    ws.write("a", b"new")
    assert ws.read("a") == b"new"
    assert ws.tree() == {"a": b"old"}


def test_a_lower_file_can_be_removed(ws: Workspace) -> None:
    """Vector 155, ours: upstream cannot."""
    ws.edit("a", b"old")
    ws.view.unlink("a")
    assert ws.names() == []
    with pytest.raises(VfsNotFoundError):
        ws.view.stat("a")
    with pytest.raises(VfsNotFoundError):
        ws.view.open("a", "read")
    assert ws.tree() == {"a": b"old"}


def test_what_was_made_and_removed_is_gone(ws: Workspace) -> None:
    """Vector 156."""
    ws.write("n", b"x")
    ws.view.unlink("n")
    with pytest.raises(VfsNotFoundError):
        ws.view.stat("n")
    assert ws.changed() == {}


def test_a_directory_that_is_only_below_is_listed(ws: Workspace) -> None:
    """Vector 157, D-64."""
    ws.edit("d/x", b"")
    assert ws.names("d") == ["x"]


@pytest.mark.parametrize("path", ["/a", "../a", "d/../../a", "d/..", "./a", "d//a", "a\0b"])
def test_paths_that_are_not_canonical_are_refused(ws: Workspace, path: str) -> None:
    """Vector 158; the kernel makes paths canonical before they come here."""
    ws.edit("a", b"old")
    ws.write("d-is-changed", b"")
    ws.view.mkdir("d")
    below = ws.view.open_directory("d")
    for root in (ws.view, below):
        for call in (
            lambda: root.open(path, "write"),  # noqa: B023 - called at once
            lambda: root.open(path, "read"),  # noqa: B023
            lambda: root.mkdir(path),  # noqa: B023
            lambda: root.stat(path),  # noqa: B023
            lambda: root.rename("d", path),  # noqa: B023
        ):
            with pytest.raises((PathEscapeError, VfsError)):
                call()


def test_listings_merge_both_layers_page_by_page(ws: Workspace) -> None:
    for name in ("b", "d", "f", "é"):
        ws.edit(name, b"")
    for name in ("a", "c", "e", "z"):
        ws.write(name, b"")
    ws.view.unlink("d")
    expected = ["a", "b", "c", "e", "f", "z", "é"]
    assert ws.names() == expected
    paged: list[str] = []
    while page := ws.view.names("", after=paged[-1] if paged else None, limit=2):
        paged += page
    assert paged == expected


def test_old_names_do_not_come_back_in_a_new_directory(ws: Workspace) -> None:
    ws.edit("d/old", b"x")
    ws.view.unlink("d/old")
    ws.view.rmdir("d")
    ws.view.mkdir("d")
    ws.edit("d/later", b"y")
    assert ws.names("d") == []
    assert ws.changed() == {"d/old": "deleted", "d/later": "deleted!"}


def test_a_renamed_directory_takes_its_names_along(ws: Workspace) -> None:
    ws.edit("a/x", b"x")
    ws.edit("a/sub/y", b"y")
    ws.write("a/new", b"n")
    ws.view.rename("a", "b")
    assert ws.names() == ["b"]
    assert ws.names("b") == ["new", "sub", "x"]
    assert ws.read("b/sub/y") == b"y"
    assert ws.view.usage_bytes() == 1, "nothing but the new file was copied"
    ws.view.rename("b/sub", "c")
    assert ws.names("b") == ["new", "x"]
    assert ws.read("c/y") == b"y"
    ws.reopen()
    assert ws.read("c/y") == b"y"


def test_rename_keeps_the_rules_of_posix(ws: Workspace) -> None:
    ws.edit("file", b"f")
    ws.edit("full/x", b"")
    (ws.lower / "empty").mkdir()
    ws.view.mkdir("d")
    for source, target, expected in (
        ("d", "d/below", "vfs.invalid-path"),
        ("d", "full", "vfs.not-empty"),
        ("d", "file", "vfs.not-directory"),
        ("file", "d", "vfs.is-directory"),
        ("", "x", "vfs.access"),
        ("d", "", "vfs.access"),
    ):
        with pytest.raises(VfsError) as caught:
            ws.view.rename(source, target)
        assert code(caught) == expected, (source, target)
    with pytest.raises(VfsNotFoundError):
        ws.view.rename("absent", "d")
    ws.view.rename("full", "empty")
    assert ws.names() == ["d", "empty", "file"]
    assert ws.names("empty") == ["x"]
    ws.view.rename("file", "file")
    assert ws.read("file") == b"f"


def test_hard_links_share_content_across_layers(ws: Workspace) -> None:
    ws.edit("a", b"one")
    ws.view.link("a", "b")
    ws.write("b", b"two")
    assert ws.read("a") == b"two"
    ws.view.rename("a", "b")  # one file: nothing happens
    assert ws.names() == ["a", "b"]
    ws.view.unlink("a")
    assert ws.read("b") == b"two"


def test_links_are_read_and_never_followed(ws: Workspace) -> None:
    (ws.lower / "below").symlink_to("target")
    ws.view.symlink("elsewhere", "above")
    assert ws.view.readlink("below") == "target"
    assert ws.view.readlink("above") == "elsewhere"
    assert ws.view.stat("above").kind == "symlink"
    for path in ("below", "above", "below/x", "above/x"):
        for mode in ("read", "write", "append"):
            with pytest.raises(VfsError) as caught:
                ws.view.open(path, mode)  # type: ignore[arg-type]
            assert code(caught) == "vfs.link", path
    ws.view.rename("below", "moved")
    assert ws.view.readlink("moved") == "target"
    with pytest.raises(VfsError) as caught:
        ws.view.readlink("")
    assert code(caught) == "vfs.invalid-path"


def test_special_files_are_seen_and_never_opened(ws: Workspace) -> None:
    os.mkfifo(ws.lower / "pipe")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(ws.lower / "socket"))
    assert ws.view.stat("pipe").kind == "fifo"
    assert ws.view.stat("socket").kind == "socket"
    for mode in ("read", "write", "append", "read-write"):
        with pytest.raises(VfsError) as caught:
            ws.view.open("pipe", mode)  # type: ignore[arg-type]
        assert code(caught) == "vfs.access"
    ws.view.unlink("pipe")
    assert ws.names() == ["socket"]


def test_a_reader_sees_what_is_written_after_it_opened(ws: Workspace) -> None:
    ws.edit("a", b"old")
    reader = ws.view.open("a", "read")
    ws.write("a", b"newer", "append")
    assert reader.read_at(0, 99) == b"oldnewer"
    ws.view.rename("a", "b")
    ws.write("b", b"X", "read-write")
    assert reader.read_at(0, 99) == b"Xldnewer"
    ws.view.replace("b", [b"other"])
    assert reader.read_at(0, 99) == b"Xldnewer", "another file has the name now"
    reader.close()


def test_a_file_without_a_name_lives_until_it_is_closed(ws: Workspace) -> None:
    ws.write("a", b"content")
    file = ws.view.open("a", "read-write")
    ws.view.unlink("a")
    file.write_at(0, b"C")
    assert file.read_at(0, 99) == b"Content"
    assert ws.view.usage_bytes() == 7
    file.close()
    assert ws.view.usage_bytes() == 0 == ws.meter.used
    with pytest.raises(VfsError) as caught:
        file.read_at(0, 1)
    assert code(caught) == "vfs.closed"


def test_a_copy_that_was_not_changed_follows_the_lower_file_again(ws: Workspace) -> None:
    ws.edit("d/a", b"old")
    ws.view.open("d/a", "append").close()
    ws.edit("d/a", b"person")
    assert ws.read("d/a") == b"person"
    assert ws.changed() == {}
    assert ws.view.usage_bytes() == 0


def test_modes_and_sizes_survive_a_copy_but_no_special_bits(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws.edit("tool", b"#!")
    lower = type(ws.view._layers.lower)
    real = lower.stat

    def with_special_bits(self: VfsDirectory, path: str) -> NodeStat:
        return real(self, path)._replace(mode=0o4755)

    monkeypatch.setattr(lower, "stat", with_special_bits)
    ws.write("tool", b"/bin/sh", "append")
    found = ws.view.stat("tool")
    assert (found.mode, found.size) == (0o755, 9)


def test_files_are_opened_for_what_was_asked(ws: Workspace) -> None:
    ws.write("a", b"x")
    for mode in ("read", "write", "append"):
        file = ws.view.open("a", mode)  # type: ignore[arg-type]
        other = partial(file.write_at, 0, b"y") if mode == "read" else partial(file.read_at, 0, 1)
        with pytest.raises(VfsError) as caught:
            other()
        assert code(caught) == "vfs.access"
        file.close()
    with pytest.raises(VfsNotFoundError):
        ws.view.open("absent", "read-write")


def test_stamps_change_with_the_content(ws: Workspace) -> None:
    ws.write("a", b"1")
    first = ws.view.stat("a").stamp
    ws.write("a", b"2", "read-write")
    assert ws.view.stat("a").stamp != first


def test_replace_is_conditional_and_whole(ws: Workspace) -> None:
    ws.edit("a", b"old")
    with pytest.raises(VfsError) as caught:
        ws.view.replace("a", [b"new"], only_if=lambda file: file is None)
    assert code(caught) == "vfs.conflict"
    assert ws.read("a") == b"old"
    assert ws.view.usage_bytes() == 0
    found = ws.view.replace("a", [b"n", b"ew"], only_if=lambda file: file is not None, mode=0o600)
    assert (found.size, found.mode) == (3, 0o600)
    assert ws.read("a") == b"new"


def test_a_directory_handle_stays_with_its_directory(ws: Workspace) -> None:
    ws.edit("a/sub/x", b"x")
    below = ws.view.open_directory("a/sub")
    ws.view.rename("a", "b")
    assert below.names("", after=None, limit=9) == ["x"]
    below.mkdir("made")
    assert ws.names("b/sub") == ["made", "x"]
    ws.view.unlink("b/sub/x")
    below.rmdir("made")
    ws.view.rmdir("b/sub")
    ws.view.mkdir("b/sub")
    with pytest.raises(VfsNotFoundError):
        below.names("", after=None, limit=9)
    below.close()
    with pytest.raises(VfsError) as caught:
        below.stat("")
    assert code(caught) == "vfs.closed"


def test_two_overlays_see_only_their_own_edits(make_workspace: object) -> None:
    make = make_workspace
    assert callable(make)
    ada, bob = make("ada"), make("bob")
    ada.edit("shared", b"lower")
    ada.write("shared", b"ada")
    ada.write("only-ada", b"")
    bob.view.unlink("shared")
    bob.view.mkdir("only-bob")
    assert (ada.names(), bob.names()) == (["only-ada", "shared"], ["only-bob"])
    assert ada.read("shared") == b"ada"
    with pytest.raises(VfsNotFoundError):
        bob.read("shared")
    assert ada.tree() == {"shared": b"lower"}


def test_everything_is_refused_after_close(ws: Workspace) -> None:
    ws.write("a", b"x")
    file = ws.view.open("a", "read")
    ws.view.close()
    ws.view.close()
    for call in (
        lambda: ws.view.stat("a"),
        lambda: ws.view.stat("b"),
        lambda: ws.view.open("a", "read"),
        lambda: ws.view.names("", after=None, limit=1),
        lambda: ws.view.mkdir("d"),
        ws.view.changes,
        ws.view.commit,
        ws.view.rollback,
        lambda: file.read_at(0, 1),
    ):
        with pytest.raises(VfsError) as caught:
            call()
        assert code(caught) == "vfs.closed"
