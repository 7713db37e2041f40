"""The host backend by itself against a process that changes the tree, for both ways to open paths.

Every group of operations runs while names turn from directories and files into links to what is
outside, and directories leave the tree and come back. `ASTRID_RACE_SECONDS` sets how long each race
lasts. The same attack wins against strategies whose guard was taken away, so it is a real one.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from astrid_core.builtin.host_vfs import open_host_directory
from astrid_core.builtin.host_vfs.beneath import Beneath, KernelWalk, Opener, StepWalk, best_beneath
from astrid_hookspecs.errors import AstridError
from astrid_hookspecs.vfs import OpenMode, VfsDirectory, VfsFile
from tests.support.path_attack import all_below, attacked, turns

SECRET = b"SECRET " * 8
MARK = "only-outside"
RACE_S = float(os.environ.get("ASTRID_RACE_SECONDS", "0.4"))
WEAK_S = 60
"""How long an attack may take to win against a strategy without its guard; it takes moments."""

STRATEGIES: dict[str, Callable[[], Beneath]] = {"step": StepWalk}
if isinstance(best_beneath(), KernelWalk):
    STRATEGIES["kernel"] = KernelWalk


class Follows:
    """A weak strategy: relative to the root's descriptor, but every link is followed."""

    def opener(self, flags: int, mode: int = 0) -> Opener:
        return lambda directory, path: os.open(path, flags, mode, dir_fd=directory)


class LooksFirst:
    """A weak strategy: it looks where a path leads, and then uses the path."""

    def __init__(self, root: Path) -> None:
        self.root = os.fsencode(root.resolve())

    def opener(self, flags: int, mode: int = 0) -> Opener:
        def open_checked(directory: int, path: bytes) -> int:
            whole = os.path.join(self.root, path)  # noqa: PTH118 - bytes
            if not os.path.realpath(whole).startswith(self.root + b"/"):
                raise PermissionError("outside")
            return os.open(path, flags, mode, dir_fd=directory)

        return open_checked


class Escaped(Exception):  # noqa: N818 - what the attacker wants
    """The attack has won."""


class Yard:
    """A tree under attack, what is outside of it, and a tally of what the backend answered."""

    def __init__(self, top: Path) -> None:
        self.inside = top / "inside"
        self.outside = top / "outside"
        self.inside.mkdir()
        (self.outside / "empty").mkdir(parents=True)
        (self.outside / "secret").write_bytes(SECRET)
        (self.outside / MARK).write_bytes(SECRET)
        self.before = all_below(self.outside)
        self.tally: Counter[str] = Counter()

    def need_untouched(self) -> None:
        if all_below(self.outside) != self.before:
            raise Escaped("something outside was changed")

    def attempt(self, name: str, work: Callable[[], object]) -> None:
        """Do one thing; a refusal is fine."""
        try:
            work()
        except AstridError as error:
            self.tally[error.code] += 1
        else:
            self.tally[name] += 1


def need_honest(data: bytes) -> None:
    if b"SECRET" in data:
        raise Escaped("the secret was read")


def look(file: VfsFile | None) -> bool:
    """A condition as an overlay asks it: it reads what is about to be taken away."""
    if file is not None:
        need_honest(file.read_at(0, 999))
    return True


def work_on(root: VfsDirectory, path: str, mode: OpenMode, data: bytes) -> None:
    """Open a file; read it where that is allowed, write where that is."""
    file = root.open(path, mode)
    try:
        if mode in {"read", "read-write"}:
            need_honest(file.read_at(0, 999))
        if mode != "read":
            file.write_at(0, data)
    finally:
        file.close()


def read(yard: Yard, root: VfsDirectory) -> None:
    for path in ("s/secret", "f", "h", "m/secret", f"s/{MARK}"):
        yard.attempt(f"read {path}", lambda path=path: work_on(root, path, "read", b""))
    yard.attempt("look", lambda: root.readlink("f"))


def write(yard: Yard, root: VfsDirectory) -> None:
    for mode in ("write", "append", "read-write"):
        for path in ("s/secret", "f", "h", "m/secret", "s/made"):
            yard.attempt(mode, lambda path=path, mode=mode: work_on(root, path, mode, b"ours"))


def replace(yard: Yard, root: VfsDirectory) -> None:
    for path in ("s/secret", "f", "h", "s/made"):
        yard.attempt("replace", lambda path=path: root.replace(path, [b"ours"]))
        yard.attempt("compare", lambda path=path: root.replace(path, [b"ours"], only_if=look))


def rename(yard: Yard, root: VfsDirectory) -> None:
    yard.attempt("out", lambda: root.rename(f"s/{MARK}", "taken"))
    yard.attempt("make", lambda: root.replace("mine", [b"ours"]))
    yard.attempt("in", lambda: root.rename("mine", "s/planted"))
    yard.attempt("link", lambda: root.symlink("nowhere", "s/link"))
    yard.attempt("back", lambda: root.rename("s/planted", "mine"))


