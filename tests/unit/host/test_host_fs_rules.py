"""What surrounds a file operation: resolution, leases, races, the audit log, handles, errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrid_core.builtin.host_vfs import open_host_directory
from astrid_core.domain.file_pattern import FilePlace, parse_file_patterns
from astrid_core.host.fs import MAX_FILE_BYTES
from astrid_core.host.fs_access import MAX_ATTEMPTS
from astrid_core.host.fs_errors import error_answer
from astrid_core.host.fs_handle import FileHandle
from astrid_core.host.fs_resolve import MAX_LINKS, Resolver
from astrid_core.host.fs_target import Target
from astrid_core.host.mount import Mount, NoFiles
from astrid_core.security.gate import Gate
from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.authz import Verdict, Vote
from astrid_hookspecs.buses import Attribution
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.engines import Caller, WitError
from astrid_hookspecs.errors import (
    AuditError,
    CapabilityDeniedError,
    PathEscapeError,
    QuotaExceededError,
    ReadOnlyError,
    VfsError,
    VfsNotFoundError,
)
from astrid_hookspecs.values import CapsuleId, Principal
from astrid_hookspecs.vfs_paths import VFS_CODES
from tests.unit.host.conftest import World
from tests.unit.host.disk_files import DiskFiles, DiskLease

FS = "astrid:fs/host@1.0.0"
HANDLE = "[method]file-handle."
EVERYTHING = ("*", "home://")
Guest = Callable[..., tuple[str, Any]]


@pytest.fixture
def files(world: World, tmp_path: Path) -> DiskFiles:
    made = DiskFiles(tmp_path / "disk")
    world.files = made
    return made


@pytest.fixture
def guest(world: World, call: Any, files: DiskFiles) -> Guest:
    """A guest that may do everything but what no manifest allows."""
    del files
    return guest_of(world, call)


def guest_of(world: World, call: Any, **more: Any) -> Guest:
    instance = world.open(**{"fs_read": EVERYTHING, "fs_write": EVERYTHING, **more})

    def function(name: str, *arguments: object) -> tuple[str, Any]:
        result: tuple[str, Any] = call(instance, name, *arguments, interface=FS)
        return result

    function.instance = instance  # type: ignore[attr-defined]
    return function


# Where links lead ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "target", "asked", "expected"),
    [
        ("l", "d", "l/f", ("ok", b"f")),
        ("d/l", "..", "d/l/a.txt", ("ok", b"hi")),
        ("d/l", "../..", "d/l/a.txt", ("boundary-escape", None)),
        ("l", "d/e/..", "l/f", ("ok", b"f")),
        ("l", "d/./f", "l", ("ok", b"f")),
        ("l", "l", "l", ("invalid-path", None)),
        ("l", "/", "l", ("boundary-escape", None)),
        ("l", "/etc", "l/passwd", ("boundary-escape", None)),
        ("l", "a.txt/..", "l/d/f", ("not-directory", None)),
        ("l", "{root}", "l/d/f", ("ok", b"f")),
        ("l", "{root}/d", "l/f", ("ok", b"f")),
        ("l", "{root}/d/../a.txt", "l", ("ok", b"hi")),
        ("l", "{root}/../x", "l", ("boundary-escape", None)),
        ("l", "{root}2/d", "l/f", ("boundary-escape", None)),
        ("l", "a\nb", "l", ("invalid-path", None)),
        ("l", ".astrid-tmp-1", "l", ("invalid-path", None)),
        ("l", "nowhere/..", "l/a.txt", ("not-found", None)),
    ],
)
def test_links(
    guest: Guest, files: DiskFiles, link: str, target: str, asked: str, expected: Any
) -> None:
    (files.workspace / "d/e").mkdir()
    (files.workspace / "d/f").write_bytes(b"f")
    (files.workspace / link).symlink_to(target.format(root=files.workspace))
    assert guest("read-file", asked) == expected


def test_an_absolute_link_escapes_from_a_mount_without_a_path(
    guest: Guest, files: DiskFiles
) -> None:
    files.physical = None
    (files.workspace / "l").symlink_to(files.workspace / "a.txt")
    assert guest("read-file", "l") == ("boundary-escape", None)


def test_at_most_40_links_are_followed(guest: Guest, files: DiskFiles) -> None:
    for number in range(MAX_LINKS + 1):
        (files.workspace / f"l{number}").symlink_to(f"l{number - 1}" if number else "a.txt")
    assert guest("read-file", f"l{MAX_LINKS - 1}") == ("ok", b"hi")
    assert guest("read-file", f"l{MAX_LINKS}") == ("invalid-path", None)


def test_the_gate_decides_where_a_link_leads(world: World, call: Any, files: DiskFiles) -> None:
    (files.workspace / "d/l").symlink_to("../a.txt")
    (files.workspace / "k").symlink_to("d")
    (files.workspace / "d/f").write_bytes(b"f")
    guest = guest_of(world, call, fs_read=("cwd://d",))
    assert guest("read-file", "d/l") == ("capability-denied", None)
    assert guest("read-file", "k/f") == ("ok", b"f")
    assert [event.resource for event in world.decisions] == ["workspace://a.txt"]


def test_creation_through_a_dangling_link_only_inside(guest: Guest, files: DiskFiles) -> None:
    (files.workspace / "d/l").symlink_to("../made")
    (files.workspace / "d/o").symlink_to("../../made")
    assert guest("write-file", "d/l", b"1") == ("ok", None)
    assert (files.workspace / "made").read_bytes() == b"1"
    assert (files.workspace / "d/l").is_symlink()
    assert guest("write-file", "d/o", b"1") == ("boundary-escape", None)
    assert guest("fs-open", "d/o", "write") == ("boundary-escape", None)
    assert not (files.workspace.parent / "made").exists()
    assert guest("fs-mkdir-all", "dang/x") == ("ok", None)
    assert (files.workspace / "nowhere/x").is_dir()


NAMES = st.sampled_from(["a", "b", "c"])
STEP = st.sampled_from(["a", "b", "c", ".."])
TEXT = st.lists(STEP, min_size=1, max_size=4).map("/".join)


@settings(max_examples=150, deadline=None)
@given(
    directories=st.lists(st.lists(NAMES, min_size=1, max_size=3), max_size=4),
    links=st.lists(st.tuples(st.lists(NAMES, min_size=1, max_size=3), TEXT), max_size=4),
    path=st.lists(STEP, max_size=5),
    follow=st.booleans(),
)
@pytest.mark.slow
def test_a_resolved_path_is_canonical_and_inside_as_the_system_sees_it(
    tmp_path_factory: pytest.TempPathFactory,
    directories: list[list[str]],
    links: list[tuple[list[str], str]],
    path: list[str],
    follow: bool,
) -> None:
    root = tmp_path_factory.mktemp("tree") / "root"
    root.mkdir()
    for names in directories:
        root.joinpath(*names).mkdir(parents=True, exist_ok=True)
    for names, target in links:
        place = root.joinpath(*names)
        if place.parent.is_dir() and not place.is_symlink() and not place.exists():
            place.symlink_to(target)
    resolver = Resolver(open_host_directory(root, foreign=False), physical=str(root))
    try:
        found = resolver.resolve(tuple(path), follow=follow)
    except PathEscapeError:
        return
    assert not {"..", ".", ""} & set(found.parts)
    if found.problem is None:
        asked = root.joinpath(*path)
        last = asked if follow or not path or path[-1] == ".." else asked.parent
        expected = last.resolve()
        if last is not asked:
            expected /= path[-1]
        assert root.joinpath(*found.parts) == expected


# Races --------------------------------------------------------------------------------------------


class Interfering:
    """Does something right before an operation, as another process would.

    The operations of an opened file are called `file.read_at` and so on.
    """

    def __init__(self, inner: Any, before: Callable[[str], None], *, prefix: str = "") -> None:
        self.inner = inner
        self.before = before
        self.prefix = prefix

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self.inner, name)

        def work(*arguments: Any, **more: Any) -> Any:
            self.before(self.prefix + name)
            result = operation(*arguments, **more)
            return Interfering(result, self.before, prefix="file.") if name == "open" else result

        return work


def test_a_link_that_appears_after_the_check_is_checked(
    world: World, call: Any, files: DiskFiles
) -> None:
    (files.workspace / "d/f").write_bytes(b"f")

    def swap(operation: str) -> None:
        if operation == "open" and not (files.workspace / "d/f").is_symlink():
            (files.workspace / "d/f").unlink()
            (files.workspace / "d/f").symlink_to("../a.txt")

    files.wrap = lambda root: Interfering(root, swap)
    guest = guest_of(world, call, fs_read=("cwd://d",))
    assert guest("read-file", "d/f") == ("capability-denied", None)
    assert [event.resource for event in world.decisions] == ["workspace://a.txt"]
    assert [(entry.outcome, entry.resource) for entry in world.audited] == [
        ("allowed", "workspace://d/f"),
        ("failed", "workspace://d/f"),
    ]


def test_a_tree_that_keeps_changing_is_given_up(world: World, call: Any, files: DiskFiles) -> None:
    attempts = []
    (files.workspace / "s").mkdir()

    place = files.workspace / "s"

    def swap(operation: str) -> None:
        if operation == "stat" and place.is_symlink():
            place.unlink()
            place.mkdir()
        if operation == "replace":
            attempts.append(operation)
            place.rmdir()
            place.symlink_to("/")

    files.wrap = lambda root: Interfering(root, swap)
    guest = guest_of(world, call)
    assert guest("write-file", "s/f", b"x") == ("invalid-path", None)
    assert len(attempts) == MAX_ATTEMPTS
    assert not Path("/f").exists()
    assert files.open_leases == []


def test_a_link_that_vanishes_while_it_is_read_is_resolved_again(
    world: World, call: Any, files: DiskFiles
) -> None:
    def swap(operation: str) -> None:
        if operation == "readlink" and (files.workspace / "in").is_symlink():
            (files.workspace / "in").unlink()
            (files.workspace / "in").write_bytes(b"now a file")

    files.wrap = lambda root: Interfering(root, swap)
    assert guest_of(world, call)("read-file", "in") == ("ok", b"now a file")


@pytest.mark.parametrize("function", ["fs-stat", "fs-exists", "fs-canonicalize"])
def test_a_link_that_appears_before_a_look_is_followed_and_checked(
    world: World, call: Any, files: DiskFiles, function: str
) -> None:
    (files.workspace / "d/f").write_bytes(b"f")
    looks = []

    def swap(operation: str) -> None:
        looks.append(operation)
        if looks.count("stat") == 2 and not (files.workspace / "d/f").is_symlink():
            (files.workspace / "d/f").unlink()
            (files.workspace / "d/f").symlink_to("../a.txt")

    files.wrap = lambda root: Interfering(root, swap)
    guest = guest_of(world, call, fs_read=("cwd://d",))
    assert guest(function, "d/f") == ("capability-denied", None)
    assert [event.resource for event in world.decisions] == ["workspace://a.txt"]


def grows(files: DiskFiles, name: str, size: int) -> None:
    """The file gets longer between the look at its length and the first read."""

    def grow(operation: str) -> None:
        if operation == "file.read_at":
            with (files.workspace / name).open("r+b") as file:
                file.truncate(size)

    files.wrap = lambda root: Interfering(root, grow)


def test_a_file_that_grows_while_it_is_read_is_too_large(guest: Guest, files: DiskFiles) -> None:
    grows(files, "a.txt", MAX_FILE_BYTES + 1)
    assert guest("read-file", "a.txt") == ("too-large", None)


def test_what_is_too_long_is_not_even_read(world: World, guest: Guest, files: DiskFiles) -> None:
    world.quotas.max_storage_bytes = MAX_FILE_BYTES
    seen: list[str] = []
    files.wrap = lambda root: Interfering(root, seen.append)
    assert guest("read-file", "big") == ("too-large", None)
    assert guest("fs-copy", "big", "d/c") == ("quota", None)
    assert "file.stat" in seen
    assert not {"file.read_at", "replace"} & set(seen)


def test_a_copy_denied_when_its_source_grows_above_the_storage_limit(
    world: World, guest: Guest, files: DiskFiles
) -> None:
    world.quotas.max_storage_bytes = 4
    grows(files, "a.txt", 5)
    assert guest("fs-copy", "a.txt", "d/c") == ("quota", None)
    assert list((files.workspace / "d").iterdir()) == []


# Mounts -------------------------------------------------------------------------------------------


def test_without_mounts_everything_is_refused(world: World, call: Any) -> None:
    world.files = NoFiles()
    guest = guest_of(world, call)
    for path in ("a", "home://a", "tmp://a"):
        assert guest("read-file", path) == ("capability-denied", None)
    assert guest("read-file", "docs://a") == ("invalid-path", None)


def test_leases_are_given_back(world: World, call: Any, files: DiskFiles) -> None:
    guest = guest_of(world, call)
    guest("read-file", "a.txt")
    guest("read-file", "nope")
    guest("fs-copy", "home://x", "d/x")
    assert files.open_leases == []
    assert guest("fs-open", "nope", "read")[0] == "not-found"
    assert files.open_leases == []
    handle = guest("fs-open", "a.txt", "read")[1]
    assert files.open_leases == ["workspace"]
    handle.drop()
    handle.drop()
    assert files.open_leases == []


def test_closing_the_instance_closes_its_files(world: World, call: Any, files: DiskFiles) -> None:
    guest = guest_of(world, call)
    handle = guest("fs-open", "a.txt", "read")[1]
    guest.instance.close()  # type: ignore[attr-defined]
    assert files.open_leases == []
    assert guest(f"{HANDLE}read-at", handle, 0, 1) == ("closed", None)
    assert guest(f"{HANDLE}stat", handle) == ("closed", None)


def test_life_cycle_hooks_name_their_install_directory(
    world: World, call: Any, files: DiskFiles
) -> None:
    guest_of(world, call, purpose="lifecycle")("read-file", "a.txt")
    assert files.install_directories == [Path("unused")]
    guest_of(world, call)("read-file", "a.txt")
    assert len(files.install_directories) == 1


# Handles ------------------------------------------------------------------------------------------


def test_what_a_handle_does(guest: Guest, files: DiskFiles) -> None:
    handle = guest("fs-open", "d/f", "write")[1]
    assert guest(f"{HANDLE}write-at", handle, 2, b"cd") == ("ok", 2)
    assert guest(f"{HANDLE}write-at", handle, 0, b"ab") == ("ok", 2)
    assert guest(f"{HANDLE}set-len", handle, 3) == ("ok", None)
    assert guest(f"{HANDLE}sync-data", handle) == ("ok", None)
    assert guest(f"{HANDLE}sync-all", handle) == ("ok", None)
    assert guest(f"{HANDLE}stat", handle)[1].size == 3
    assert (files.workspace / "d/f").read_bytes() == b"abc"
    both = guest("fs-open", "d/f", "read-write")[1]
    assert guest(f"{HANDLE}write-at", both, 0, b"x") == ("ok", 1)
    assert guest(f"{HANDLE}read-at", both, 0, 10) == ("ok", b"xbc")


@pytest.mark.parametrize(
    ("mode", "reads", "writes"),
    [
        ("read", True, False),
        ("write", False, True),
        ("append", False, True),
        ("read-write", True, True),
    ],
)
def test_a_handle_denied_when_it_was_opened_for_something_else_whatever_the_backend_says(
    tmp_path: Path, mode: Any, reads: bool, writes: bool
) -> None:
    """Without a backend that could say no: the handle itself knows what the gate allowed."""
    (tmp_path / "f").write_text("x")
    at = target(tmp_path, "read-write")
    alice = Principal("alice")
    handle = FileHandle(
        at.open("read-write"),
        target=at,
        mode=mode,
        principal=alice,
        lease=DiskLease(at.mount, open_leases=[]),
        dropped=lambda _handle: None,
    )
    for wanted, allowed in ((False, reads), (True, writes)):
        if allowed:
            handle.check_use(alice, writes=wanted)
        else:
            with pytest.raises(VfsError) as caught:
                handle.check_use(alice, writes=wanted)
            assert caught.value.code == "vfs.access"
    handle.drop()


def test_an_appending_handle_ignores_the_position(guest: Guest, files: DiskFiles) -> None:
    handle = guest("fs-open", "a.txt", "append")[1]
    assert guest(f"{HANDLE}write-at", handle, 0, b"!") == ("ok", 1)
    assert (files.workspace / "a.txt").read_bytes() == b"hi!"
    assert guest(f"{HANDLE}read-at", handle, 0, 1) == ("access", None)


def test_a_file_denied_when_it_would_grow_above_the_storage_limit(
    world: World, guest: Guest, files: DiskFiles
) -> None:
    world.quotas.max_storage_bytes = 4
    handle = guest("fs-open", "d/f", "write")[1]
    assert guest(f"{HANDLE}write-at", handle, 3, b"xy") == ("quota", None)
    assert guest(f"{HANDLE}set-len", handle, 5) == ("quota", None)
    assert guest(f"{HANDLE}set-len", handle, 4) == ("ok", None)
    appending = guest("fs-open", "d/f", "append")[1]
    assert guest(f"{HANDLE}write-at", appending, 0, b"x") == ("quota", None)
    assert (files.workspace / "d/f").stat().st_size == 4


def test_a_handle_denied_when_the_run_loop_serves_somebody_else(
    world: World, call: Any, files: DiskFiles
) -> None:
    del files
    guest = guest_of(world, call, purpose="run")
    instance = guest.instance  # type: ignore[attr-defined]
    handle = guest("fs-open", "a.txt", "read-write")[1]
    instance.caller = Caller(Principal("bob"), Attribution.VERIFIED, "s", "t")
    assert guest(f"{HANDLE}read-at", handle, 0, 1) == ("access", None)
    assert guest(f"{HANDLE}write-at", handle, 0, b"x") == ("access", None)
    assert guest(f"{HANDLE}stat", handle) == ("access", None)
    assert guest("read-file", "home://x") == ("capability-denied", None)
    instance.caller = None
    assert guest(f"{HANDLE}read-at", handle, 0, 1) == ("ok", b"h")


# The audit log ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("read-file", ("a.txt",)),
        ("write-file", ("a.txt", b"x")),
        ("fs-append", ("a.txt", b"x")),
        ("fs-open", ("d/new", "write")),
        ("fs-mkdir", ("d/new",)),
        ("fs-mkdir-all", ("d/new",)),
        ("fs-unlink", ("a.txt",)),
        ("fs-copy", ("a.txt", "d/new")),
        ("fs-rename", ("a.txt", "d/new")),
        ("fs-remove-dir-all", ("d",)),
        ("fs-hard-link", ("a.txt", "d/new")),
        ("fs-read-link", ("in",)),
        ("fs-canonicalize", ("in",)),
        ("fs-exists", ("a.txt",)),
        ("fs-stat", ("a.txt",)),
        ("fs-stat-symlink", ("in",)),
        ("fs-readdir", ("d",)),
    ],
)
def test_nothing_happens_that_was_not_recorded(
    world: World, guest: Guest, files: DiskFiles, function: str, arguments: tuple[Any, ...]
) -> None:
    world.audit_fails = True
    assert guest(function, *arguments) == ("unknown", "not recorded")
    assert (files.workspace / "a.txt").read_bytes() == b"hi"
    assert (files.workspace / "d").is_dir()
    assert not (files.workspace / "d/new").exists()
    world.audit_fails = False
    assert guest(function, *arguments)[0] == "ok"
    assert world.audited[0].action == f"fs.{function.removeprefix('fs-')}"
    assert world.audited[0].outcome == "allowed"


def test_a_write_through_a_handle_is_recorded_before(world: World, guest: Guest) -> None:
    handle = guest("fs-open", "d/f", "write")[1]
    world.audit_fails = True
    assert guest(f"{HANDLE}write-at", handle, 0, b"x") == ("unknown", "not recorded")
    assert guest(f"{HANDLE}set-len", handle, 9) == ("unknown", "not recorded")
    assert guest(f"{HANDLE}stat", handle)[1].size == 0


def test_an_entry_names_the_rule_the_paths_and_the_bytes(world: World, guest: Guest) -> None:
    guest("write-file", "d/../d/f", b"abc")
    guest("fs-rename", "d/f", "d/g")
    guest("read-file", "nope")
    write, rename, read, failed = world.audited
    assert (write.principal, write.capsule) == ("alice", "t")
    assert (write.action, write.resource, write.rule) == (
        "fs.write-file",
        "workspace://d/f",
        "fs_write:*",
    )
    assert write.detail == {"path": "d/../d/f", "bytes": "3"}
    assert write.timestamp.endswith("Z")
    assert rename.detail == {"path": "d/f", "to": "d/g"}
    assert (read.outcome, failed.outcome) == ("allowed", "failed")
    assert failed.detail == {"path": "nope", "error": "not-found"}


@pytest.mark.parametrize(
    ("path", "case", "rule"),
    [
        ("../x", "boundary-escape", "vfs.beneath"),
        ("out", "boundary-escape", "vfs.beneath"),
        ("ftp://x", "invalid-path", "fs.path"),
        ("a\n" + "b" * 5000, "invalid-path", "fs.path"),
    ],
)
def test_an_escape_is_recorded_with_high_severity(
    world: World, guest: Guest, path: str, case: str, rule: str
) -> None:
    assert guest("read-file", path) == (case, None)
    (entry,) = world.audited
    assert (entry.outcome, entry.rule) == ("denied", rule)
    assert (entry.detail, entry.severity) == ({"path": path[:512]}, "high")
    assert len(entry.resource) <= 512


def test_an_escape_by_a_links_text_is_recorded_with_high_severity(
    world: World, guest: Guest
) -> None:
    assert guest("fs-read-link", "out") == ("boundary-escape", None)
    assert [entry.outcome for entry in world.audited] == ["allowed", "denied"]
    assert world.audited[1].severity == "high"


def test_a_missing_mount_is_recorded(world: World, call: Any, files: DiskFiles) -> None:
    del files
    guest_of(world, call, principal="bob")("fs-stat", "home://x")
    (entry,) = world.audited
    assert (entry.outcome, entry.rule, entry.principal) == ("denied", "mount:home", "bob")


def test_looking_around_does_not_flood_the_log(world: World, call: Any, files: DiskFiles) -> None:
    del files
    guest = guest_of(world, call)
    for _ in range(100):
        guest("fs-stat", "a.txt")
        guest("fs-exists", "nope")
    assert [entry.action for entry in world.audited] == ["fs.stat", "fs.exists"]
    assert world.audited[0].detail == {"path": "a.txt", "calls": "1"}
    world.clock.offset += 2
    guest("fs-stat", "d")
    assert world.audited[2].detail == {"path": "d", "calls": "100"}
    guest.instance.close()  # type: ignore[attr-defined]
    assert [entry.detail["calls"] for entry in world.audited] == ["1", "1", "100", "99"]


def test_what_a_handle_read_is_summed_up(world: World, guest: Guest) -> None:
    handle = guest("fs-open", "a.txt", "read")[1]
    for _ in range(3):
        guest(f"{HANDLE}read-at", handle, 0, 2)
    handle.drop()
    opened, read = world.audited
    assert (opened.action, read.action) == ("fs.open", "fs.read-at")
    assert read.detail == {"path": "workspace://a.txt", "bytes": "6"}
    assert read.severity == "low"


# Policies and long work ---------------------------------------------------------------------------


def test_a_policy_takes_away(world: World, call: Any, files: DiskFiles) -> None:
    del files
    world.votes = [Vote(Verdict.DENY, "no files today")]
    assert guest_of(world, call)("read-file", "a.txt") == ("capability-denied", None)
    assert world.decisions[0].rule == "policy:test-policy"


def test_long_work_gives_up_when_the_call_is_stopped(
    world: World, call: Any, files: DiskFiles
) -> None:
    cancel = CancelToken()
    guest = guest_of(world, call, cancel=cancel)
    cancel.fire()
    assert guest("fs-remove-dir-all", "d") == ("unknown", "failed")
    assert guest("fs-copy", "a.txt", "d/c") == ("unknown", "failed")
    assert (files.workspace / "d").is_dir()


# Errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", sorted(VFS_CODES))
def test_every_code_of_a_backend_has_a_case(code: str) -> None:
    answer = error_answer(VfsError("host /secret/path", code=code))
    assert answer is not None
    expected = {
        "read-only": "access",
        "link": "invalid-path",
        "conflict": "unknown",
        "unsupported": "unknown",
        "failed": "unknown",
    }
    name = code.removeprefix("vfs.")
    assert answer.case == expected.get(name, name)
    assert answer.payload == (name if answer.case == "unknown" else None)


@pytest.mark.parametrize(
    ("error", "case"),
    [
        (VfsNotFoundError("x"), "not-found"),
        (ReadOnlyError("x"), "access"),
        (VfsError("x", code="other.thing"), "unknown"),
        (PathEscapeError("x", rule="r"), "boundary-escape"),
        (QuotaExceededError("x", rule="r"), "quota"),
        (CapabilityDeniedError("x", rule="r"), "capability-denied"),
        (AuditError("x"), "unknown"),
        (WitError("closed"), "closed"),
    ],
)
def test_errors_become_cases(error: Exception, case: str) -> None:
    answer = error_answer(error)
    assert answer is not None
    assert answer.case == case


def test_an_error_nobody_foresees_stays_one() -> None:
    assert error_answer(RuntimeError("/secret")) is None


def test_a_broken_backend_tells_the_guest_nothing(
    world: World, call: Any, files: DiskFiles
) -> None:
    def fail(operation: str) -> None:
        if operation == "open":
            raise RuntimeError(f"cannot open {files.workspace}")

    files.wrap = lambda root: Interfering(root, fail)
    assert guest_of(world, call)("read-file", "a.txt") == ("unknown", "internal error")
    assert world.audited[1].detail["error"] == "unknown"


# Targets ------------------------------------------------------------------------------------------


def target(root: Path, access: Any, *, scheme: str = "workspace") -> Target:
    entries = parse_file_patterns(["*"])
    grants = CapsuleGrants(CapsuleId("c"), fs_read=entries, fs_write=entries)
    gate = Gate(votes=None, decided=lambda _event: None)
    checked = gate.check_file(grants, Principal("p"), access, FilePlace("workspace", ("f",)))
    return Target(
        Mount(scheme, open_host_directory(root, foreign=False), None, creates_parents=False),
        checked,
    )


@pytest.mark.parametrize(
    "work",
    [
        lambda t: t.open("write"),
        lambda t: t.open("append"),
        lambda t: t.open("read-write"),
        lambda t: t.replace([b""]),
        lambda t: t.mkdir(),
        lambda t: t.mkdir_parents(),
        lambda t: t.unlink(),
        lambda t: t.rmdir(),
        lambda t: t.rename(t),
        lambda t: t.link(t),
    ],
)
def test_a_change_refused_when_only_reading_was_checked(
    tmp_path: Path, work: Callable[[Target], object]
) -> None:
    (tmp_path / "f").write_text("x")
    with pytest.raises(TypeError, match="was not asked"):
        work(target(tmp_path, "read"))
    assert (tmp_path / "f").read_text() == "x"


def test_reading_refused_when_only_writing_was_checked(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with pytest.raises(TypeError, match="was not asked"):
        target(tmp_path, "write").open("read")


def test_a_proof_refused_when_it_is_for_another_mount(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="another mount"):
        target(tmp_path, "read", scheme="home")
