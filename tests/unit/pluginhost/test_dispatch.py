"""How hooks are called: attribution, threads, failures, cost."""

# ruff: noqa: ARG001 - hook implementations take what the specification names

from __future__ import annotations

import sys
import threading
import types
from collections.abc import Callable, Iterator

import pluggy
import pytest
from loguru import logger

from astrid_core.pluginhost import dispatch
from astrid_core.pluginhost.dispatch import ObserverCaller, VoteCaller, declared, select
from astrid_core.pluginhost.manager import HookManager
from astrid_core.pluginhost.source import PluginSource
from astrid_hookspecs import hookimpl, hookspec
from astrid_hookspecs.authz import AuthzRequest, Verdict, Vote
from astrid_hookspecs.errors import PluginContractError
from astrid_hookspecs.events import CapsuleEvent
from astrid_hookspecs.kinds import HOOKS, HookInfo, HookKind
from astrid_hookspecs.values import CapsuleId, Principal

REQUEST = AuthzRequest(Principal("ada"), "bus.publish", "notes.v1.saved")
EVENT = CapsuleEvent("ready", CapsuleId("note-keeper"), "1.0.0")


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines: list[str] = []
    handler = logger.add(lambda message: lines.append(str(message)), format="{level} {message}")
    yield lines
    logger.remove(handler)


def manager(**hooks: Callable[..., object]) -> HookManager:
    """A manager with one plugin per keyword, `<distribution>=<function named like its hook>`."""
    made = HookManager()
    for distribution, function in hooks.items():
        plugin = types.ModuleType(distribution)
        setattr(plugin, function.__name__, hookimpl(function))
        name = distribution.replace("_", "-")
        made.add(plugin, source=PluginSource(name, f"astrid-{name}", "1.0"))
    return made


def voting(verdict: Verdict) -> Callable[..., object]:
    def astrid_authorize(request: AuthzRequest) -> Vote:
        return Vote(verdict, f"asked about {request.resource}")

    return astrid_authorize


def test_each_vote_is_returned_under_its_distribution() -> None:
    votes = VoteCaller(
        manager(one=voting(Verdict.ALLOW), two=voting(Verdict.DENY), three=voting(Verdict.ABSTAIN))
    ).collect(REQUEST)
    assert dict(votes) == {
        "astrid-one": Vote(Verdict.ALLOW, "asked about notes.v1.saved"),
        "astrid-two": Vote(Verdict.DENY, "asked about notes.v1.saved"),
        "astrid-three": Vote(Verdict.ABSTAIN, "asked about notes.v1.saved"),
    }


def test_without_policies_nothing_is_started() -> None:
    before = set(threading.enumerate())
    caller = VoteCaller(HookManager())
    assert caller.collect(REQUEST) == []
    assert set(threading.enumerate()) <= before


