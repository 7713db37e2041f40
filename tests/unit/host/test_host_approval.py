"""Guests ask people. Spec: host-abi 3, vectors 115 to 118."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from astrid_core.config.budget import BudgetSettings
from astrid_core.domain.approval import ApprovalError, Question
from astrid_core.host.people import People
from astrid_core.kernel.allowances import AllowanceStore
from astrid_core.kernel.approvals import Approvals
from astrid_core.kernel.budgets import Budgets
from astrid_core.kernel.people import ApprovalDesk
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.values import Principal
from tests.support.management import Trail

APPROVAL = "astrid:approval/host@1.0.0"
ALICE, BOB = Principal("alice"), Principal("bob")
WAIT_S = 20.0


class Front:
    """The person in front of the kernel, and guests that ask."""

    def __init__(self, world: Any, call: Callable[..., tuple[str, Any]]) -> None:
        self.world, self.call = world, call
        self.shown: list[Question] = []
        self.trail = Trail()
        self.approvals = Approvals(
            world.kv,
            allowances=AllowanceStore(world.kv),
            audit=self.trail,
            announce=self.shown.append,
        )
        self.budgets = Budgets(
            BudgetSettings(session_max_usd=20.0), kv=world.kv, audit=self.trail, workspace="/w"
        )
        self.people = People(
            approver=ApprovalDesk(self.approvals, self.budgets, workspace=Path("/w"))
        )
        self.threads = ThreadPoolExecutor(4)

    def ask(
        self,
        action: str,
        resource: str = "",
        *,
        principal: str = "alice",
        answer: str | None = None,
        scope: str | None = None,
        **options: Any,
    ) -> tuple[str, Any]:
        """What the guest gets; `answer` is given as soon as the question is there."""
        guest = self.world.open(principal=principal, services={"people": self.people}, **options)
        asked: Future[tuple[str, Any]] = self.threads.submit(
            self.call, guest, "request-approval", (action, resource), interface=APPROVAL
        )
        if answer is not None:
            _until(lambda: asked.done() or self.approvals.pending(Principal(principal)) != [])
            for one in self.approvals.pending(Principal(principal)):
                self.approvals.answer(one.id, answer, by=Principal(principal), scope=scope)
        return asked.result(WAIT_S)

    def asks(self, *asked: str, **options: Any) -> bool:
        """Whether a person would be asked; nobody answers."""
        before = len(self.shown)
        case, _ = self.ask(*asked, timeout_s=0.05, **options)
        assert case == ("timeout" if len(self.shown) > before else "ok")
        for one in self.approvals.pending():
            self.approvals.forget(Principal(one.principal))
        return case == "timeout"


def _until(condition: Callable[[], bool]) -> None:
    for _ in range(4000):
        if condition():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it did not happen")


@pytest.fixture
def front(world: Any, call: Callable[..., tuple[str, Any]]) -> Iterator[Front]:
    made = Front(world, call)
    yield made
    made.threads.shutdown()


@pytest.mark.parametrize(
    ("answer", "decision"),
    [
        ("approve", "approved"),
        ("approve_session", "approved-session"),
        ("approve_always", "approved-always"),
        ("deny", "denied"),
        pytest.param("APPROVE", "denied", id="118"),
    ],
)
def test_a_decision(front: Front, answer: str, decision: str) -> None:
    assert front.ask("send mail", "to bob", answer=answer) == ("ok", (decision,))
    (shown,) = front.shown
    assert (shown.principal, shown.capsule, shown.reason) == ("alice", "t", "capsule t asks")
    assert shown.workspace_root == "/w"
    assert [entry.action for entry in front.trail.entries][:2] == [
        "approval.request",
        "approval.answer",
    ]


def test_a_yes_is_spent_and_a_no_is_not(front: Front) -> None:
    def spent() -> float:
        return front.budgets.shown(ALICE)["session_spent_usd"]

    assert front.ask("spend 9.50 USD", "shop", answer="deny") == ("ok", ("denied",))
    assert spent() == 0
    assert front.ask("spend 9.50 USD", "shop", answer="approve_always")[0] == "ok"
    assert spent() == 9.5
    assert front.ask("spend 9.50 USD", "shop") == ("ok", ("allowance",))
    assert spent() == 19


def test_more_than_the_budget_is_denied_whatever_was_allowed_before(front: Front) -> None:
    front.ask("spend 8 USD", "shop", answer="approve_always")
    front.ask("spend 8 USD", "shop")
    asked = len(front.shown)
    assert front.ask("spend 8 USD", "shop") == ("ok", ("denied",))
    assert front.ask("spend 11 USD", "shop") == ("ok", ("denied",))
    assert len(front.shown) == asked, "nobody was asked"
    assert [one.rule for one in front.trail.entries if one.outcome == "denied"] == [
        "budget.session_max_usd",
        "budget.per_action_max_usd",
    ]


def test_a_cost_in_another_form_is_refused(front: Front) -> None:
    for action in ("spend 1e2 USD", "Spend 5 USD", "spend 5 USD or so"):
        assert front.ask(action, "shop") == ("invalid-input", None)
    assert front.shown == []


def test_115_limits_and_control_characters(front: Front) -> None:
    assert front.asks("a" * 256)
    assert front.ask("a" * 257) == ("invalid-input", None)
    assert front.ask(" " * 257) == ("invalid-input", None)
    assert front.ask("rm\n-rf", " x\x00y ", answer="approve") == ("ok", ("approved",))
    assert [(one.action, one.resource) for one in front.shown][-1] == ("rm-rf", "xy")
    assert len(front.shown) == 2


def test_text_that_a_person_cannot_see_is_refused(front: Front) -> None:
    for action in ("pay\u202e", "pay\u200b", "\t\n "):
        assert front.ask(action) == ("invalid-input", None)
    assert front.shown == []


def test_116_a_session_covers_the_action_with_any_arguments(front: Front) -> None:
    assert front.ask("git push", "git push", answer="approve_session")[0] == "ok"
    assert front.ask("git push", "git push origin") == ("ok", ("allowance",))
    assert front.ask("git push", "git push") == ("ok", ("allowance",))
    assert front.asks("git push", "git push; id")
    assert front.asks("git push", "git pull")
    assert front.asks("git pull", "git push origin")
    assert front.asks("git push", "git push origin", principal="bob")
    assert front.asks("git push", "git push origin", capsule="other")
    assert front.trail.entries[-1].action != "approval.use"
    assert "approval.use" in [entry.action for entry in front.trail.entries]


def test_117_marks_of_a_pattern_in_an_action_stand_for_themselves(front: Front) -> None:
    assert front.ask("a*", "a* y", answer="approve_session")[0] == "ok"
    assert front.asks("a*", "abc x")
    assert front.ask("a*", "a* x") == ("ok", ("allowance",))


def test_a_scope_can_be_narrowed_and_widened_but_not_away_from_the_question(front: Front) -> None:
    front.ask("git push", "git push origin x", answer="approve_always", scope="exact")
    assert front.asks("git push", "git push origin y")
    with pytest.raises(ApprovalError) as caught:
        front.ask("git push", "git push origin y", answer="approve_always", scope="ls *")
    assert caught.value.code == "approval.scope"
    front.approvals.forget(ALICE)
    front.ask("delete", "notes/a.txt", answer="approve_session", scope="notes/*")
    assert front.ask("delete", "notes/b.txt") == ("ok", ("allowance",))
    assert front.asks("delete", "other/b.txt")


def test_118_no_answer_in_time_and_the_question_stays(front: Front) -> None:
    assert front.ask("x", "y", timeout_s=0.05) == ("timeout", None)
    cancel = CancelToken()
    cancel.fire()
    assert front.ask("x", "z", cancel=cancel) == ("timeout", None)


def test_118_put_off_by_who_has_nobody_to_ask(front: Front) -> None:
    guest = front.world.open(services={"people": front.people})
    asked = front.threads.submit(
        front.call, guest, "request-approval", ("x", "y"), interface=APPROVAL
    )
    _until(lambda: front.approvals.pending(ALICE) != [])
    (question,) = front.approvals.pending(ALICE)
    with pytest.raises(ApprovalError):
        front.approvals.put_off(question.id, by=BOB)
    front.approvals.put_off(question.id, by=ALICE)
    assert asked.result(WAIT_S) == ("timeout", None)
    front.approvals.answer(question.id, "approve", by=ALICE)
    assert front.ask("x", "y") == ("ok", ("allowance",))  # the yes waited for the retry
    assert front.asks("x", "y")


@pytest.mark.parametrize("long", ["r" * 2000, "r" * 100_000, "\x01" * 100_000])
def test_long_resources_share_no_answer(front: Front, long: str) -> None:
    assert front.ask("send", long + "1", answer="approve_always") == ("ok", ("approved-always",))
    shown = front.shown[-1].resource
    assert len(shown) == (1024 if long.isprintable() else len("... (blake3 0123456789abcdef)"))
    assert front.ask("send", long + "1") == ("ok", ("allowance",))
    assert front.asks("send", long + "2")


def test_a_resource_refused_when_it_may_not_all_have_crossed(front: Front) -> None:
    assert front.ask("send", "r" * (1024 * 1024 + 1)) == ("invalid-input", None)
    assert front.shown == []


def test_nothing_is_approved_where_nobody_can_be_asked(
    world: Any, call: Callable[..., tuple[str, Any]]
) -> None:
    guest = world.open()
    got = call(guest, "request-approval", ("x", "y"), interface=APPROVAL)
    assert got == ("store-unavailable", None)


def test_nothing_is_approved_that_cannot_be_kept_or_recorded(front: Front) -> None:
    front.trail.is_full = True
    assert front.ask("x", "y") == ("unknown", "internal error")
    front.trail.is_full = False
    front.world.kv.close()
    assert front.ask("x", "z") == ("store-unavailable", None)


def test_too_many_questions_are_one_too_many(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("astrid_core.kernel.approvals.MAX_PENDING", 0)
    assert front.ask("x", "y") == ("unknown", "refused")
