"""What capsules tell they spend stays within bounds. Spec: kernel-and-security 7.5."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from astrid_core.builtin.sqlite_kv import SqliteKvStore
from astrid_core.config.budget import BudgetSettings
from astrid_core.domain.budget import BudgetExceededError
from astrid_core.kernel import budgets
from astrid_core.kernel.budgets import NAMESPACE, Budgets, Spending
from astrid_hookspecs.errors import ApprovalDeniedError, AuditError
from astrid_hookspecs.values import CapsuleId, Principal
from tests.support.management import Trail

ALICE, BOB, SHOP = Principal("alice"), Principal("bob"), CapsuleId("shop")
LIMITS = BudgetSettings(10.0, 5.0, 80.0, 20.0)


class World:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.trail = Trail()
        self.kv = SqliteKvStore(directory)
        self.budgets = self.made()

    def made(self, limits: BudgetSettings = LIMITS, workspace: str | None = "/w") -> Budgets:
        return Budgets(limits, kv=self.kv, audit=self.trail, workspace=workspace)

    def restart(self) -> None:
        self.kv.close()
        self.kv = SqliteKvStore(self.directory)
        self.budgets = self.made()

    def spend(self, cost_usd: float, principal: Principal = ALICE) -> None:
        what = Spending(principal, SHOP, cost_usd=cost_usd, resource="example.org")
        with self.budgets.spending(what):
            pass

    def refused(self, cost_usd: float, principal: Principal = ALICE) -> str:
        with pytest.raises(BudgetExceededError) as caught:
            self.spend(cost_usd, principal)
        return caught.value.rule

    def spent(self, principal: Principal = ALICE) -> tuple[float, float]:
        shown = self.budgets.shown(principal)
        return shown["session_spent_usd"], shown["workspace_spent_usd"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.kv.close()


def test_each_bound_refuses_by_its_name_and_on_record(world: World) -> None:
    assert world.refused(5.5) == "budget.per_action_max_usd"
    world.spend(5)
    world.spend(4)
    assert world.refused(2) == "budget.session_max_usd"
    world.budgets.end_session(ALICE)
    world.spend(5)
    world.spend(5)
    world.budgets.end_session(ALICE)
    assert world.refused(2) == "budget.workspace_max_usd"
    assert world.spent() == (0, 19)
    assert [(one.outcome, one.rule, one.detail["verdict"]) for one in world.trail.entries] == [
        ("denied", "budget.per_action_max_usd", "over-action"),
        ("allowed", "budget", "allowed"),
        ("allowed", "budget", "warned"),
        ("denied", "budget.session_max_usd", "over-session"),
        ("allowed", "budget", "allowed"),
        ("allowed", "budget", "warned"),
        ("denied", "budget.workspace_max_usd", "over-session"),
    ]
    assert {one.action for one in world.trail.entries} == {"budget.spend"}
    assert world.trail.entries[1].detail["left_usd"] == "5"


def test_nobody_spends_anothers(world: World) -> None:
    world.spend(5)
    assert world.spent(BOB) == (0, 0)
    world.spend(5, BOB)
    world.budgets.end_session(BOB)
    assert (world.spent(), world.spent(BOB)) == ((5, 5), (0, 5))


def test_a_no_gives_back_what_was_taken(world: World) -> None:
    what = Spending(ALICE, SHOP, cost_usd=5, resource="x")

    def decide() -> None:
        with world.budgets.spending(what):
            assert world.spent() == (5, 5), "taken while it is decided about"
            raise ApprovalDeniedError("no", rule="person:alice")

    with pytest.raises(ApprovalDeniedError):
        decide()
    assert world.spent() == (0, 0)
    assert world.trail.entries == []


def test_what_cannot_be_recorded_is_not_spent(world: World) -> None:
    world.trail.is_full = True
    with pytest.raises(AuditError):
        world.spend(1)
    assert world.spent() == (0, 0)


def test_what_is_spent_in_a_workspace_outlives_the_kernel(world: World) -> None:
    world.spend(5)
    world.restart()
    assert world.spent() == (0, 5)
    elsewhere = world.made(workspace="/other").shown(ALICE)
    assert elsewhere["workspace_spent_usd"] == 0


@pytest.mark.parametrize("damage", [b"", b"x", b"-1", b"null", b"1e999"])
def test_a_record_that_says_nothing_leaves_nothing(world: World, damage: bytes) -> None:
    world.spend(1)
    ((key, *_), _) = world.kv.keys(NAMESPACE, "", after=None, limit=5)
    world.kv.set(NAMESPACE, key, damage)
    assert world.refused(1) == "budget.workspace_max_usd"


def test_without_a_bound_for_the_workspace_only_the_session_counts(world: World) -> None:
    for made in (world.made(BudgetSettings()), world.made(LIMITS, workspace=None)):
        world.budgets = made
        world.spend(5)
        assert "workspace_max_usd" not in made.shown(ALICE)
        made.forget(ALICE)
        assert made.shown(ALICE)["session_spent_usd"] == 0
    assert world.kv.keys(NAMESPACE, "", after=None, limit=5)[0] == []


def test_a_deleted_principal_leaves_nothing(world: World) -> None:
    world.spend(5)
    world.budgets.forget(ALICE)
    assert world.spent() == (0, 0)


def test_questions_at_the_same_time_do_not_both_fit(world: World) -> None:
    gate, fits = threading.Barrier(4), []

    def spend() -> None:
        gate.wait(10)
        try:
            world.spend(4)
            fits.append(1)
        except BudgetExceededError:
            pass

    threads = [threading.Thread(target=spend) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(10)
    assert (len(fits), world.spent()) == (2, (8, 8))


def test_sessions_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "MAX_SESSIONS", 1)
    world.spend(1)
    world.spend(1)
    world.spend(2, BOB)
    assert (world.spent(), world.spent(BOB)) == ((0, 2), (2, 2))
