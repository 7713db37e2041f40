"""Where allowances are kept. Spec: kernel-and-security 7.3, vectors 111 and 114."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from astrid_core.builtin.sqlite_kv import SqliteKvStore
from astrid_core.domain.action import ExecuteCommand
from astrid_core.domain.allowance import Allowance, AllowanceError, format_allowance
from astrid_core.domain.allowance_pattern import CommandGlob
from astrid_core.kernel import allowances
from astrid_core.kernel.allowances import ALLOWANCES, AllowanceStore
from astrid_hookspecs.errors import StoreError
from astrid_hookspecs.stores import KvWrite
from astrid_hookspecs.values import Principal

ALICE, BOB = Principal("alice"), Principal("bob")
PUSH = ExecuteCommand("git push")


class World:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = 1000.0
        self.kv = SqliteKvStore(directory)
        self.store = AllowanceStore(self.kv, now=lambda: self.now)

    def restart(self) -> None:
        self.kv.close()
        self.kv = SqliteKvStore(self.directory)
        self.store = AllowanceStore(self.kv, now=lambda: self.now)

    def use(self, principal: Principal = ALICE) -> Allowance | None:
        return self.store.use(PUSH, principal=principal, root=None)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.kv.close()


def allowance(
    number: int = 1,
    *,
    principal: str = ALICE,
    uses: int | None = None,
    expires_at: int | None = None,
    session_only: bool = False,
) -> Allowance:
    return Allowance(
        id=uuid.UUID(int=number),
        principal=principal,
        action_pattern=CommandGlob("git push *"),
        created_at=number,
        expires_at=expires_at,
        max_uses=uses,
        uses_remaining=uses,
        session_only=session_only,
    )


@pytest.mark.parametrize("session_only", [False, True])
def test_114_two_uses_of_three(world: World, session_only: bool) -> None:
    world.store.add(allowance(uses=2, session_only=session_only))
    assert [None if one is None else one.uses_remaining for one in map(world.use, [ALICE] * 3)] == [
        1,
        0,
        None,
    ]
    assert world.store.all(ALICE) == []


def test_uses_are_counted_across_a_restart(world: World) -> None:
    world.store.add(allowance(uses=2))
    world.use()
    world.restart()
    assert world.use() is not None
    world.restart()
    assert world.use() is None


def test_always_is_remembered_and_a_session_is_not(world: World) -> None:
    world.store.add(allowance(1))
    world.store.add(allowance(2, session_only=True))
    assert [one.id.int for one in world.store.all(ALICE)] == [1, 2]
    world.restart()
    assert [one.id.int for one in world.store.all(ALICE)] == [1]
    assert world.kv.keys(ALLOWANCES, "", after=None, limit=10).keys == [f"alice/{uuid.UUID(int=1)}"]


def test_allowance_denied_when_it_is_for_another_principal(world: World) -> None:
    world.store.add(allowance(principal=BOB))
    assert world.use(ALICE) is None
    assert world.use(BOB) is not None


def test_allowance_denied_when_its_record_lies_below_another_name(world: World) -> None:
    moved = format_allowance(allowance(principal=BOB))
    world.kv.apply(ALLOWANCES, [KvWrite(f"alice/{uuid.UUID(int=1)}", moved)])
    world.kv.apply(ALLOWANCES, [KvWrite(f"alice/{uuid.UUID(int=2)}", b"damaged")])
    assert world.use(ALICE) is None
    assert world.use(BOB) is None


def test_the_oldest_is_used_first_and_the_expired_go(world: World) -> None:
    world.store.add(allowance(3, uses=1))
    world.store.add(allowance(2, uses=1, session_only=True))
    world.store.add(allowance(1, uses=1, expires_at=1001))
    world.now = 1001.0
    found = [world.use(), world.use(), world.use()]
    assert [None if one is None else one.id.int for one in found] == [2, 3, None]
    assert world.kv.keys(ALLOWANCES, "", after=None, limit=10).keys == []


def test_find_uses_nothing(world: World) -> None:
    world.store.add(allowance(uses=1))
    for _ in range(2):
        assert world.store.find(PUSH, principal=ALICE, root=None) is not None
    assert world.use() is not None
    assert world.store.find(PUSH, principal=ALICE, root=None) is None


def test_one_use_is_used_once_by_many_threads(world: World) -> None:
    world.store.add(allowance(uses=3))
    start, found = threading.Barrier(12), []

    def use() -> None:
        start.wait(timeout=10)
        found.append(world.use())

    threads = [threading.Thread(target=use) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert sum(one is not None for one in found) == 3


def test_what_cannot_be_counted_does_not_happen(world: World) -> None:
    world.store.add(allowance(uses=1))
    world.kv.close()
    with pytest.raises(StoreError):
        world.use()


def test_removal(world: World) -> None:
    world.store.add(allowance(1))
    world.store.add(allowance(2, session_only=True))
    with pytest.raises(AllowanceError) as caught:
        world.store.remove(uuid.UUID(int=1), principal=BOB)
    assert caught.value.code == "allowance.not-found"
    world.store.remove(uuid.UUID(int=1), principal=ALICE)
    world.store.remove(uuid.UUID(int=2), principal=ALICE)
    assert world.store.all(ALICE) == []


def test_clearing(world: World) -> None:
    for number, session_only in ((1, False), (2, True), (3, True)):
        world.store.add(allowance(number, session_only=session_only))
    world.store.add(allowance(4, principal=BOB))
    assert world.store.clear(ALICE, session_only=True) == 2
    assert [one.id.int for one in world.store.all(ALICE)] == [1]
    assert world.store.clear(ALICE) == 1
    assert [one.id.int for one in world.store.all(BOB)] == [4]


def test_senseless_and_too_many_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AllowanceError):
        world.store.add(msgspec.structs.replace(allowance(), max_uses=1))
    monkeypatch.setattr(allowances, "MAX_PER_PRINCIPAL", 2)
    monkeypatch.setattr(allowances, "_PAGE", 1)
    world.store.add(allowance(1))
    world.store.add(allowance(2))
    with pytest.raises(AllowanceError) as caught:
        world.store.add(allowance(3))
    assert caught.value.code == "allowance.too-many"
    world.store.add(allowance(3, principal=BOB))
