"""A whole kernel, in process: real store, bus, gate, engine and capsules."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from astrid_core import Kernel
from astrid_core.kernel.audit.places import AuditPlaces
from astrid_core.kernel.audit.reader import Query, entries
from astrid_core.kernel.home_lock import HomeLockedError
from astrid_hookspecs import hookimpl
from astrid_hookspecs.authz import AuthzRequest, Verdict, Vote
from astrid_hookspecs.buses import Attribution, Envelope
from astrid_hookspecs.errors import (
    AuditError,
    CapabilityDeniedError,
    ConfigError,
    GuestCancelledError,
    GuestTimeoutError,
    GuestTrapError,
    PolicyDeniedError,
    ToolError,
    ToolNotFoundError,
)
from astrid_hookspecs.events import CapsuleEvent, DecisionEvent
from astrid_hookspecs.values import Principal
from tests.support.capsules import (
    answering,
    eventually,
    install,
    install_example,
    manifest,
    tool,
    write_capsule,
)

Run = Callable[..., Any]


def event(topic: str, *, principal: str = "default", payload: bytes = b"{}") -> Envelope:
    return Envelope(
        topic, payload, principal=Principal(principal), attribution=Attribution.VERIFIED
    )


def test_what_happens_to_capsules_is_recorded_first_or_does_not_happen(
    run: Run, tmp_path: Path
) -> None:
    home = tmp_path / "home"

    async def work(kernel: Kernel) -> None:
        await install_example(kernel, "tally")
        kernel.audit.close()  # type: ignore[attr-defined]  # as a full disk would
        with pytest.raises(AuditError):
            await kernel.reload("tally")
        with pytest.raises(AuditError):
            await kernel.remove("tally")
        assert [capsule.id for capsule in kernel.capsules()] == ["tally"]
        assert (home / "home/default/.local/capsules/tally").is_dir()

    run(work)
    said = [
        (row["action"]["type"], row["outcome"])
        for row in entries(AuditPlaces(home / "var" / "audit"), Query(action="capsule.*"))
    ]
    assert said == [
        ("capsule.install", "allowed"),
        ("capsule.load", "allowed"),
        ("capsule.ready", "allowed"),
    ]


def test_each_principal_has_its_own_state(run: Run) -> None:
    async def work(kernel: Kernel) -> None:
        await install_example(kernel, "tally")
        for principal in ("alice", "alice", "bob"):
            kernel.publish(event("notes.v1.ingested", principal=principal))
        await eventually(lambda: kernel.read_state("tally", "count", principal="alice") == b"2")
        await eventually(lambda: kernel.read_state("tally", "count", principal="bob") == b"1")
        assert kernel.read_state("tally", "count") is None

    run(work)


def test_state_survives_a_restart(run: Run) -> None:
    async def count_one(kernel: Kernel) -> bytes | None:
        if not kernel.capsules():
            await install_example(kernel, "tally")
        before = kernel.read_state("tally", "count")
        kernel.publish(event("notes.v1.ingested"))
        await eventually(lambda: kernel.read_state("tally", "count") != before)
        return kernel.read_state("tally", "count")

    assert run(count_one) == b"1"
    assert run(count_one) == b"2"


def test_an_endless_loop_ends_at_the_callers_limit_and_others_go_on(
    run: Run, tmp_path: Path
) -> None:
    async def work(kernel: Kernel) -> None:
        await install_example(kernel, "spinner")
        await install_example(kernel, "tally")
        profile = tmp_path / "home" / "etc" / "profiles" / "impatient.toml"
        profile.write_text("[quotas]\nmax_timeout_secs = 2\n")
        started = time.monotonic()
        spinning = asyncio.create_task(kernel.call_tool("spin", principal="impatient"))
        await asyncio.sleep(0.2)
        kernel.publish(event("notes.v1.ingested"))
        await eventually(lambda: kernel.read_state("tally", "count") == b"1", timeout_s=1.5)
        assert not spinning.done()
        with pytest.raises(GuestTimeoutError):
            await spinning
        assert 1.9 < time.monotonic() - started < 6
        (spinner,) = [capsule for capsule in kernel.capsules() if capsule.id == "spinner"]
        assert spinner.stats()["timeouts"] == 1

    run(work)


@pytest.mark.slow
def test_cancelling_the_task_stops_the_guest(run: Run) -> None:
    async def work(kernel: Kernel) -> None:
        await install_example(kernel, "spinner")
        spinning = asyncio.create_task(kernel.call_tool("spin"))
        await asyncio.sleep(0.1)
        spinning.cancel()
        with pytest.raises(asyncio.CancelledError):
            await spinning
        (spinner,) = kernel.capsules()
        await eventually(lambda: spinner.stats()["cancelled"] == 1, timeout_s=1)
        with pytest.raises(ToolError) as caught:
            await kernel.call_tool("spin", timeout_s=0.1)
        assert caught.value.code == "tool.timeout"

    run(work)


@pytest.mark.slow
def test_a_closing_kernel_ends_waiting_calls(tmp_path: Path) -> None:
    async def main() -> None:
        async with Kernel.open(home=tmp_path / "home") as kernel:
            await install_example(kernel, "spinner")
            spinning = asyncio.create_task(kernel.call_tool("spin"))
            await asyncio.sleep(0.1)
        with pytest.raises(GuestCancelledError):
            await spinning

    started = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - started < 10


def test_a_disabled_principal_is_refused_before_guest_code_runs(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        await install_example(kernel, "spinner")
        profile = tmp_path / "home" / "etc" / "profiles" / "bob.toml"
        profile.write_text('enabled = false\ngroups = ["admin"]\n')
        with pytest.raises(CapabilityDeniedError) as caught:
            await kernel.call_tool("spin", principal="bob")
        assert caught.value.rule == "profile.enabled"
        (spinner,) = kernel.capsules()
        assert spinner.stats()["calls"] == 0
        assert kernel.denials()[-1].principal == "bob"
        profile.write_text("enabled = maybe")
        with pytest.raises(ConfigError):
            await kernel.call_tool("spin", principal="bob")
        assert spinner.stats()["calls"] == 0

    run(work)


def test_a_trap_is_reported_and_the_next_call_gets_a_fresh_instance(
    run: Run, tmp_path: Path
) -> None:
    # The first call of an instance traps; a fresh instance would trap again, so only the counter
    # of instances tells that each call got its own.
    source = write_capsule(
        tmp_path / "t", answering("continue", body="unreachable"), manifest("t", body=tool("boom"))
    )

    async def work(kernel: Kernel) -> None:
        await install(kernel, source)
        for _ in range(3):
            with pytest.raises(GuestTrapError, match="unreachable"):
                await kernel.call_tool("boom")
        (capsule,) = kernel.capsules()
        assert capsule.stats()["traps"] == 3
        assert capsule.state == "ready"

    run(work)


def test_an_interceptor_with_a_lower_priority_can_deny_a_tool_call(
    run: Run, tmp_path: Path
) -> None:
    spinner = write_capsule(
        tmp_path / "guard",
        answering("deny", "not today"),
        manifest(
            "guard",
            body='[subscribe]\n"tool.v1.execute.*" = '
            '{ wit = "opaque", handler = "guard", priority = 1 }\n',
        ),
    )

    async def work(kernel: Kernel) -> None:
        await install_example(kernel, "spinner")
        await install(kernel, spinner)
        with pytest.raises(PolicyDeniedError, match="not today") as caught:
            await kernel.call_tool("spin")
        assert caught.value.rule == "interceptor:guard.guard"

    run(work)


@pytest.mark.parametrize("name", ["spin", "spinner.spin"])
def test_naming_the_capsule_does_not_get_around_a_guard(
    run: Run, tmp_path: Path, name: str
) -> None:
    guard = (
        '[subscribe]\n"tool.v1.execute.*" = { wit = "opaque", handler = "guard", priority = 1 }\n'
    )
    if "." in name:  # the guard offers a tool of that name itself: only that handler is left out
        guard += '"tool.v1.execute.spin" = { wit = "opaque", handler = "tool_execute_spin" }\n'
    names = {"spinner": tool("spin"), "guard": guard}

    async def work(kernel: Kernel) -> None:
        for capsule, body in names.items():
            answer = answering("deny", "guarded") if capsule == "guard" else answering("continue")
            await install(
                kernel, write_capsule(tmp_path / capsule, answer, manifest(capsule, body=body))
            )
        with pytest.raises(PolicyDeniedError) as caught:
            await kernel.call_tool(name)
        assert caught.value.rule == "interceptor:guard.guard"

    run(work)


def test_a_tool_that_publishes_no_answer_is_an_error(run: Run, tmp_path: Path) -> None:
    source = write_capsule(
        tmp_path / "q", answering("continue"), manifest("quiet", body=tool("hush"))
    )

    async def work(kernel: Kernel) -> None:
        await install(kernel, source)
        with pytest.raises(ToolError) as caught:
            await kernel.call_tool("hush")
        assert caught.value.code == "tool.no-answer"
        with pytest.raises(ToolError) as caught:
            await kernel.call_tool("hush", {"x": object()})
        assert caught.value.code == "tool.arguments"

    run(work)


def test_unknown_and_ambiguous_tools_say_what_to_do(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        for name in ("one", "two"):
            await install(
                kernel,
                write_capsule(
                    tmp_path / name, answering("continue"), manifest(name, body=tool("hello"))
                ),
            )
        with pytest.raises(ToolNotFoundError) as caught:
            await kernel.call_tool("helo")
        assert caught.value.hint == "did you mean 'hello'?"
        with pytest.raises(ToolNotFoundError) as caught:
            await kernel.call_tool("hello")
        assert caught.value.code == "tool.ambiguous"
        assert caught.value.hint == "name one of: one.hello, two.hello"
        with pytest.raises(ToolError) as no_answer:
            await kernel.call_tool("two.hello")
        assert no_answer.value.code == "tool.no-answer"
        counts = {capsule.id: capsule.stats()["calls"] for capsule in kernel.capsules()}
        assert counts == {"one": 0, "two": 1}

    run(work)


@pytest.mark.slow
def test_only_the_asked_capsule_can_answer(run: Run) -> None:
    async def work(kernel: Kernel) -> None:
        await install_example(kernel, "spinner")
        requests = kernel.subscribe("tool.v1.execute.spin")
        spinning = asyncio.create_task(kernel.call_tool("spin", timeout_s=0.5))
        await eventually(requests.is_ready)
        (request,) = requests.take(max_bytes=1 << 20).messages
        call_id = request.payload.split(b'"call_id":"')[1].split(b'"')[0].decode()
        forged = (
            f'{{"type":"tool_execute_result","call_id":"{call_id}","result":'
            f'{{"call_id":"{call_id}","content":"forged","is_error":false}}}}'
        )
        kernel.publish(
            Envelope("tool.v1.execute.spin.result", forged.encode(), kind="tool_execute_result")
        )
        with pytest.raises(ToolError) as caught:
            await spinning
        assert caught.value.code == "tool.timeout"

    run(work)


class Policy:
    """Refuses one principal; leaves the rest to others. Records what it sees."""

    def __init__(self) -> None:
        self.events: list[CapsuleEvent] = []
        self.decisions: list[DecisionEvent] = []

    @hookimpl
    def astrid_authorize(self, request: AuthzRequest) -> Vote:
        if request.principal == "mallory":
            return Vote(Verdict.DENY, "known offender", "list")
        return Vote(Verdict.ABSTAIN, "no opinion")

    @hookimpl
    def astrid_capsule_changed(self, event: CapsuleEvent) -> None:
        self.events.append(event)

    @hookimpl
    def astrid_decision_made(self, event: DecisionEvent) -> None:
        self.decisions.append(event)


def test_a_policy_plugin_can_refuse_and_observers_hear_of_it(run: Run) -> None:
    policy = Policy()

    async def work(kernel: Kernel) -> None:
        await install_example(kernel, "tally")
        await install_example(kernel, "spinner")
        with pytest.raises(PolicyDeniedError, match="known offender") as caught:
            await kernel.call_tool("spin", principal="mallory")
        assert caught.value.rule.startswith("policy:")
        kernel.publish(event("notes.v1.ingested"))
        await eventually(lambda: kernel.read_state("tally", "count") == b"1")

    run(work, plugins={"probe": policy})
    assert [(e.state, e.capsule) for e in policy.events if e.state == "ready"] == [
        ("ready", "tally"),
        ("ready", "spinner"),
    ]
    assert policy.decisions[0].principal == "mallory"


def test_a_second_kernel_on_the_same_home_is_refused(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        del kernel
        with pytest.raises(HomeLockedError):
            async with Kernel.open(home=tmp_path / "home"):
                pytest.fail("two kernels on one home")

    run(work)


def test_an_upgrade_swaps_the_capsule_without_a_restart(run: Run, tmp_path: Path) -> None:
    def version(number: str, reason: str) -> Any:
        return write_capsule(
            tmp_path / number,
            answering("deny", reason),
            manifest("guard", version=number, body=tool("ask")),
        )

    async def work(kernel: Kernel) -> None:
        assert (await install(kernel, version("1.0.0", "first"))).outcome == "installed"
        with pytest.raises(PolicyDeniedError, match="first"):
            await kernel.call_tool("ask")
        upgraded = await install(kernel, version("1.1.0", "second"))
        assert (upgraded.outcome, upgraded.previous_version) == ("upgraded", "1.0.0")
        with pytest.raises(PolicyDeniedError, match="second"):
            await kernel.call_tool("ask")
        assert [capsule.spec.version for capsule in kernel.capsules()] == ["1.1.0"]
        await kernel.reload("guard")
        removed = await kernel.remove("guard")
        assert removed.name == "guard"
        with pytest.raises(ToolNotFoundError):
            await kernel.call_tool("ask")

    run(work)


@pytest.mark.parametrize("state", ["fresh", "shared"])
def test_fresh_state_means_a_new_instance_for_every_call(
    run: Run, tmp_path: Path, state: str
) -> None:
    # The guest denies from its second call in one instance on.
    body = """
      (if (i32.load (i32.const 2048)) (then unreachable))
      (i32.store (i32.const 2048) (i32.const 1))
    """
    source = write_capsule(
        tmp_path / "c",
        answering("continue", body=body),
        manifest("once", body=tool("go") + f'[capsule]\nstate = "{state}"\n'),
    )

    async def work(kernel: Kernel) -> None:
        await install(kernel, source)
        errors = []
        for _ in range(2):
            with pytest.raises((ToolError, GuestTrapError)) as caught:
                await kernel.call_tool("go")
            errors.append(type(caught.value))
        assert errors == [ToolError, ToolError if state == "fresh" else GuestTrapError]

    run(work)


def test_capsules_load_in_dependency_order_uplinks_first(run: Run, tmp_path: Path) -> None:
    bodies = {
        "a-user": '[imports.acme]\nindex = "^1"\n',
        "b-uplink": "[capabilities]\nuplink = true\n",
        "c-index": '[exports.acme]\nindex = "1.2.0"\n',
    }

    async def set_up(kernel: Kernel) -> None:
        for name, body in bodies.items():
            await install(
                kernel,
                write_capsule(tmp_path / name, answering("continue"), manifest(name, body=body)),
            )

    async def nothing(kernel: Kernel) -> None:
        assert kernel.problems == []

    run(set_up)
    policy = Policy()
    run(nothing, plugins={"probe": policy})
    order = [e.capsule for e in policy.events if e.state == "ready"]
    assert order == ["b-uplink", "c-index", "a-user"]