def unlink(yard: Yard, root: VfsDirectory) -> None:
    for path in ("s/secret", f"s/{MARK}", "m/secret"):
        yard.attempt("unlink", lambda path=path: root.unlink(path))
        yard.attempt("compare", lambda path=path: root.unlink(path, only_if=look))
    yard.attempt("unlink", lambda: root.unlink("h"))
    yard.attempt("compare", lambda: root.unlink("f", only_if=look))


def mkdir(yard: Yard, root: VfsDirectory) -> None:
    for path in ("s/made", "s/made/below", "m/made"):
        yard.attempt("mkdir", lambda path=path: root.mkdir(path))


def rmdir(yard: Yard, root: VfsDirectory) -> None:
    yard.attempt("mkdir", lambda: root.mkdir("s/empty"))
    yard.attempt("rmdir", lambda: root.rmdir("s/empty"))
    yard.attempt("rmdir", lambda: root.rmdir("m"))


def names(yard: Yard, root: VfsDirectory) -> None:
    def list_and_look(path: str) -> None:
        if MARK in root.names(path, after=None, limit=99):
            raise Escaped("what is outside was listed")

    def open_and_list() -> None:
        below = root.open_directory("s")
        try:
            if MARK in below.names("", after=None, limit=99):
                raise Escaped("what is outside was listed")
        finally:
            below.close()

    yard.attempt("names", lambda: list_and_look("s"))
    yard.attempt("names", open_and_list)
    yard.attempt("stat", lambda: root.stat(f"s/{MARK}"))


GROUPS: dict[str, tuple[Callable[[Yard, VfsDirectory], None], tuple[str, ...]]] = {
    "read": (read, ("read f", "read h")),
    "write": (write, ("write", "append", "read-write")),
    "replace": (replace, ("replace", "compare")),
    "rename": (rename, ("in", "back", "link")),
    "unlink": (unlink, ("unlink", "compare")),
    "mkdir": (mkdir, ("mkdir",)),
    "rmdir": (rmdir, ("rmdir",)),
    "names": (names, ("names",)),
}
"""What is done in each race, and which of it must work now and then for the race to mean much."""


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path)


def race(
    yard: Yard,
    root: VfsDirectory,
    group: str,
    *,
    seconds: float,
    is_enough: Callable[[], bool] = lambda: True,
) -> int:
    """Run a group again and again, longer where it is not enough by then; how often.

    Raises:
        Escaped: The attack has won.
    """
    work, _ = GROUPS[group]
    rounds = 0
    with contextlib.closing(root), attacked(yard.inside, yard.outside):
        for rounds in turns(seconds, is_enough):  # noqa: B007 - the last one is the answer
            work(yard, root)
            yard.need_untouched()
    return rounds


@pytest.mark.slow
@pytest.mark.timeout(120 + 2 * RACE_S)
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_nothing_outside_is_read_or_changed(yard: Yard, strategy: str, group: str) -> None:
    root = open_host_directory(yard.inside, foreign=True, beneath=STRATEGIES[strategy]())

    def is_enough() -> bool:
        worked = [yard.tally[name] for name in GROUPS[group][1]]
        return all(worked) and sum(yard.tally.values()) > sum(worked)

    rounds = race(yard, root, group, seconds=RACE_S, is_enough=is_enough)
    assert rounds
    for name in GROUPS[group][1]:
        assert yard.tally[name], f"{name} never worked: {yard.tally}"
    assert sum(yard.tally.values()) > sum(yard.tally[name] for name in GROUPS[group][1]), (
        f"nothing was ever in the way, so nothing was tried: {yard.tally}"
    )


@pytest.mark.slow
@pytest.mark.timeout(2 * WEAK_S)
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("weak", ["follows", "looks-first"])
def test_the_attack_wins_against_a_weak_strategy(yard: Yard, weak: str, group: str) -> None:
    beneath: Beneath = Follows() if weak == "follows" else LooksFirst(yard.inside)
    root = open_host_directory(yard.inside, foreign=False, beneath=beneath)
    with pytest.raises(Escaped):
        race(yard, root, group, seconds=WEAK_S)


@pytest.mark.slow
@pytest.mark.timeout(2 * WEAK_S)
@pytest.mark.parametrize("group", ["read", "write", "replace"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_attack_wins_where_files_with_several_names_are_believed(
    yard: Yard, strategy: str, group: str
) -> None:
    root = open_host_directory(yard.inside, foreign=False, beneath=STRATEGIES[strategy]())
    with pytest.raises(Escaped):
        race(yard, root, group, seconds=WEAK_S)
