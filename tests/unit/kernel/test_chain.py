"""One event through a chain: order of effects, errors, cancellation."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from astrid_core.domain.hook_result import Effect, Outcome
from astrid_core.kernel.chain import ChainEnd, Member, run_chain
from astrid_hookspecs.buses import Attribution, Envelope
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.engines import GuestResult
from astrid_hookspecs.errors import (
    CapsuleNotFoundError,
    GuestCancelledError,
    GuestTrapError,
    PolicyDeniedError,
    UnsupportedActionError,
)
from astrid_hookspecs.values import CapsuleId, Principal

EVENT = Envelope(
    "notes.v1.saved",
    b'{"n":1}',
    principal=Principal("alice"),
    attribution=Attribution.VERIFIED,
)
Answer = GuestResult | Exception | Callable[[], GuestResult]


class Capsule:
    source_id = "6f1c0d9e-1111-4222-8333-944445555666"

    def __init__(self, log: list[tuple[str, bytes]], answers: dict[str, Answer]) -> None:
        self.expected_cancel: CancelToken | None = None
        self._log = log
        self._answers = answers

    def invoke(
        self, action: str, payload: bytes, envelope: Envelope, *, cancel: CancelToken | None
    ) -> GuestResult:
        assert envelope is EVENT
        assert cancel is self.expected_cancel
        self._log.append((action, payload))
        answer = self._answers[action]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, GuestResult) else answer()


class World:
    """A directory with one capsule `c` whose actions are answered from a script."""

    def __init__(self, **answers: Answer) -> None:
        self.log: list[tuple[str, bytes]] = []
        self._capsule = Capsule(self.log, answers)
        self.members = [
            Member(10 * n, CapsuleId("c"), n, action) for n, action in enumerate(answers)
        ]

    def lookup(self, capsule_id: CapsuleId) -> Capsule | None:
        return self._capsule if capsule_id == "c" else None

    def run(self, *, cancel: CancelToken | None = None):
        self._capsule.expected_cancel = cancel
        return run_chain(self.members, EVENT, directory=self, cancel=cancel)


def go(data: str | None = None) -> GuestResult:
    return GuestResult("continue", data)


def test_data_of_a_member_replaces_the_payload_until_one_denies():
    """Vector 79."""
    world = World(h1=go("X"), h2=go(), h3=GuestResult("deny", "why"), h4=go())
    report = world.run()
    assert world.log == [("h1", b'{"n":1}'), ("h2", b"X"), ("h3", b"X")]
    assert report.end is ChainEnd.DENIED
    assert report.last == Outcome(Effect.DENY, reason="why")
    assert [member.action for member in report.members] == ["h1", "h2", "h3"]


def test_trap_is_skipped_and_final_ends_the_chain():
    """Vector 80."""
    trap = GuestTrapError("unreachable")
    world = World(h1=trap, h2=GuestResult("final", "answer"), h3=go())
    report = world.run()
    assert world.log == [("h1", b'{"n":1}'), ("h2", b'{"n":1}')]
    assert report.end is ChainEnd.FINAL
    assert report.last == Outcome(Effect.FINAL, b"answer")
    assert report.first_error is trap
    assert report.members[0].outcome is None


def test_denial_stops_later_members():
    """Guest vector 144."""
    world = World(p50=GuestResult("abort", None), p100=go())
    assert world.run().last == Outcome(Effect.DENY, reason="denied by interceptor")
    assert [action for action, _ in world.log] == ["p50"]


@pytest.mark.parametrize(
    "error",
    [
        UnsupportedActionError("run loop"),
        PolicyDeniedError("no", rule="profile.enabled"),
        ValueError("a fault of the kernel's own"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_chain_goes_on_after_an_error(error: Exception):
    world = World(h1=go("X"), h2=error, h3=go())
    report = world.run()
    assert world.log[-1] == ("h3", b"X")
    assert report.end is ChainEnd.COMPLETED
    assert report.first_error is error


@pytest.mark.parametrize(
    "answer", [go(""), GuestResult("other", None), GuestResult("Deny", "")], ids=repr
)
def test_answer_without_data_leaves_the_payload(answer: GuestResult):
    world = World(h1=go("X"), h2=answer, h3=go())
    assert world.run().end is ChainEnd.COMPLETED
    assert world.log[-1] == ("h3", b"X")


def test_capsule_that_is_not_ready_is_skipped():
    world = World(h1=go())
    world.members.insert(0, Member(0, CapsuleId("gone"), 0, "x"))
    report = world.run()
    assert [action for action, _ in world.log] == ["h1"]
    assert isinstance(report.first_error, CapsuleNotFoundError)
    assert report.first_error.code == "capsule.not-ready"
    assert report.end is ChainEnd.COMPLETED


def test_cancelled_chain_asks_nobody():
    cancel = CancelToken()
    cancel.fire()
    world = World(h1=go())
    report = world.run(cancel=cancel)
    assert report.end is ChainEnd.CANCELLED
    assert report.members == ()
    assert report.last is None
    assert report.first_error is None
    assert world.log == []


def test_cancellation_between_members_ends_the_chain():
    cancel = CancelToken()

    def fires() -> GuestResult:
        cancel.fire()
        return go("X")

    world = World(h1=fires, h2=go())
    report = world.run(cancel=cancel)
    assert report.end is ChainEnd.CANCELLED
    assert [action for action, _ in world.log] == ["h1"]


def test_call_that_was_cancelled_ends_the_chain_even_if_it_was_the_last():
    cancel = CancelToken()

    def stopped() -> GuestResult:
        cancel.fire()
        raise GuestCancelledError("stopped")

    report = World(h1=stopped).run(cancel=cancel)
    assert report.end is ChainEnd.CANCELLED
    assert isinstance(report.first_error, GuestCancelledError)


def test_members_sort_by_priority_capsule_and_declaration():
    a, b = CapsuleId("a"), CapsuleId("b")
    members = [Member(100, b, 0, "x"), Member(100, a, 1, "a"), Member(100, a, 0, "z")]
    assert sorted([*members, Member(5, b, 1, "y")]) == [
        Member(5, b, 1, "y"),
        Member(100, a, 0, "z"),
        Member(100, a, 1, "a"),
        Member(100, b, 0, "x"),
    ]


def swapping(first: Capsule, then: Capsule | None):
    """A directory that gives out `first` once, and `then` afterwards."""
    found: list[Capsule | None] = [first]

    class Directory:
        def lookup(self, _capsule_id: CapsuleId) -> Capsule | None:
            return found.pop() if found else then

    return Directory()


def test_a_capsule_replaced_under_a_call_hands_it_to_its_successor():
    log: list[tuple[str, bytes]] = []
    old = Capsule(log, {"h": UnsupportedActionError("c is unloaded")})
    new = Capsule(log, {"h": GuestResult("deny", "new")})
    report = run_chain([Member(1, CapsuleId("c"), 0, "h")], EVENT, directory=swapping(old, new))
    assert report.end is ChainEnd.DENIED
    assert len(log) == 2


def test_a_capsule_removed_under_a_call_is_reported_as_not_ready():
    old = Capsule([], {"h": UnsupportedActionError("c is unloaded")})
    report = run_chain([Member(1, CapsuleId("c"), 0, "h")], EVENT, directory=swapping(old, None))
    assert isinstance(report.first_error, CapsuleNotFoundError)


def test_a_capsule_that_answers_no_calls_is_not_asked_twice():
    world = World(h=UnsupportedActionError("has a run loop"))
    report = world.run()
    assert isinstance(report.first_error, UnsupportedActionError)
    assert len(world.log) == 1
