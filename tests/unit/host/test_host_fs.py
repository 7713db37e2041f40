"""Reference vectors of files, against directories on a disk. Spec: host-abi 21.1."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.unit.host.disk_files import MIB, DiskFiles

FS = "astrid:fs/host@1.0.0"
READ = ("*", "home://")
WRITE = ("cwd://d", "home://data")
LIMIT = 10 * MIB
Guest = Callable[..., tuple[str, Any]]


class Fs(NamedTuple):
    """A guest that may do what the reference's world allows, and the disk below it."""

    guest: Callable[..., Guest]
    files: DiskFiles
    world: Any


@pytest.fixture
def fs(world: Any, call: Any, tmp_path: Path) -> Fs:
    files = DiskFiles(tmp_path / "disk")
    world.files = files

    def guest(
        principal: str = "alice",
        *,
        fs_read: tuple[str, ...] = READ,
        fs_write: tuple[str, ...] = WRITE,
        **more: Any,
    ) -> Guest:
        instance = world.open(principal=principal, fs_read=fs_read, fs_write=fs_write, **more)

        def function(name: str, *arguments: object) -> tuple[str, Any]:
            result: tuple[str, Any] = call(instance, name, *arguments, interface=FS)
            return result

        return function

    return Fs(guest, files, world)


def tree(fs: Fs, **files: str) -> None:
    """Files in the workspace; a text that starts with `->` makes a link."""
    for name, text in files.items():
        place = fs.files.workspace / name.replace("__", "/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("->"):
            place.symlink_to(text.removeprefix("->"))
        else:
            place.write_text(text)


OK = ("ok", None)


def err(case: str) -> tuple[str, None]:
    return (case, None)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("a.txt", ("ok", b"hi"), id="1-plain"),
        pytest.param("/a.txt", ("ok", b"hi"), id="1-slash"),
        pytest.param("cwd://a.txt", ("ok", b"hi"), id="1-cwd"),
        pytest.param("workspace://a.txt", ("ok", b"hi"), id="1-workspace"),
        pytest.param("../etc/passwd", err("boundary-escape"), id="2"),
        pytest.param("d/../a.txt", ("ok", b"hi"), id="3"),
        pytest.param("d/../../x", err("boundary-escape"), id="4"),
        pytest.param("/etc/passwd", err("not-found"), id="5"),
        pytest.param("in", ("ok", b"hi"), id="6-inside"),
        pytest.param("out", err("boundary-escape"), id="6-outside"),
        pytest.param("dang", err("not-found"), id="6-dangling"),
        pytest.param("nodir/../a.txt", err("not-found"), id="7"),
        pytest.param("a\0", err("invalid-path"), id="8-nul"),
        pytest.param("a\n", err("invalid-path"), id="8-newline"),
        pytest.param("ftp://x", err("invalid-path"), id="8-scheme"),
        pytest.param("home://x", ("ok", b"mine"), id="9-alice"),
        pytest.param("home://../default/x", err("boundary-escape"), id="10-parent"),
        pytest.param("home:///etc/passwd", err("not-found"), id="10-slash"),
        pytest.param("big", err("too-large"), id="15-big"),
        pytest.param("d", err("is-directory"), id="15-directory"),
        pytest.param("nope", err("not-found"), id="15-missing"),
        pytest.param("a.txt/x", err("not-directory"), id="below-a-file"),
        pytest.param("a.txt/../a.txt", err("not-directory"), id="parent-of-a-file"),
        pytest.param("home://.config/key", err("capability-denied"), id="reserved"),
        pytest.param("home://.local/audit", err("capability-denied"), id="reserved-missing"),
    ],
)
def test_read_file(fs: Fs, path: str, expected: tuple[str, Any]) -> None:
    assert fs.guest()("read-file", path) == expected


@pytest.mark.parametrize(
    ("principal", "fs_read", "path"),
    [
        pytest.param("bob", READ, "home://x", id="9-bob"),
        pytest.param("alice", ("*",), "home://x", id="33"),
        pytest.param("alice", ("/w/d",), "d2/x", id="32-literal"),
        pytest.param("alice", ("home://notes",), "home://notes2/a", id="32-sibling"),
        pytest.param("alice", (), "a.txt", id="nothing"),
        pytest.param("alice", (), "nodir/../a.txt", id="behind-a-missing-directory"),
    ],
)
def test_read_denied_when_no_entry_covers_it(
    fs: Fs, principal: str, fs_read: tuple[str, ...], path: str
) -> None:
    fs.files.physical = "/w"
    (fs.files.home / "notes2").mkdir()
    (fs.files.home / "notes2" / "a").write_text("no")
    tree(fs, d2__x="no")
    assert fs.guest(principal, fs_read=fs_read)("read-file", path) == err("capability-denied")


