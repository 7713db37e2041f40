"""The storage limit: charged before anything grows, given back when it goes."""

from __future__ import annotations

import contextlib
import errno
import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from astrid_conformance.fakes import DictDirectory
from astrid_core.builtin.host_vfs import open_host_directory
from astrid_core.kernel.mounts.metered import MeteredDirectory
from astrid_core.kernel.mounts.metering import StorageMeter
from astrid_core.kernel.mounts.tree_size import ENTRY_BYTES, TreeSize, tree_size
from astrid_hookspecs.errors import QuotaExceededError, VfsError

LIMIT = 10 * ENTRY_BYTES


class Counted:
    def __init__(self) -> None:
        self.bytes = 0
        self.times = 0
        self.is_whole = True

    def __call__(self) -> TreeSize:
        self.times += 1
        return TreeSize(self.bytes, self.is_whole)


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def meter(counted: Counted) -> StorageMeter:
    return StorageMeter(limit=lambda: LIMIT, count=counted)


@pytest.fixture
def inner() -> DictDirectory:
    return DictDirectory()


@pytest.fixture
def root(inner: DictDirectory, meter: StorageMeter) -> MeteredDirectory:
    return MeteredDirectory(inner, meter)


def test_every_way_to_grow_is_charged_and_given_back(
    root: MeteredDirectory, meter: StorageMeter
) -> None:
    file = root.open("a", "write")
    file.write_at(0, b"x" * 100)
    file.write_at(50, b"y" * 100)
    assert meter.used_bytes() == ENTRY_BYTES + 150
    file.truncate(400)
    assert meter.used_bytes() == ENTRY_BYTES + 400
    file.truncate(10)
    appended = root.open("a", "append")
    appended.write_at(10, b"z" * 5)
    assert meter.used_bytes() == ENTRY_BYTES + 15
    file.close()
    appended.close()
    root.replace("b", [b"1" * 20, b"2" * 30])
    root.mkdir("d")
    root.link("a", "c")
    assert meter.used_bytes() == 4 * ENTRY_BYTES + 15 + 50
    root.rename("b", "a")
    assert meter.used_bytes() == 3 * ENTRY_BYTES + 50
    root.rename("a", "a")
    root.open("a", "write").close()
    assert meter.used_bytes() == 3 * ENTRY_BYTES
    root.rmdir("d")
    root.unlink("a")
    root.open_directory("").replace("c", [])
    assert meter.used_bytes() == ENTRY_BYTES - 15


def test_growth_refused_when_over_the_limit(
    root: MeteredDirectory, inner: DictDirectory, meter: StorageMeter
) -> None:
    file = root.open("a", "write")
    file.write_at(0, b"x" * (LIMIT - ENTRY_BYTES))
    used = meter.used_bytes()
    for grow in (
        lambda: file.write_at(LIMIT - ENTRY_BYTES, b"x"),
        lambda: file.truncate(LIMIT),
        lambda: root.open("b", "write"),
        lambda: root.mkdir("d"),
        lambda: root.replace("a", [b"x" * LIMIT]),
        lambda: root.link("a", "b"),
    ):
        with pytest.raises(QuotaExceededError) as caught:
            grow()
        assert caught.value.rule == "max_storage_bytes"
        assert meter.used_bytes() == used
    assert list(inner.nodes) == ["", "a"]
    assert file.stat().size == LIMIT - ENTRY_BYTES
    file.write_at(0, b"in place")


def test_what_fails_costs_nothing(root: MeteredDirectory, meter: StorageMeter) -> None:
    root.mkdir("d")

    def broken() -> Iterator[bytes]:
        yield b"x" * 100
        raise OSError

    with pytest.raises(OSError):  # noqa: PT011 - raised above
        root.replace("a", broken())
    with pytest.raises(VfsError):
        root.mkdir("d")
    with pytest.raises(VfsError):
        root.symlink("target", "d")
    assert meter.used_bytes() == ENTRY_BYTES


