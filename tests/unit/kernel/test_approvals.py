"""Questions to people, waited for and answered. Spec: kernel-and-security 7.4."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from astrid_core.builtin.sqlite_kv import SqliteKvStore
from astrid_core.domain.action import CapsuleRequest
from astrid_core.domain.allowance import Allowance
from astrid_core.domain.allowance_pattern import CommandGlob
from astrid_core.domain.approval import LIFETIME_S, ApprovalError, Question, State
from astrid_core.kernel import approvals
from astrid_core.kernel.allowances import ALLOWANCES, AllowanceStore
from astrid_core.kernel.approvals import Approvals, Ticket
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.errors import ApprovalDeniedError, AuditError, QuotaExceededError, StoreError
from astrid_hookspecs.stores import KvWrite
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, CapsuleId, Principal
from tests.support.management import Trail

ALICE, BOB = Principal("alice"), Principal("bob")
SHELL = CapsuleId("shell")
LONG_S = 20.0
"""Longer than any wait here takes."""


class World:
    """Approvals on a real store, that can be started again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = 1_700_000_000.0
        self.trail = Trail()
        self.announced: list[Question] = []
        self.threads = ThreadPoolExecutor(12)
        self.start()

    def start(self) -> None:
        self.kv = SqliteKvStore(self.directory)
        self.allowances = AllowanceStore(self.kv, now=lambda: self.now)
        self.approvals = Approvals(
            self.kv,
            allowances=self.allowances,
            audit=self.trail,
            announce=self.announced.append,
            now=lambda: self.now,
        )

    def restart(self) -> None:
        self.kv.close()
        self.start()

    def ask(self, resource: str = "git push", principal: Principal = ALICE) -> Ticket:
        return self.approvals.request(principal, SHELL, "run", resource=resource)

    def waiting(self, ticket: Ticket, cancel: CancelToken | None = None) -> Future[str]:
        return self.threads.submit(self.approvals.wait, ticket, cancel=cancel, timeout_s=LONG_S)

    def only(self) -> uuid.UUID:
        (question,) = self.approvals.pending()
        return question.id

    def actions(self) -> list[str]:
        return [entry.action for entry in self.trail.entries]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.threads.shutdown()
    made.kv.close()


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(ApprovalDeniedError) as caught:
        call()
    assert caught.value.rule.startswith("approval:")
    return caught.value.code


@pytest.mark.parametrize(
    ("decision", "state", "again"),
    [
        ("approve", State.ONCE, False),
        ("approve_session", State.SESSION, True),
        ("approve_always", State.ALWAYS, True),
    ],
)
def test_a_yes(world: World, decision: str, state: State, again: bool) -> None:
    waiting = world.waiting(world.ask())
    asked = world.only()
    assert [one.id for one in world.announced] == [asked]
    assert world.approvals.answer(asked, decision, by=ALICE) is state
    assert waiting.result(LONG_S) == f"allowance:{asked}"
    assert world.approvals.pending() == []
    assert world.actions() == ["approval.request", "approval.answer"]
    if again:
        assert world.approvals.wait(world.ask(), timeout_s=0) == f"allowance:{asked}"
        assert len(world.announced) == 1
    else:
        assert refused(lambda: world.approvals.wait(world.ask(), timeout_s=0)) == "approval.timeout"


@pytest.mark.parametrize("decision", [pytest.param("yes", id="116"), "deny", ""])
def test_a_no(world: World, decision: str) -> None:
    waiting = world.waiting(world.ask())
    assert world.approvals.answer(world.only(), decision, by=ALICE) is State.DENIED
    assert refused(lambda: waiting.result(LONG_S)) == "approval.denied"
    assert world.allowances.all(ALICE) == []
    entry = world.trail.entries[-1]
    assert (entry.outcome, entry.rule, entry.detail["response"]) == (
        "denied",
        "person:alice",
        "denied",
    )


def test_117_a_question_that_is_too_long_is_not_asked(world: World) -> None:
    with pytest.raises(ApprovalError):
        world.approvals.request(ALICE, SHELL, "a" * 257, resource="x")
    assert (world.announced, world.actions()) == ([], [])
    assert world.kv.keys(ALLOWANCES, "", after=None, limit=1).keys == []