@pytest.mark.parametrize("function", ["read-file", "fs-exists", "fs-stat", "fs-canonicalize"])
@pytest.mark.parametrize(
    ("rest", "case"),
    [
        ("", "capability-denied"),
        ("/x", "capability-denied"),
        ("/..", "capability-denied"),
        ("/../x/../y", "capability-denied"),
        ("/../..", "boundary-escape"),
        ("/../x/../../y", "boundary-escape"),
    ],
)
def test_without_a_grant_nobody_learns_what_exists(
    fs: Fs, function: str, rest: str, case: str
) -> None:
    guest = fs.guest(fs_read=(), fs_write=())
    for name in ("d", "a.txt", "nothing"):
        assert guest(function, name + rest) == err(case), name


@pytest.mark.parametrize(
    ("fs_read", "path"),
    [
        pytest.param(("/w/d",), "d/x", id="32-literal"),
        pytest.param(("home://notes",), "home://notes/a", id="32-below"),
        pytest.param(("home://notes",), "home://notes", id="32-itself"),
    ],
)
def test_read_allowed_by_whole_names(fs: Fs, fs_read: tuple[str, ...], path: str) -> None:
    fs.files.physical = "/w"
    (fs.files.home / "notes").mkdir()
    (fs.files.home / "notes" / "a").write_text("yes")
    tree(fs, d__x="yes")
    assert fs.guest(fs_read=fs_read)("fs-exists", path) == ("ok", True)


def test_11_the_temporary_directory_lies_in_the_home(fs: Fs) -> None:
    assert fs.guest()("write-file", "tmp://t", b"1") == err("capability-denied")
    more = fs.guest(fs_write=(*WRITE, "home://.local/tmp"))
    assert more("write-file", "tmp://t", b"1") == OK
    assert (fs.files.home / ".local/tmp/t").read_bytes() == b"1"
    assert more("read-file", "/tmp/t") == ("ok", b"1")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("d/n", OK, id="12-allowed"),
        pytest.param("n", err("capability-denied"), id="12-elsewhere"),
        pytest.param("d", err("is-directory"), id="12-directory"),
        pytest.param("d/sub/n", OK, id="13-workspace"),
        pytest.param("home://data/q/n", err("not-found"), id="13-home"),
    ],
)
@pytest.mark.parametrize("function", ["write-file", "fs-append"])
def test_write(fs: Fs, function: str, path: str, expected: tuple[str, Any]) -> None:
    assert fs.guest()(function, path, b"12") == expected
    if expected == OK:
        assert (fs.files.workspace / path).read_bytes() == b"12"


@pytest.mark.parametrize(
    ("size", "path", "expected"),
    [
        pytest.param(LIMIT, "d/x", OK, id="14-fits"),
        pytest.param(LIMIT + 1, "d/x", err("too-large"), id="14-more"),
        pytest.param(LIMIT + 1, "../x", err("too-large"), id="14-before-the-path"),
    ],
)
@pytest.mark.parametrize("function", ["write-file", "fs-append"])
def test_write_limit(fs: Fs, function: str, size: int, path: str, expected: Any) -> None:
    assert fs.guest()(function, path, bytes(size)) == expected


def test_append_adds_and_creates(fs: Fs) -> None:
    guest = fs.guest()
    assert [guest("fs-append", "d/log", b"a"), guest("fs-append", "d/log", b"b")] == [OK, OK]
    assert (fs.files.workspace / "d/log").read_bytes() == b"ab"


@pytest.mark.parametrize(
    ("path", "fs_read", "expected"),
    [
        pytest.param("nope", READ, ("ok", False), id="16-missing"),
        pytest.param("d", READ, ("ok", True), id="16-there"),
        pytest.param("../x", READ, err("boundary-escape"), id="16-escape"),
        pytest.param("a.txt", (), err("capability-denied"), id="16-denied"),
        pytest.param("dang", READ, ("ok", False), id="dangling"),
        pytest.param("in", READ, ("ok", True), id="link"),
        pytest.param("nodir/../a.txt", READ, ("ok", False), id="behind-nothing"),
        pytest.param("a.txt/x", READ, ("ok", False), id="below-a-file"),
        pytest.param("nodir/../a.txt", (), err("capability-denied"), id="hidden"),
    ],
)
def test_exists(fs: Fs, path: str, fs_read: tuple[str, ...], expected: tuple[str, Any]) -> None:
    assert fs.guest(fs_read=fs_read)("fs-exists", path) == expected


