"""State and files of a principal share one limit. Spec: kernel-and-security 16 D-33."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from astrid_core.builtin.sqlite_kv import SqliteKvStore
from astrid_core.kernel.mounts.metering import StorageMeter
from astrid_core.kernel.mounts.tree_size import TreeSize
from astrid_core.kernel.staged_kv import StagedKv
from astrid_core.kernel.state_meter import StateMeter
from astrid_hookspecs.errors import QuotaExceededError
from astrid_hookspecs.stores import KvStore
from astrid_hookspecs.values import Principal

ALICE = Principal("alice")
BOB = Principal("bob")
NOTES, MAIL = "alice:capsule:notes", "alice:capsule:mail"


class World:
    """Two principals with meters of their own, and the limit of both."""

    def __init__(self, kv: KvStore) -> None:
        self.kv = kv
        self.limit = 1000
        self.restart()

    def restart(self) -> None:
        """What is kept in memory is gone."""
        self.files = {
            who: StorageMeter(limit=lambda: self.limit, count=lambda: TreeSize(0, is_whole=True))
            for who in (ALICE, BOB)
        }
        self.meter = StateMeter(self.kv, meter_of=self.files.__getitem__)

    def write(self, namespace: str, key: str, size: int, *, kv: KvStore | None = None) -> None:
        principal = Principal(namespace.partition(":")[0])
        with self.meter.writing(principal, namespace, growth_bytes=len(key) + size) as quota:
            (kv or self.kv).set(namespace, key, b"x" * size, quota_bytes=quota)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    kv = SqliteKvStore(tmp_path)
    try:
        yield World(kv)
    finally:
        kv.close()


def refused(world: World, namespace: str, key: str, size: int) -> bool:
    try:
        world.write(namespace, key, size)
    except QuotaExceededError as error:
        return (error.rule, "1000 bytes" in error.message) == ("max_storage_bytes", True)
    return False


def test_write_denied_when_all_capsules_together_hold_the_limit(world: World) -> None:
    world.write(NOTES, "k", 499)
    world.write(MAIL, "k", 499)
    assert refused(world, "alice:capsule:third", "k", 0)
    assert refused(world, MAIL, "l", 0)
    world.write("bob:capsule:notes", "k", 999)


def test_write_denied_when_files_and_state_together_hold_the_limit(world: World) -> None:
    world.files[ALICE].charge(600)
    world.write(NOTES, "k", 399)
    assert refused(world, NOTES, "l", 0)
    with pytest.raises(QuotaExceededError):
        world.files[ALICE].charge(1)
    world.kv.delete(NOTES, "k")
    world.files[ALICE].charge(400)


def test_what_is_replaced_or_deleted_counts_no_longer(world: World) -> None:
    for size in (999, 999, 10, 999):
        world.write(NOTES, "k", size)
    world.kv.delete(NOTES, "k")
    world.write(MAIL, "k", 999)


def test_what_people_are_told_is_what_there_is(world: World) -> None:
    for size in (10, 500, 20):
        world.write(NOTES, "k", size)
    assert world.meter.used_bytes(ALICE) == 21
    world.kv.delete(NOTES, "k")
    assert world.meter.used_bytes(ALICE) == 0


def test_the_last_byte_can_be_used_and_what_shrinks_always_passes(world: World) -> None:
    world.write(NOTES, "k", 999)
    assert refused(world, NOTES, "k", 1000)
    world.limit = 100
    world.write(NOTES, "k", 998)


def test_other_namespaces_count_after_a_restart_too(world: World) -> None:
    world.write(NOTES, "k", 899)
    world.restart()
    assert refused(world, MAIL, "k", 100)
    world.write(MAIL, "k", 99)


def test_a_write_that_failed_is_charged_until_the_next_count_only(world: World) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        world.meter.writing(ALICE, NOTES, growth_bytes=900),
    ):
        raise ZeroDivisionError
    world.write(NOTES, "k", 999)


def test_staged_writes_are_within_the_limit(world: World) -> None:
    staged = StagedKv(world.kv)
    for key in "abc":
        world.write(NOTES, key, 299, kv=staged)
    with pytest.raises(QuotaExceededError):
        world.write(NOTES, "d", 999, kv=staged)


def test_concurrent_writers_never_exceed_the_limit(world: World) -> None:
    start = threading.Barrier(8)

    def fill(number: int) -> None:
        start.wait()
        for index in range(40):
            refused(world, f"alice:capsule:c{number}", f"{index:02}", 18)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fill, range(8)))
    total = sum(world.kv.size_bytes(f"alice:capsule:c{number}") for number in range(8))
    assert 900 <= total <= world.limit


def test_nobody_waits_while_the_home_of_another_one_is_counted(world: World) -> None:
    """A home may hold as many files as its limit lets it, and counting them takes seconds."""
    counting, counted = threading.Event(), threading.Event()

    def meter_of(principal: Principal) -> StorageMeter:
        if principal == ALICE:
            counting.set()
            assert counted.wait(10.0)
        return world.files[principal]

    world.meter = StateMeter(world.kv, meter_of=meter_of)
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(world.write, NOTES, "k", 10)
        assert counting.wait(5.0)
        quick = pool.submit(world.write, "bob:capsule:notes", "k", 10)
        try:
            quick.result(5.0)
            assert not slow.done()
        finally:
            counted.set()
        slow.result(5.0)