def test_118_no_answer_in_time(world: World) -> None:
    assert refused(lambda: world.approvals.wait(world.ask(), timeout_s=0)) == "approval.timeout"
    assert len(world.approvals.pending()) == 1


@pytest.mark.parametrize("restarts", [False, True])
def test_a_yes_that_comes_late_waits_for_the_next_try(world: World, restarts: bool) -> None:
    ticket = world.ask()
    refused(lambda: world.approvals.wait(ticket, timeout_s=0))
    asked = world.only()
    if restarts:
        world.restart()
    world.approvals.answer(asked, "approve", by=ALICE)
    if restarts:
        world.restart()
    assert world.approvals.wait(world.ask(), timeout_s=0) == f"allowance:{asked}"
    assert refused(lambda: world.approvals.wait(world.ask(), timeout_s=0)) == "approval.timeout"


def test_a_late_yes_for_one_time_is_not_for_ever(world: World) -> None:
    world.ask()
    world.approvals.answer(world.only(), "approve", by=ALICE)
    world.now += LIFETIME_S
    assert refused(lambda: world.approvals.wait(world.ask(), timeout_s=0)) == "approval.timeout"


def test_a_session_ends_with_the_process(world: World) -> None:
    world.ask()
    world.approvals.answer(world.only(), "approve_session", by=ALICE)
    assert world.approvals.wait(world.ask(), timeout_s=0)
    world.restart()
    assert refused(lambda: world.approvals.wait(world.ask(), timeout_s=0)) == "approval.timeout"


def test_a_yes_covers_what_was_shown_only(world: World) -> None:
    world.ask()
    world.approvals.answer(world.only(), "approve_always", by=ALICE)
    for ticket in (
        lambda: world.ask("git push --force"),
        lambda: world.ask(principal=BOB),
        lambda: world.approvals.request(ALICE, CapsuleId("other"), "run", resource="git push"),
        lambda: world.approvals.request(ALICE, SHELL, "walk", resource="git push"),
    ):
        assert refused(lambda ask=ticket: world.approvals.wait(ask(), timeout_s=0)) == (
            "approval.timeout"
        )


def test_the_same_question_is_asked_once_and_each_waits_for_its_own_yes(world: World) -> None:
    waiting = [world.waiting(world.ask()) for _ in range(4)]
    assert len(world.announced) == 1
    for left in (3, 2, 1, 0):
        world.approvals.answer(world.only(), "approve", by=ALICE)
        done = [one for one in waiting if one in _finished(waiting, at_least=4 - left)]
        assert len(done) == 4 - left
        if left:
            _until(lambda: len(world.approvals.pending()) == 1)
    assert all(one.result(LONG_S).startswith("allowance:") for one in waiting)


def test_an_allowance_of_another_kind_answers_too(world: World) -> None:
    world.allowances.add(
        Allowance(
            id=uuid.UUID(int=1),
            principal=ALICE,
            action_pattern=CommandGlob("git *"),
            created_at=0,
        )
    )
    assert world.approvals.wait(world.ask(), timeout_s=0) == f"allowance:{uuid.UUID(int=1)}"
    assert world.announced == []


@pytest.mark.parametrize("who", [BOB, Principal("shell")])
def test_answer_denied_when_it_is_somebody_elses_question(world: World, who: Principal) -> None:
    world.ask()
    with pytest.raises(ApprovalError) as caught:
        world.approvals.answer(world.only(), "approve", by=who)
    with pytest.raises(ApprovalError) as unknown:
        world.approvals.answer(uuid.UUID(int=1), "approve", by=who)
    assert caught.value.code == unknown.value.code == "approval.not-found"
    assert len(world.approvals.pending()) == 1
    assert world.approvals.pending(BOB) == []
    world.approvals.answer(world.only(), "approve", by=DEFAULT_PRINCIPAL)
    assert world.trail.entries[-1].rule == "person:default"


def test_answer_denied_when_there_is_one(world: World) -> None:
    world.ask()
    asked = world.only()
    world.approvals.answer(asked, "deny", by=ALICE)
    with pytest.raises(ApprovalError):
        world.approvals.answer(asked, "approve", by=ALICE)
    assert world.allowances.all(ALICE) == []