def test_17_mkdir(fs: Fs) -> None:
    guest = fs.guest(fs_write=("cwd://",))
    assert guest("fs-mkdir", "d") == err("already-exists")
    assert guest("fs-mkdir", "d/p/q") == err("not-found")
    assert guest("fs-mkdir", "d/p") == OK
    assert [guest("fs-mkdir-all", "d/p/q") for _ in range(2)] == [OK, OK]
    assert (fs.files.workspace / "d/p/q").is_dir()
    assert guest("fs-mkdir", "") == err("already-exists")
    assert guest("fs-mkdir-all", "") == OK
    assert guest("fs-mkdir", "in") == err("already-exists")


def test_18_mkdir_all_over_a_file(fs: Fs) -> None:
    tree(fs, d__n="1")
    assert fs.guest()("fs-mkdir-all", "d/n") == err("already-exists")
    assert fs.guest()("fs-mkdir-all", "d/n/x") == err("not-directory")


def test_19_unlink(fs: Fs) -> None:
    tree(fs, d__n="1", d__l="->n", d__p__x="1")
    guest = fs.guest(fs_write=("cwd://",))
    assert guest("fs-unlink", "d/l") == OK
    assert guest("fs-unlink", "d/n") == OK
    assert guest("fs-unlink", "d/p") == err("is-directory")
    assert guest("fs-unlink", "d/n") == err("not-found")
    assert guest("fs-unlink", "") == err("is-directory")


def test_20_readdir(fs: Fs) -> None:
    tree(fs, d__b="1", d__a="2", d__Z="3")
    assert fs.guest()("fs-readdir", "d") == ("ok", ["Z", "a", "b"])
    assert fs.guest()("fs-readdir", "a.txt") == err("not-directory")


@pytest.mark.parametrize(
    ("count", "case"),
    [pytest.param(4096, "ok", id="20-4096"), pytest.param(4097, "too-large", id="20-4097")],
)
@pytest.mark.slow
def test_readdir_limit(fs: Fs, count: int, case: str) -> None:
    for number in range(count):
        os.mknod(fs.files.workspace / "d" / f"{number:04}")
    assert fs.guest()("fs-readdir", "d")[0] == case


def test_21_stat(fs: Fs) -> None:
    (fs.files.workspace / "a.txt").chmod(0o640)
    os.utime(fs.files.workspace / "a.txt", ns=(1_000_000_007, 2_500_000_000))
    case, found = fs.guest()("fs-stat", "in")
    assert (case, found.kind, found.size, found.mode) == ("ok", "regular", 2, 0o640)
    assert found.modified == (2, 500_000_000)
    assert found.accessed == (1, 7)
    assert fs.guest()("fs-stat-symlink", "in")[1].kind == "symlink"
    assert fs.guest()("fs-stat", "")[1].kind == "directory"
    assert fs.guest()("fs-stat", "dang") == err("not-found")


def test_22_rename(fs: Fs) -> None:
    tree(fs, d__n="new", d__m="old", d__l="->n")
    guest = fs.guest()
    assert guest("fs-rename", "d/n", "home://data/n") == err("cross-vfs")
    assert guest("fs-rename", "d/n", "d/m") == OK
    assert (fs.files.workspace / "d/m").read_text() == "new"
    assert guest("fs-rename", "d/l", "d/k") == OK
    assert (fs.files.workspace / "d/k").is_symlink()
    assert guest("fs-rename", "d/m", "m") == err("capability-denied")
    assert guest("fs-rename", "a.txt", "d/a") == err("capability-denied")


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("cwd://", "d/x"),
        ("d", "workspace://"),
        ("/tmp", "tmp://x"),
        ("home://.local/tmp", "home://data/t"),
        ("home://data", "home://.local/tmp"),
    ],
)
def test_rename_of_a_root_denied_when_it_is_one(fs: Fs, source: str, target: str) -> None:
    guest = fs.guest(fs_write=("*", "home://"))
    assert guest("fs-rename", source, target) == err("access")


