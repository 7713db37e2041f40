"""Stores that are in use, damaged, hostile, full, or left by a crash; nothing is deleted."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from astrid_hookspecs.errors import IntegrityError, QuotaExceededError, StoreError, VfsError
from astrid_hookspecs.vfs_paths import temporary_name
from astrid_vfs_overlay import layers as layers_module
from astrid_vfs_overlay.journal import Entry, write_entries
from astrid_vfs_overlay.recovery import Fate, decide
from tests.support.overlay import Workspace

MakeWorkspace = Callable[..., Workspace]


def sql(store: Path, *statements: str) -> None:
    db = sqlite3.connect(store / "overlay.db")
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


def test_a_store_is_refused_while_it_is_in_use(
    ws: Workspace, make_workspace: MakeWorkspace
) -> None:
    ws.write("a", b"x")
    with pytest.raises(StoreError) as caught:
        make_workspace()
    assert caught.value.code == "overlay.busy"
    assert ws.read("a") == b"x"


def test_a_later_format_is_refused(ws: Workspace, make_workspace: MakeWorkspace) -> None:
    ws.close()
    sql(ws.store, "PRAGMA user_version = 2")
    with pytest.raises(StoreError) as caught:
        make_workspace()
    assert caught.value.code == "overlay.newer"


@pytest.mark.parametrize(
    "statement",
    [
        "PRAGMA application_id = 7",
        "DELETE FROM nodes WHERE id = 1",
        "DELETE FROM nodes WHERE kind = 'regular'",
        "DELETE FROM entries WHERE name = 'a'",
        "UPDATE nodes SET kind = 'door' WHERE kind = 'regular'",
        "UPDATE nodes SET mode = 'all' WHERE kind = 'regular'",
        "UPDATE nodes SET lower = '../../etc' WHERE kind = 'directory' AND id > 1",
        "UPDATE nodes SET lower = x'ff' WHERE kind = 'directory' AND id > 1",
        "UPDATE entries SET name = '..' WHERE name = 'a'",
        "UPDATE entries SET name = 'x/y' WHERE name = 'a'",
        "UPDATE entries SET name = CAST(x'ff' AS TEXT) WHERE name = 'a'",
        "UPDATE entries SET node = 1 WHERE name = 'd'",
        "UPDATE entries SET node = 99 WHERE name = 'a'",
        "UPDATE nodes SET modified_ns = 'now'",
        "DELETE FROM sqlite_sequence",
        "UPDATE sqlite_sequence SET seq = 1",
        "UPDATE sqlite_sequence SET seq = 'many'",
        "UPDATE sqlite_sequence SET seq = 9223372036854775807",
        "INSERT INTO bases VALUES ('a', 'regular', 'rw', '', NULL)",
        "INSERT INTO bases VALUES ('a', 'regular', 420, '', 'digest')",
        "INSERT INTO journal VALUES (x'ff', '0', NULL, NULL, 0)",
        "INSERT INTO journal VALUES ('a', '0', 'old', NULL, 0)",
        "DROP TABLE entries",
    ],
)
def test_a_damaged_store_is_refused_and_kept(
    ws: Workspace, make_workspace: MakeWorkspace, statement: str
) -> None:
    ws.write("a", b"x")
    ws.view.mkdir("d")
    ws.close()
    sql(ws.store, statement)
    before = {path.name for path in ws.store.rglob("*")}
    with pytest.raises((IntegrityError, VfsError)) as caught:
        make_workspace()
    assert caught.value.code in {"overlay.damaged", "vfs.failed"}
    assert before <= {path.name for path in ws.store.rglob("*")} | {
        "overlay.db-shm",
        "overlay.db-wal",
    }


def test_a_file_that_is_no_database_is_refused(
    tmp_path: Path, make_workspace: MakeWorkspace
) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "overlay.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(IntegrityError) as caught:
        make_workspace()
    assert caught.value.code == "overlay.damaged"


@pytest.mark.parametrize("name", ["overlay.db", "lock", "data", "data/2"])
def test_links_in_a_store_are_not_followed(
    ws: Workspace, make_workspace: MakeWorkspace, tmp_path: Path, name: str
) -> None:
    ws.write("a", b"x")
    ws.close()
    moved = tmp_path / "elsewhere"
    (ws.store / name).rename(moved)
    (ws.store / name).symlink_to(moved)
    with pytest.raises((StoreError, IntegrityError)):
        make_workspace()
    assert moved.exists()


def test_a_file_in_place_of_the_contents_is_damage(
    ws: Workspace, make_workspace: MakeWorkspace
) -> None:
    ws.close()
    (ws.store / "data").rmdir()
    (ws.store / "data").write_bytes(b"")
    with pytest.raises(IntegrityError):
        make_workspace()


def test_contents_without_a_name_are_collected(ws: Workspace) -> None:
    ws.write("a", b"kept")
    (ws.store / "data" / "777").write_bytes(b"left by a crash")
    ws.reopen()
    assert [path.read_bytes() for path in (ws.store / "data").iterdir()] == [b"kept"]
    assert ws.view.usage_bytes() == 4 == ws.meter.used


def test_nothing_changes_when_the_quota_is_used_up(make_workspace: MakeWorkspace) -> None:
    ws = make_workspace(limit=10)
    ws.edit("big", b"0123456789ab")
    ws.write("a", b"12345")
    file = ws.view.open("a", "read-write")
    for call in (
        lambda: file.write_at(3, b"12345678"),
        lambda: file.truncate(11),
        lambda: ws.view.open("big", "append"),
        lambda: ws.view.rename("big", "moved"),
        lambda: ws.view.link("big", "other"),
        lambda: ws.view.replace("a", [b"123", b"456"]),
    ):
        with pytest.raises(QuotaExceededError):
            call()
    file.close()
    assert ws.seen() == {"a": b"12345", "big": b"0123456789ab"}
    assert ws.meter.used == 5 == ws.view.usage_bytes()
    assert len(list((ws.store / "data").iterdir())) == 1


def test_more_names_than_memory_holds_are_refused(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws.edit("below", b"")
    monkeypatch.setattr(layers_module, "MAX_NAMES", 3)
    for name in "abc":
        ws.view.mkdir(name)
    for call in (
        lambda: ws.view.mkdir("d"),
        lambda: ws.view.symlink("x", "d"),
        lambda: ws.view.open("d", "write"),
        lambda: ws.view.open("below", "append"),
        lambda: ws.view.replace("d", [b"x"]),
    ):
        with pytest.raises(VfsError) as caught:
            call()
        assert caught.value.code == "vfs.quota"
    ws.view.rmdir("a")
    ws.view.mkdir("d")
    assert ws.view.usage_bytes() == 0


def test_a_path_that_became_too_long_does_not_stop_a_person(ws: Workspace) -> None:
    for top in ("a", "b"):
        path = top
        ws.view.mkdir(path)
        for _ in range(11):
            path += "/" + "n" * 200
            ws.view.mkdir(path)
    ws.view.rename("a", f"{path}/deep")
    ws.write("fine", b"x")
    assert "fine" in ws.changed()
    report = ws.view.commit()
    assert "fine" in report.committed
    assert report.failed
    ws.view.rollback()
    assert ws.changed() == {}


N, B, X, P = b"new", b"base", b"other", b"ne"


@pytest.mark.parametrize(
    ("old", "new", "overwrite", "found", "taken", "partial", "applied", "fate"),
    [
        (B, N, False, B, None, False, False, "none"),
        (B, N, False, N, None, False, True, "none"),
        (B, N, False, B, N, True, False, "remove"),
        (B, N, False, N, B, False, True, "remove"),
        (B, N, False, N, X, False, False, "put-back"),
        (B, N, True, N, X, False, True, "remove"),
        (B, N, False, B, P, True, False, "remove"),
        (None, N, False, None, P, True, False, "remove"),
        (B, N, False, None, B, False, False, "put-back"),
        (B, N, False, X, B, False, False, "remove"),
        (B, N, False, X, N, True, False, "remove"),
        (B, N, False, b"even newer", X, False, False, "keep"),
        (B, None, False, None, None, False, True, "none"),
        (B, None, False, None, B, False, True, "remove"),
        (B, None, False, None, X, False, False, "put-back"),
        (B, None, False, X, B, False, False, "remove"),
    ],
)
def test_what_an_interrupted_step_left_is_decided_by_digests(
    old: bytes | None,
    new: bytes | None,
    overwrite: bool,
    found: bytes | None,
    taken: bytes | None,
    partial: bool,
    applied: bool,
    fate: Fate,
) -> None:
    entry = Entry("a", "t", old, new, overwrite)
    assert decide(entry, found=found, taken=taken, is_partial=partial) == (applied, fate)


def test_a_change_that_was_caught_is_put_back_on_opening(ws: Workspace) -> None:
    ws.edit("a", b"old")
    ws.write("a", b"new")
    ws.edit("a", b"theirs")
    write_entries(
        ws.view._layers,
        [Entry("a", "t0", blake3(b"old").digest(), blake3(b"new").digest(), overwrite=False)],
    )
    (ws.lower / "a").rename(ws.lower / temporary_name("t0"))
    ws.edit("a", b"new")
    ws.reopen()
    assert ws.tree() == {"a": b"theirs"}
    assert ws.changed() == {"a": "modified!"}


def test_a_file_that_goes_while_it_is_committed_is_a_conflict(ws: Workspace) -> None:
    ws.edit("a", b"old")
    ws.write("a", b"new")
    layers = ws.view._layers
    real = layers.lower.replace

    def replace(path: str, *arguments: object, **options: object) -> object:
        (ws.lower / "a").unlink(missing_ok=True)
        return real(path, *arguments, **options)  # type: ignore[arg-type]

    class Racing:
        def __getattr__(self, name: str) -> object:
            return replace if name == "replace" else getattr(lower, name)

    lower = layers.lower
    layers.lower = Racing()  # type: ignore[assignment]
    report = ws.view.commit()
    assert report == ([], ["a"], [])
    assert ws.tree() == {}
    assert ws.read("a") == b"new"