def test_votes_reuse_their_thread() -> None:
    threads: set[int] = set()

    def astrid_authorize(request: AuthzRequest) -> Vote:
        threads.add(threading.get_ident())
        return Vote(Verdict.ABSTAIN, "seen")

    caller = VoteCaller(manager(one=astrid_authorize))
    for _ in range(50):
        caller.collect(REQUEST)
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_votes_of_several_threads_do_not_mix() -> None:
    def astrid_authorize(request: AuthzRequest) -> Vote:
        return Vote(Verdict.ABSTAIN, request.resource)

    caller = VoteCaller(manager(one=astrid_authorize))
    wrong: list[str] = []

    def ask(mine: str) -> None:
        for number in range(50):
            request = AuthzRequest(Principal("ada"), "bus.publish", f"{mine}-{number}")
            ((_, vote),) = caller.collect(request)
            if vote.reason != request.resource:
                wrong.append(vote.reason)

    threads = [threading.Thread(target=ask, args=(name,)) for name in ("a", "b", "c", "d")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_slow_vote_counts_and_is_logged(log: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "VOTE_SLOW_S", -1.0)
    ((_, vote),) = VoteCaller(manager(slow=voting(Verdict.ALLOW))).collect(REQUEST)
    assert vote.verdict is Verdict.ALLOW
    assert "astrid-slow 1.0" in log[0]


def test_every_observer_is_told_whatever_the_others_do(log: list[str]) -> None:
    seen: list[object] = []

    def failing(event: CapsuleEvent) -> None:
        raise ValueError("broken observer")

    def watching(event: CapsuleEvent) -> str:
        seen.append(event)
        return "ignored"

    def bare() -> None:
        seen.append("bare")

    for function in (failing, watching, bare):
        function.__name__ = "astrid_capsule_changed"
    ObserverCaller(manager(one=failing, two=watching, three=bare)).observe(
        "astrid_capsule_changed", EVENT
    )
    assert sorted(map(str, seen)) == sorted([str(EVENT), "bare"])
    assert "astrid-one 1.0" in log[0]
    assert "broken observer" in log[0]


def test_an_observer_that_returns_a_coroutine_is_closed() -> None:
    async def later() -> None: ...

    def astrid_capsule_changed(event: CapsuleEvent) -> object:
        return later()

    # An unclosed coroutine would warn, and warnings are errors here.
    ObserverCaller(manager(one=astrid_capsule_changed)).observe("astrid_capsule_changed", EVENT)


def test_observing_something_else_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(KeyError):
        ObserverCaller(HookManager()).observe("astrid_authorize", EVENT)


def test_declarations_carry_their_source() -> None:
    def astrid_register_buses() -> list[object]:
        return ["a", "b"]

    found = [
        (source.distribution, record)
        for source, record in declared(
            manager(one=astrid_register_buses, two=astrid_register_buses), "astrid_register_buses"
        )
    ]
    assert sorted(found) == [
        ("astrid-one", "a"),
        ("astrid-one", "b"),
        ("astrid-two", "a"),
        ("astrid-two", "b"),
    ]


def test_a_declaration_that_fails_half_way_names_its_distribution() -> None:
    def astrid_register_buses() -> Iterator[object]:
        yield "a"
        raise RuntimeError("half way")

    with pytest.raises(PluginContractError, match="astrid-one") as caught:
        list(declared(manager(one=astrid_register_buses), "astrid_register_buses"))
    assert caught.value.code == "plugin.failed"


def test_select_returns_the_first_answer() -> None:
    specifications = types.ModuleType("specifications")

    def astrid_choose_greeting(name: str) -> str | None: ...

    specifications.astrid_choose_greeting = hookspec(firstresult=True)(astrid_choose_greeting)  # type: ignore[attr-defined]
    made = HookManager(hooks={"astrid_choose_greeting": HookInfo(HookKind.SELECT, specifications)})
    assert select(made, "astrid_choose_greeting", name="Ada") is None
    for name, answer in (("one", None), ("two", "hello"), ("three", None)):
        plugin = types.ModuleType(name)
        plugin.astrid_choose_greeting = hookimpl(_answering(answer))  # type: ignore[attr-defined]
        made.add(plugin, source=PluginSource(name, f"astrid-{name}", "1"))
    assert select(made, "astrid_choose_greeting", name="Ada") == "hello"


def _answering(answer: str | None) -> Callable[..., object]:
    def astrid_choose_greeting(name: str) -> str | None:
        return answer

    return astrid_choose_greeting


def test_the_vote_caller_asks_pluggy_for_every_implementation() -> None:
    made = manager(one=voting(Verdict.ALLOW))
    assert [type(found) for found in made.implementations("astrid_authorize")] == [pluggy.HookImpl]
    assert HOOKS["astrid_authorize"].kind is HookKind.VOTE


def test_a_declaration_that_ends_the_program_or_prints_stops_the_boot_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def astrid_register_buses() -> list[object]:
        sys.stdout.write("bye")
        raise SystemExit(3)

    with pytest.raises(PluginContractError) as caught:
        list(declared(manager(one=astrid_register_buses), "astrid_register_buses"))
    assert caught.value.code == "plugin.failed"
    assert "astrid-one 1.0 failed in 'astrid_register_buses': SystemExit: 3" in caught.value.message
    assert capsys.readouterr().out == ""


def test_an_error_of_the_kernels_own_kind_is_still_the_plugins() -> None:
    def astrid_register_buses() -> list[object]:
        raise PluginContractError("no bus today")

    with pytest.raises(PluginContractError, match="astrid-one") as caught:
        list(declared(manager(one=astrid_register_buses), "astrid_register_buses"))
    assert "PluginContractError: no bus today" in caught.value.message


def test_an_exception_that_cannot_be_shown_names_the_plugin() -> None:
    class UnshowableError(Exception):
        def __str__(self) -> str:
            raise ValueError

    def astrid_register_buses() -> list[object]:
        raise UnshowableError

    with pytest.raises(PluginContractError, match="astrid-one") as caught:
        list(declared(manager(one=astrid_register_buses), "astrid_register_buses"))
    assert "UnshowableError: <message unavailable>" in caught.value.message


def test_an_observer_that_ends_the_program_stops_nothing(log: list[str]) -> None:
    told: list[CapsuleEvent] = []

    def astrid_capsule_changed(event: CapsuleEvent) -> None:
        told.append(event)
        raise SystemExit(3)

    caller = ObserverCaller(manager(one=astrid_capsule_changed, two=astrid_capsule_changed))
    caller.observe("astrid_capsule_changed", EVENT)
    assert told == [EVENT, EVENT]
    assert all(any(f"astrid-{name}" in line for line in log) for name in ("one", "two"))


def test_an_observer_does_not_swallow_an_interrupt() -> None:
    def astrid_capsule_changed(event: CapsuleEvent) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ObserverCaller(manager(one=astrid_capsule_changed)).observe("astrid_capsule_changed", EVENT)