def test_23_remove_dir_all(fs: Fs) -> None:
    tree(fs, d__t__a="1", d__t__s__b="2", d__t__l="->/etc")
    guest = fs.guest(fs_write=("*", "home://"))
    assert guest("fs-remove-dir-all", "d/t") == ("ok", 5)
    assert not (fs.files.workspace / "d/t").exists()
    assert Path("/etc").is_dir()
    assert guest("fs-remove-dir-all", "a.txt") == err("not-directory")
    assert guest("fs-remove-dir-all", "in") == err("not-directory")
    assert guest("fs-remove-dir-all", "d/t") == err("not-found")
    for root in ("", "home://", "tmp://", "home://.local/tmp"):
        assert guest("fs-remove-dir-all", root) == err("access")
    assert (fs.files.home / ".config/key").exists()


@pytest.mark.slow
def test_remove_dir_all_of_a_wide_and_deep_tree(fs: Fs) -> None:
    top = fs.files.workspace / "d/t"
    for number in range(1500):
        (top / f"{number}").mkdir(parents=True)
    deep = top.joinpath(*["n"] * 400)
    deep.mkdir(parents=True)
    assert fs.guest()("fs-remove-dir-all", "d/t") == ("ok", 1 + 1500 + 400)


def test_24_canonicalize(fs: Fs) -> None:
    (fs.files.home / ".local/tmp/x").write_text("1")
    guest = fs.guest()
    assert guest("fs-canonicalize", "d/../in") == ("ok", "workspace://a.txt")
    assert guest("fs-canonicalize", "/tmp/x") == ("ok", "tmp://x")
    assert guest("fs-canonicalize", "out") == err("boundary-escape")
    assert guest("fs-canonicalize", "nope") == err("not-found")
    assert guest("fs-canonicalize", "d/..") == ("ok", "workspace://")


def test_25_read_link(fs: Fs) -> None:
    tree(fs, d__up="->../a.txt", d__over="->../../x", chain="->in", d__dots="->nodir/../x")
    guest = fs.guest()
    assert guest("fs-read-link", "in") == ("ok", "workspace://a.txt")
    assert guest("fs-read-link", "out") == err("boundary-escape")
    assert guest("fs-read-link", "a.txt") == err("invalid-path")
    assert guest("fs-read-link", "d/up") == ("ok", "workspace://a.txt")
    assert guest("fs-read-link", "d/over") == err("boundary-escape")
    assert guest("fs-read-link", "chain") == ("ok", "workspace://in")
    assert guest("fs-read-link", "dang") == ("ok", "workspace://nowhere")
    assert guest("fs-read-link", "d/dots") == err("not-found")


def test_26_hard_link_needs_to_write_both(fs: Fs) -> None:
    assert fs.guest()("fs-hard-link", "a.txt", "d/h") == err("capability-denied")
    guest = fs.guest(fs_write=("*", "home://"))
    assert guest("fs-hard-link", "a.txt", "d/h") == OK
    assert (fs.files.workspace / "d/h").samefile(fs.files.workspace / "a.txt")
    assert guest("fs-hard-link", "a.txt", "d/h") == err("already-exists")
    assert guest("fs-hard-link", "d", "d2") == err("is-directory")
    assert guest("fs-hard-link", "a.txt", "home://data/h") == err("cross-vfs")
    assert guest("fs-hard-link", "in", "d/i") == OK
    assert (fs.files.workspace / "d/i").samefile(fs.files.workspace / "a.txt")


def test_27_copy(fs: Fs) -> None:
    guest = fs.guest()
    (fs.files.workspace / "a.txt").chmod(0o750)
    assert guest("fs-copy", "a.txt", "d/c") == OK
    assert (fs.files.workspace / "d/c").read_bytes() == b"hi"
    assert (fs.files.workspace / "d/c").stat().st_mode & 0o777 == 0o750
    assert guest("fs-copy", "d", "d/e") == err("is-directory")
    assert guest("fs-copy", "a.txt", "d") == err("is-directory")
    before = (fs.files.workspace / "d/c").stat()
    assert guest("fs-copy", "d/c", "d/../d/c") == OK
    after = (fs.files.workspace / "d/c").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert guest("fs-copy", "home://x", "d/c") == OK
    assert (fs.files.workspace / "d/c").read_bytes() == b"mine"
    assert guest("fs-copy", "a.txt", "home://data/a") == OK
    assert guest("fs-copy", "a.txt", "n") == err("capability-denied")
    fs.world.quotas.max_storage_bytes = 1
    assert guest("fs-copy", "a.txt", "d/c") == err("quota")


