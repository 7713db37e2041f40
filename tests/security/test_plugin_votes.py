"""Policies that misbehave: whatever they do, the answer is a DENY under their name."""

# ruff: noqa: ARG001 - hook implementations take what the specification names

from __future__ import annotations

import threading
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from loguru import logger

from astrid_core.pluginhost import PluginHost, dispatch
from astrid_core.pluginhost.dispatch import VoteCaller
from astrid_core.pluginhost.manager import HookManager
from astrid_core.pluginhost.source import PluginSource
from astrid_hookspecs import hookimpl
from astrid_hookspecs.authz import AuthzRequest, Verdict, Vote
from astrid_hookspecs.errors import PluginContractError
from astrid_hookspecs.values import Principal

REQUEST = AuthzRequest(Principal("mallory"), "capsule.invoke", "tool:danger")
ALLOW = Vote(Verdict.ALLOW, "fine")


class LyingVote(Vote):
    """A subclass could say ALLOW when it is read again."""


class TruthyVerdict:
    value = "allow"


async def a_coroutine() -> Vote:
    return ALLOW


def raising(error: BaseException) -> Any:
    raise error


BAD_ANSWERS: dict[str, Callable[[], object]] = {
    "none": lambda: None,
    "true": lambda: True,
    "allow-verdict": lambda: Verdict.ALLOW,
    "allow-text": lambda: "allow",
    "list-of-votes": lambda: [ALLOW],
    "vote-class": lambda: Vote,
    "coroutine": a_coroutine,
    "generator": lambda: (vote for vote in [ALLOW]),
    "subclass": lambda: LyingVote(Verdict.ALLOW, "fine"),
    "verdict-is-text": lambda: Vote("allow", "fine"),  # type: ignore[arg-type]
    "verdict-is-truthy": lambda: Vote(TruthyVerdict(), "fine"),  # type: ignore[arg-type]
    "reason-is-none": lambda: Vote(Verdict.ALLOW, None),  # type: ignore[arg-type]
    "rule-is-none": lambda: Vote(Verdict.ALLOW, "fine", None),  # type: ignore[arg-type]
    "exception": lambda: raising(ValueError("password=hunter2")),
    "assertion": lambda: raising(AssertionError()),
    "system-exit": lambda: raising(SystemExit(0)),
    "keyboard-interrupt": lambda: raising(KeyboardInterrupt()),
    "generator-exit": lambda: raising(GeneratorExit()),
}


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines: list[str] = []
    handler = logger.add(lambda message: lines.append(str(message)), format="{message}")
    yield lines
    logger.remove(handler)


def policy(answer: Callable[[], object]) -> types.ModuleType:
    def astrid_authorize(request: AuthzRequest) -> object:
        return answer()

    made = types.ModuleType("policy")
    made.astrid_authorize = hookimpl(astrid_authorize)  # type: ignore[attr-defined]
    return made


def in_turn(*answers: Callable[[], object]) -> Callable[[], object]:
    left = list(answers)

    def answer() -> object:
        return left.pop(0)()

    return answer


def caller(**answers: Callable[[], object]) -> VoteCaller:
    manager = HookManager()
    for name, answer in answers.items():
        manager.add(policy(answer), source=PluginSource(name, f"astrid-{name}", "1.0"))
    return VoteCaller(manager, limit_s=5.0)