def test_the_home_is_counted_again_before_anybody_is_refused(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    counted.bytes = LIMIT
    meter = StorageMeter(limit=lambda: LIMIT, count=counted)
    counted.bytes = 0  # somebody deleted files by hand
    with pytest.raises(QuotaExceededError):
        meter.charge(1)
    assert counted.times == 1
    now = 2.0
    meter.charge(1)
    assert (counted.times, meter.used_bytes()) == (2, 1)


def test_what_cannot_be_seen_whole_stays_as_it_was_charged(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.monotonic", iter(range(0, 1000, 10)).__next__)
    meter = StorageMeter(limit=lambda: LIMIT, count=counted)
    meter.charge(LIMIT)
    counted.is_whole = False
    with pytest.raises(QuotaExceededError):
        meter.charge(1)
    counted.is_whole = True
    meter.charge(1)


def test_accounts_share_the_limit_and_end_with_their_store(meter: StorageMeter) -> None:
    account = meter.account()
    account.charge(LIMIT + 5)  # what a store holds when it is opened is a fact
    account.enforce()
    with pytest.raises(QuotaExceededError):
        account.charge(1)
    with pytest.raises(QuotaExceededError):
        meter.charge(1)
    account.charge(-10)
    meter.charge(5)
    account.close()
    account.close()
    assert meter.used_bytes() == 5


@pytest.mark.parametrize("way", ["unlink", "replace", "rename"])
def test_a_file_without_a_name_is_charged_until_it_is_closed(
    root: MeteredDirectory, meter: StorageMeter, way: str
) -> None:
    root.replace("a", [b"x" * 100])
    file = root.open("a", "read-write")
    second = root.open("a", "read")
    root.replace("b", [])
    before = meter.used_bytes()
    lose = {
        "unlink": lambda: root.unlink("a"),
        "replace": lambda: root.replace("a", []),
        "rename": lambda: root.rename("b", "a"),
    }
    lose[way]()
    assert meter.used_bytes() == before - (0 if way == "replace" else ENTRY_BYTES)
    file.write_at(100, b"y" * 50)
    file.truncate(120)  # gives back what was charged, once
    assert meter.used_bytes() == before + 20 - (0 if way == "replace" else ENTRY_BYTES)
    file.close()
    file.close()
    assert second.read_at(0, 1) == b"x"
    second.close()
    assert meter.used_bytes() == before - 100 - (0 if way == "replace" else ENTRY_BYTES)


def test_storage_denied_when_files_without_a_name_take_all_of_it(
    root: MeteredDirectory, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.monotonic", iter(range(1_000_000, 2_000_000, 10)).__next__)
    file = root.open("a", "write")
    file.write_at(0, b"x" * (LIMIT - ENTRY_BYTES))
    root.unlink("a")
    root.mkdir("d")
    counted.bytes = ENTRY_BYTES  # what there is to be found in the tree
    with pytest.raises(QuotaExceededError):
        root.mkdir("e")
    assert counted.times == 2
    file.close()
    root.mkdir("e")


def test_an_open_file_is_known_under_its_new_path(
    root: MeteredDirectory, meter: StorageMeter
) -> None:
    root.mkdir("d")
    below = root.open_directory("d")
    file = below.open("a", "append")
    file.write_at(0, b"x" * 100)
    root.rename("d", "e")
    root.unlink("e/a")
    assert meter.used_bytes() == ENTRY_BYTES + 100
    file.close()
    assert meter.used_bytes() == ENTRY_BYTES


def test_bytes_are_given_back_once_when_two_replace_the_same_file(
    root: MeteredDirectory, meter: StorageMeter
) -> None:
    root.replace("a", [b"x" * 1000])

    def slowly() -> Iterator[bytes]:
        yield b"1"
        root.replace("a", [b"22"])
        yield b"1"

    root.replace("a", slowly())
    assert meter.used_bytes() == ENTRY_BYTES + 2


def test_what_was_written_before_a_failure_stays_charged(
    meter: StorageMeter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = MeteredDirectory(open_host_directory(tmp_path, foreign=False), meter)
    file = root.open("a", "write")
    disk = [3, 0]

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        if not disk[0]:
            raise OSError(errno.ENOSPC, "full")
        written = really(descriptor, data[: disk[0]], offset)
        disk.pop(0)
        return written

    really = os.pwrite
    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(VfsError):
        file.write_at(0, b"x" * 100)
    assert (tmp_path / "a").stat().st_size == 3
    assert meter.used_bytes() == ENTRY_BYTES + 3
    file.close()
    root.close()


def test_threads_leave_a_home_that_adds_up(tmp_path: Path, counted: Counted) -> None:
    meter = StorageMeter(limit=lambda: 1 << 30, count=counted)
    root = MeteredDirectory(open_host_directory(tmp_path, foreign=False), meter)

    def guest(seed: int) -> None:
        dice = random.Random(seed)  # noqa: S311 - a test

        def use_file() -> None:
            file = root.open(dice.choice("abc"), dice.choice(["write", "append", "read-write"]))
            with contextlib.closing(file):
                file.write_at(dice.randrange(3000), b"x" * dice.randrange(3000))
                file.truncate(dice.randrange(3000))

        ways: list[Callable[[], object]] = [
            use_file,
            lambda: root.replace(dice.choice("abc"), [b"y" * dice.randrange(5000)] * 2),
            lambda: root.unlink(dice.choice("abc")),
            lambda: root.rename(dice.choice("abc"), dice.choice("abc")),
        ]
        for _ in range(150):
            with contextlib.suppress(VfsError):
                dice.choice(ways)()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(guest, range(4)))
    assert meter.used_bytes() == tree_size(tmp_path).size_bytes
    root.close()


@pytest.mark.parametrize("step", ["unlink", "rename", "replace", "rmdir"])
def test_no_count_in_the_middle_of_a_change_gives_anything_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """What somebody else counts after the disk changed, and before that is charged."""
    monkeypatch.setattr("astrid_core.kernel.mounts.metering._RECOUNT_S", 0.0)
    disk = open_host_directory(tmp_path, foreign=False, multi_linked=False)
    meter = StorageMeter(limit=lambda: 100_000, count=lambda: tree_size(tmp_path))
    root = MeteredDirectory(disk, meter)
    root.replace("file", (b"x" * 50_000,))
    root.replace("other", (b"y" * 10_000,))
    root.mkdir("directory")
    other = meter.account()
    other.enforce()

    def counted_meanwhile(*arguments: object, **options: object) -> object:
        try:
            return real(*arguments, **options)
        finally:
            with pytest.raises(QuotaExceededError):
                other.charge(100_000)

    real = getattr(disk, step)
    monkeypatch.setattr(disk, step, counted_meanwhile)
    if step == "unlink":
        root.unlink("file")
    elif step == "rename":
        root.rename("other", "file")
    elif step == "rmdir":
        root.rmdir("directory")
    else:
        with pytest.raises(QuotaExceededError):
            root.replace("new", (b"z" * 20_000, b"z" * 200_000))
    assert meter.used_bytes() == tree_size(tmp_path).size_bytes
    with pytest.raises(QuotaExceededError):  # and now it is counted
        other.charge(100_000)
    assert meter.used_bytes() == tree_size(tmp_path).size_bytes