def test_28_open_handles_are_counted(fs: Fs) -> None:
    guest = fs.guest()
    held = [guest("fs-open", "a.txt", "read") for _ in range(16)]
    assert {case for case, _ in held} == {"ok"}
    assert guest("fs-open", "a.txt", "read") == err("quota")
    held[0][1].drop()
    assert guest("fs-open", "a.txt", "read")[0] == "ok"


def test_29_read_at(fs: Fs) -> None:
    (fs.files.workspace / "d/three").write_bytes(bytes(3 * MIB))
    guest = fs.guest()
    handle = guest("fs-open", "d/three", "read")[1]
    assert guest("[method]file-handle.read-at", handle, 3 * MIB, 10) == ("ok", b"")
    assert guest("[method]file-handle.read-at", handle, 2**64 - 1, 10) == ("ok", b"")
    case, data = guest("[method]file-handle.read-at", handle, 0, 2**32 - 1)
    assert (case, len(data)) == ("ok", MIB)


def test_30_write_at(fs: Fs) -> None:
    guest = fs.guest()
    write, reading = guest("fs-open", "d/w", "write")[1], guest("fs-open", "a.txt", "read")[1]
    assert guest("[method]file-handle.write-at", write, 0, bytes(MIB)) == ("ok", MIB)
    assert guest("[method]file-handle.write-at", write, 0, bytes(MIB + 1)) == err("too-large")
    assert guest("[method]file-handle.write-at", reading, 0, b"x") == err("access")
    assert guest("[method]file-handle.read-at", write, 0, 1) == err("access")
    assert guest("[method]file-handle.set-len", reading, 0) == err("access")
    assert guest("[method]file-handle.write-at", write, 2**63, b"x") == err("quota")


def test_31_open_modes(fs: Fs) -> None:
    guest = fs.guest()
    assert guest("fs-open", "d/m", "read-write") == err("not-found")
    assert guest("fs-open", "d/m", "read") == err("not-found")
    assert guest("fs-open", "d/m", "write")[0] == "ok"
    assert guest("fs-open", "d/m", "read-write")[0] == "ok"
    assert guest("fs-open", "d/sub/m", "write") == err("not-found")
    assert guest("fs-open", "d", "read") == err("is-directory")


@pytest.mark.parametrize(
    ("mode", "fs_read", "fs_write", "case"),
    [
        ("read", (), ("*",), "capability-denied"),
        ("write", ("*",), (), "capability-denied"),
        ("append", ("*",), (), "capability-denied"),
        ("read-write", ("*",), (), "capability-denied"),
        ("read-write", (), ("*",), "capability-denied"),
        ("read", ("*",), (), "ok"),
        ("write", (), ("*",), "ok"),
        ("append", (), ("*",), "ok"),
        ("read-write", ("*",), ("*",), "ok"),
    ],
)
def test_what_opening_needs(
    fs: Fs, mode: str, fs_read: tuple[str, ...], fs_write: tuple[str, ...], case: str
) -> None:
    assert fs.guest(fs_read=fs_read, fs_write=fs_write)("fs-open", "a.txt", mode)[0] == case


@pytest.mark.slow
def test_34_a_path_swapped_under_way_leads_nowhere_else(fs: Fs, tmp_path: Path) -> None:
    outside, graveyard = tmp_path / "outside", tmp_path / "graveyard"
    outside.mkdir()
    graveyard.mkdir()
    place = fs.files.workspace / "d" / "s"
    place.mkdir()
    done = threading.Event()

    def swap() -> None:
        """The guest may have made the directory again, so each step may fail."""
        for number in itertools.count():
            if done.is_set():
                return
            with contextlib.suppress(OSError):
                place.rename(graveyard / str(number))
            with contextlib.suppress(OSError):
                place.symlink_to(outside)
            with contextlib.suppress(OSError):
                place.unlink()
            with contextlib.suppress(OSError):
                place.mkdir()

    swapper = threading.Thread(target=swap)
    swapper.start()
    guest = fs.guest()
    try:
        seen = {guest("write-file", f"d/s/{number}", b"x")[0] for number in range(300)}
        seen |= {guest("fs-append", f"d/s/{number}", b"x")[0] for number in range(300)}
        seen |= {guest("fs-mkdir", f"d/s/m{number}")[0] for number in range(300)}
    finally:
        done.set()
        swapper.join()
    assert list(outside.iterdir()) == []
    assert seen <= {"ok", "boundary-escape", "not-found", "invalid-path", "already-exists"}
    assert fs.files.open_leases == []