def test_one_of_many_answers_counts(world: World) -> None:
    world.ask()
    asked, start, states = world.only(), threading.Barrier(8), []

    def decide(decision: str) -> None:
        start.wait(timeout=10)
        with contextlib.suppress(ApprovalError):
            states.append(world.approvals.answer(asked, decision, by=ALICE))

    for one in [world.threads.submit(decide, d) for d in ("approve", "deny") * 4]:
        one.result(LONG_S)
    assert len(states) == 1
    assert len(world.allowances.all(ALICE)) == (states == [State.ONCE])


def test_question_denied_when_it_has_expired(world: World) -> None:
    ticket = world.ask()
    asked = world.only()
    world.now += LIFETIME_S
    assert world.approvals.pending() == []
    with pytest.raises(ApprovalError):
        world.approvals.answer(asked, "approve", by=ALICE)
    assert refused(lambda: world.approvals.wait(ticket, timeout_s=LONG_S)) == "approval.expired"
    assert world.actions() == ["approval.request", "approval.expire"]
    world.restart()
    assert world.approvals.pending() == []


def test_cancelled_wait_takes_the_question_back_unless_others_wait(world: World) -> None:
    first, second = CancelToken(), CancelToken()
    waits = [world.waiting(world.ask(), first), world.waiting(world.ask(), second)]
    first.fire()
    assert refused(lambda: waits[0].result(LONG_S)) == "approval.cancelled"
    assert len(world.approvals.pending()) == 1
    second.fire()
    assert refused(lambda: waits[1].result(LONG_S)) == "approval.cancelled"
    assert world.approvals.pending() == []
    assert world.actions()[-1] == "approval.cancel"


def test_questions_of_a_principal_that_goes(world: World) -> None:
    waiting = world.waiting(world.ask())
    world.ask("ls")
    world.ask(principal=BOB)
    assert world.approvals.forget(ALICE) == 2
    assert refused(lambda: waiting.result(LONG_S)) == "approval.cancelled"
    assert [one.principal for one in world.approvals.pending()] == [BOB]


def test_questions_of_one_principal_are_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approvals, "MAX_PENDING", 2)
    monkeypatch.setattr(approvals, "_PAGE", 1)
    world.ask("a")
    world.ask("b")
    with pytest.raises(QuotaExceededError):
        world.ask("c")
    world.ask("a")
    world.ask("c", principal=BOB)
    world.restart()
    assert len(world.approvals.pending()) == 3


def test_what_cannot_be_recorded_is_neither_asked_nor_answered(world: World) -> None:
    ticket = world.ask()
    world.trail.is_full = True
    with pytest.raises(AuditError):
        world.ask("another")
    with pytest.raises(AuditError):
        world.approvals.answer(world.only(), "approve", by=ALICE)
    assert len(world.announced) == 1
    assert world.allowances.all(ALICE) == []
    assert refused(lambda: world.approvals.wait(ticket, timeout_s=0)) == "approval.timeout"


def test_what_cannot_be_kept_is_neither_asked_nor_answered(world: World) -> None:
    world.ask()
    asked = world.only()
    world.kv.close()
    with pytest.raises(StoreError):
        world.approvals.answer(asked, "approve", by=ALICE)
    assert world.only() == asked
    with pytest.raises(StoreError):
        world.ask("another")
    assert len(world.announced) == 1


def test_damaged_questions_are_not_asked(world: World) -> None:
    world.ask()
    key = f"@question/{world.only()}"
    stored = world.kv.get(ALLOWANCES, key)
    moved = KvWrite(f"@question/{uuid.UUID(int=1)}", stored)
    ended = KvWrite(key, (stored or b"").replace(b'"pending"', b'"always"'))
    world.kv.apply(ALLOWANCES, [moved, ended, KvWrite("@question/x", b"{")])
    world.restart()
    assert world.approvals.pending() == []
    assert (
        world.allowances.find(
            CapsuleRequest("shell", "run", "git push"), principal=ALICE, root=None
        )
        is None
    )


def _until(condition: Callable[[], bool]) -> None:
    event = threading.Event()
    for _ in range(2000):
        if condition():
            return
        event.wait(0.005)
    raise AssertionError("it did not happen")


def _finished(waiting: list[Future[str]], *, at_least: int) -> list[Future[str]]:
    _until(lambda: sum(one.done() for one in waiting) >= at_least)
    return [one for one in waiting if one.done()]