@pytest.mark.parametrize("answer", BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_action_denied_when_the_policy_answers_with_something_else(
    log: list[str], answer: Callable[[], object]
) -> None:
    ((distribution, vote),) = caller(bad=answer).collect(REQUEST)
    assert distribution == "astrid-bad"
    assert vote.verdict is Verdict.DENY
    assert vote.rule == "policy:astrid-bad"
    assert "astrid-bad 1.0" in log[0]


@pytest.mark.parametrize("answer", BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_one_bad_policy_among_good_ones_is_one_denial(
    log: list[str], answer: Callable[[], object]
) -> None:
    votes = caller(good=lambda: ALLOW, bad=answer, fine=lambda: ALLOW).collect(REQUEST)
    assert [(name, vote.verdict) for name, vote in votes] == [
        ("astrid-good", Verdict.ALLOW),
        ("astrid-bad", Verdict.DENY),
        ("astrid-fine", Verdict.ALLOW),
    ]


def test_what_an_exception_says_is_logged_and_not_told(log: list[str]) -> None:
    ((_, vote),) = caller(bad=BAD_ANSWERS["exception"]).collect(REQUEST)
    assert "hunter2" not in vote.reason
    assert "hunter2" in log[0]


def test_the_policy_works_again_after_it_failed(log: list[str]) -> None:
    asked = caller(bad=in_turn(lambda: raising(SystemExit(1)), lambda: ALLOW))
    assert [asked.collect(REQUEST)[0][1].verdict for _ in range(2)] == [
        Verdict.DENY,
        Verdict.ALLOW,
    ]


@pytest.fixture
def hanging() -> Iterator[Callable[[], object]]:
    release = threading.Event()

    def hang() -> object:
        release.wait(30)
        return ALLOW

    yield hang
    release.set()


def test_action_denied_when_the_policy_hangs(log: list[str], hanging: Callable[[], object]) -> None:
    manager = HookManager()
    manager.add(policy(hanging), source=PluginSource("bad", "astrid-bad", "1.0"))
    manager.add(policy(lambda: ALLOW), source=PluginSource("good", "astrid-good", "1.0"))
    started = time.monotonic()
    votes = dict(VoteCaller(manager, limit_s=0.05).collect(REQUEST))
    assert time.monotonic() - started < 2
    assert votes["astrid-bad"].verdict is Verdict.DENY
    assert "in time" in votes["astrid-bad"].reason
    assert votes["astrid-good"] == ALLOW
    assert "astrid-bad 1.0" in log[0]


@pytest.mark.slow
def test_several_hanging_policies_share_one_deadline(
    log: list[str], hanging: Callable[[], object]
) -> None:
    manager = HookManager()
    for name in ("one", "two", "three", "four"):
        manager.add(policy(hanging), source=PluginSource(name, f"astrid-{name}", "1.0"))
    started = time.monotonic()
    votes = VoteCaller(manager, limit_s=0.5).collect(REQUEST)
    assert time.monotonic() - started < 1.8, "one after the other takes two seconds"
    assert {vote.verdict for _, vote in votes} == {Verdict.DENY}


def test_a_policy_that_always_hangs_cannot_use_up_threads(
    log: list[str], hanging: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "_THREADS_PER_POLICY", 3)
    before = set(threading.enumerate())
    manager = HookManager()
    manager.add(policy(hanging), source=PluginSource("bad", "astrid-bad", "1.0"))
    asked = VoteCaller(manager, limit_s=0.01)
    votes = [asked.collect(REQUEST)[0][1] for _ in range(6)]
    assert {vote.verdict for vote in votes} == {Verdict.DENY}
    assert "any more" in votes[-1].reason
    assert len(set(threading.enumerate()) - before) <= 3


def test_a_late_allow_is_not_taken_for_the_next_question(log: list[str]) -> None:
    release = threading.Event()
    answer = in_turn(lambda: release.wait(30) and ALLOW, lambda: Vote(Verdict.DENY, "no"))
    manager = HookManager()
    manager.add(policy(answer), source=PluginSource("late", "astrid-late", "1"))
    asked = VoteCaller(manager, limit_s=0.05)
    assert asked.collect(REQUEST)[0][1].verdict is Verdict.DENY
    release.set()
    assert asked.collect(REQUEST)[0][1] == Vote(Verdict.DENY, "no")


def test_action_denied_when_a_policy_was_registered_behind_the_callers_back() -> None:
    manager = HookManager()
    manager.add(policy(lambda: ALLOW), source=PluginSource("one", "astrid-one", "1"))
    asked = VoteCaller(manager)
    manager.add(policy(lambda: ALLOW), source=PluginSource("two", "astrid-two", "1"))
    votes = dict(asked.collect(REQUEST))
    assert votes["astrid-core"].verdict is Verdict.DENY


def test_action_denied_when_the_first_policy_comes_behind_the_callers_back() -> None:
    manager = HookManager()
    asked = VoteCaller(manager)
    manager.add(policy(lambda: ALLOW), source=PluginSource("late", "astrid-late", "1"))
    assert [vote.verdict for _, vote in asked.collect(REQUEST)] == [Verdict.DENY]


@pytest.mark.parametrize("option", ["wrapper", "hookwrapper", "tryfirst", "trylast"])
def test_a_denial_cannot_be_wrapped_away(option: str) -> None:
    def astrid_authorize(request: AuthzRequest) -> Any:
        yield
        return ALLOW

    options: dict[str, Any] = {option: True}
    wrapper = types.ModuleType("wrapper")
    wrapper.astrid_authorize = hookimpl(**options)(astrid_authorize)  # type: ignore[attr-defined]
    deny = policy(lambda: Vote(Verdict.DENY, "no"))
    with pytest.raises(PluginContractError):
        PluginHost.open(only=(), extra_plugins={"deny": deny, "wrapper": wrapper})


def test_a_wrapper_that_got_in_all_the_same_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller does not rest on the refusal at registration alone."""
    monkeypatch.setattr("astrid_core.pluginhost.manager._refuse_wrapper", lambda *_: None)
    monkeypatch.setattr("astrid_core.pluginhost.manager._refuse_ordering", lambda *_: None)
    monkeypatch.setattr("astrid_core.pluginhost.manager._refuse_signature", lambda *_: None)

    def astrid_authorize(request: AuthzRequest) -> Any:
        yield
        return ALLOW

    wrapper = types.ModuleType("wrapper")
    wrapper.astrid_authorize = hookimpl(wrapper=True)(astrid_authorize)  # type: ignore[attr-defined]
    deny = policy(lambda: Vote(Verdict.DENY, "no"))
    host = PluginHost.open(only=(), extra_plugins={"deny": deny, "wrapper": wrapper})
    assert {vote.verdict for _, vote in host.votes(REQUEST)} == {Verdict.DENY}
