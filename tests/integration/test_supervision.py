"""Run loops that crash, hang or do not come back, in a real kernel whose time is moved by hand.

Spec: kernel-and-security 12.3, 16 D-04, D-85; capsules-and-bus 3.6.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from astrid_core import Kernel
from astrid_core.kernel import supervision
from astrid_core.kernel.audit.places import AuditPlaces
from astrid_core.kernel.audit.reader import Query, entries
from astrid_core.kernel.loaded import Loaded
from astrid_hookspecs.buses import Attribution, BusSubscription, Envelope
from astrid_hookspecs.errors import CapsuleError, CapsuleNotFoundError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL
from tests.support.capsules import answering, eventually, install, manifest, write_capsule
from tests.support.engines import SiblingEngine, choose_sibling
from tests.support.guests import engine_guest

ORDERS = '[subscribe]\n"orders.*" = { wit = "opaque" }\n'
_AGAIN = "(br_if $again (i32.eqz (i32.load8_u (i32.const 256))))"
TOOL = '"tool.v1.execute.ask" = { wit = "opaque", handler = "tool_execute_ask" }\n'
POISON = (_AGAIN, f"(if (i32.load (i32.const 268)) (then unreachable)) {_AGAIN}")
"""Traps as soon as a message arrives: the list's length is at 268 in the answer of `recv`."""


class HandClock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds

    def monotonic_ns(self) -> int:
        return int(self.seconds * 1e9)


class World:
    """A kernel, its time, and what it says about the health of its capsules."""

    def __init__(self, kernel: Kernel, clock: HandClock, folder: Path) -> None:
        self.kernel = kernel
        self.clock = clock
        self.folder = folder
        self.health: BusSubscription = kernel.subscribe("astrid.v1.health.*")

    async def passes(self, seconds: float) -> None:
        self.clock.seconds += seconds
        await self.kernel.supervisor.look()

    async def install(self, component: bytes, *, version: str = "1.0.0") -> None:
        text = manifest("loop", version=version, body=ORDERS)
        await install(self.kernel, write_capsule(self.folder / version, component, text))

    def capsule(self) -> Loaded:
        (capsule,) = self.kernel.capsules()
        return capsule

    def said(self) -> list[tuple[str, dict[str, Any]]]:
        messages = self.health.take(max_bytes=1 << 20).messages
        assert all(message.principal is None for message in messages)
        return [(m.topic.rpartition(".")[2], json.loads(m.payload)) for m in messages]

    def poison(self) -> None:
        self.kernel.publish(
            Envelope(
                "orders.new",
                b"{}",
                principal=DEFAULT_PRINCIPAL,
                attribution=Attribution.VERIFIED,
            )
        )

    async def crash(self) -> None:
        """Let the poisoned loop crash."""
        capsule = self.capsule()
        self.poison()
        await eventually(lambda: not capsule.health().ok)


Run = Callable[..., None]


@pytest.fixture(autouse=True)
def sibling_is_chosen(tmp_path: Path) -> None:
    choose_sibling(tmp_path / "home")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def runner(work: Callable[[World], Awaitable[object]], *, plugins: Any = ()) -> None:
        async def main() -> None:
            clock = HandClock()
            async with Kernel.open(home=tmp_path / "home", clock=clock, plugins=plugins) as kernel:
                await work(World(kernel, clock, tmp_path))

        asyncio.run(main())

    return runner


def recorded(home: Path, *, action: str = "capsule.*") -> list[tuple[str, str]]:
    found = entries(AuditPlaces(home / "var" / "audit"), Query(action=action))
    return [(row["action"]["type"].removeprefix("capsule."), row["outcome"]) for row in found]


def test_a_loop_that_crashes_at_once_is_tried_five_times_and_then_down(
    run: Run, tmp_path: Path
) -> None:
    async def work(world: World) -> None:
        with pytest.raises(CapsuleError) as caught:
            await world.install(engine_guest("run_trap.wat"))
        assert caught.value.code == "capsule.crashed"
        assert "astrid logs " in (caught.value.hint or "")
        await world.passes(10)
        assert [topic for topic, _ in world.said()] == ["failed"]
        waits = []
        for _ in range(5):
            load, waited = world.capsule().source_id, 0
            while world.capsule().source_id == load:
                assert waited < 40
                await world.passes(1)
                waited += 1
            waits.append(waited)
        assert waits == [2, 4, 8, 16, 32]
        said = world.said()
        assert [topic for topic, _ in said] == ["failed"] * 5 + ["down"]
        assert said[-1][1]["capsule_id"] == "loop"
        assert said[-1][1]["restarts"] == 5
        assert "unreachable" in said[-1][1]["reason"]
        for _ in range(20):
            await world.passes(100)
        assert world.said() == []
        capsule = world.capsule()
        assert capsule.state == "failed"
        assert capsule.problem.startswith("down after 5 restarts: ")
        assert capsule.stats()["instances"] == 0

    run(work)
    said = recorded(tmp_path / "home")
    assert said == [
        ("install", "allowed"),
        *[("load", "allowed"), ("failed", "failed")] * 6,
        ("down", "failed"),
    ]


def test_a_loop_that_crashes_each_minute_is_restarted_and_given_up_in_the_end(
    run: Run, tmp_path: Path
) -> None:
    async def work(world: World) -> None:
        await world.install(engine_guest("run_recv.wat", POISON))
        for restart in range(1, 6):
            await world.passes(60)
            assert world.said() == []
            await world.crash()
            await world.passes(10)
            assert world.capsule().state == "failed"
            await world.passes(2.0**restart)
            assert world.capsule().state == "ready"
            assert world.kernel.supervisor.restarts(world.capsule().id) == restart
            failed, restarted = world.said()
            assert failed[0] == "failed"
            assert failed[1]["reason"].startswith("run loop exited")
            assert restarted == ("restarted", {"capsule_id": "loop", "restarts": restart})
        await world.passes(60)
        await world.crash()
        await world.passes(10)
        assert [topic for topic, _ in world.said()] == ["failed", "down"]
        await world.passes(1000)
        assert world.capsule().state == "failed"
        bus = world.kernel._parts.bus
        assert bus.stats()["subscriptions"] == 1  # type: ignore[attr-defined]  # the test's own

    run(work)
    said = recorded(tmp_path / "home")
    served = [("load", "allowed"), ("ready", "allowed"), ("failed", "failed")]
    assert said == [("install", "allowed"), *served * 6, ("down", "failed")]


@pytest.mark.slow
def test_a_loop_that_ran_well_for_long_begins_anew(run: Run) -> None:
    async def work(world: World) -> None:
        await world.install(engine_guest("run_recv.wat", POISON))
        for _ in range(8):  # more often than it would be tried in a row
            await world.crash()
            await world.passes(10)
            await world.passes(2)
            assert world.capsule().state == "ready"
            assert world.kernel.supervisor.restarts(world.capsule().id) == 1
            await world.passes(300)
            assert world.kernel.supervisor.restarts(world.capsule().id) == 0

    run(work)


@pytest.mark.slow
@pytest.mark.parametrize("guest", ["run_spin.wat", "run_silent.wat"])
def test_a_loop_that_hangs_is_stopped_and_started_again(
    run: Run, tmp_path: Path, guest: str
) -> None:
    async def work(world: World) -> None:
        profile = tmp_path / "home" / "etc" / "profiles" / "default.toml"
        profile.write_text("[quotas]\nmax_timeout_secs = 30\n")
        await world.install(engine_guest(guest))
        hanging = world.capsule()
        for _ in range(3):
            await world.passes(10)
            assert hanging.state == "ready"
        await world.passes(10)
        ((topic, data),) = world.said()
        assert topic == "failed"
        assert data["reason"] == (
            "run loop hangs: it has computed for 30 s without a call to the host"
        )
        assert hanging.stats()["instances"] == 0  # nothing of it goes on computing
        await world.passes(2)
        assert world.capsule().state == "ready"
        assert [topic for topic, _ in world.said()] == ["restarted"]

    run(work)
    assert recorded(tmp_path / "home") == [
        ("install", "allowed"),
        *[("load", "allowed"), ("ready", "allowed"), ("failed", "failed")],
        *[("load", "allowed"), ("ready", "allowed"), ("unloaded", "allowed")],
    ]


@pytest.mark.slow
def test_a_loop_that_waits_for_messages_does_not_hang(run: Run) -> None:
    async def work(world: World) -> None:
        await world.install(engine_guest("run_recv.wat"))
        for _ in range(100):
            await world.passes(10)
        assert world.said() == []
        assert world.capsule().state == "ready"

    run(work)


def test_events_during_the_wait_for_a_restart_are_not_lost(run: Run) -> None:
    async def work(world: World) -> None:
        await world.install(engine_guest("run_recv.wat", POISON))
        await world.crash()
        world.poison()  # while it is down
        await world.passes(10)
        await world.passes(2)
        capsule = world.capsule()
        await eventually(lambda: not capsule.health().ok)  # the successor received it

    run(work)


def test_130_175_a_loop_that_returns_has_failed_at_the_next_probe_and_is_restarted(
    run: Run,
) -> None:
    """The first restart is due 2 s after the failure was seen; upstream had to wait for a probe."""
    returns = engine_guest("run_spin.wat", ("(loop $l (br $l))", ""))

    async def work(world: World) -> None:
        await world.install(returns)
        await eventually(lambda: not world.capsule().health().ok)
        assert world.said() == []
        await world.passes(10)
        assert world.said() == [("failed", {"capsule_id": "loop", "reason": "run loop exited"})]
        await world.passes(1.9)
        assert world.said() == []
        await world.passes(0.1)
        assert world.said() == [("restarted", {"capsule_id": "loop", "restarts": 1})]
        await eventually(lambda: not world.capsule().health().ok)
        await world.passes(8)  # the next probe
        assert [topic for topic, _ in world.said()] == ["failed"]

    run(work)


@pytest.mark.slow
def test_176_a_restart_that_fails_is_not_the_last(run: Run, tmp_path: Path) -> None:
    async def work(world: World) -> None:
        await world.install(engine_guest("run_recv.wat", POISON))
        directory = world.capsule().spec.directory
        manifest_text = (directory / "Capsule.toml").read_text()
        await world.crash()
        await world.passes(10)
        (directory / "Capsule.toml").write_text("damaged")
        await world.passes(2)
        assert world.capsule().state == "failed"
        (directory / "Capsule.toml").write_text(manifest_text)
        await world.passes(3.9)
        assert world.capsule().state == "failed"
        await world.passes(0.1)
        assert world.capsule().state == "ready"
        said = world.said()
        assert [topic for topic, _ in said] == ["failed", "failed", "restarted"]
        assert said[1][1]["reason"] == "it could not be loaded (integrity.tree)"  # and no path
        assert said[2][1]["restarts"] == 2

    run(work)
    said = [one for one in recorded(tmp_path / "home") if one[0] != "unloaded"]
    assert said == [
        ("install", "allowed"),
        *[("load", "allowed"), ("ready", "allowed"), ("failed", "failed")],
        ("failed", "failed"),  # the first restart, of what was damaged
        *[("load", "allowed"), ("ready", "allowed")],
    ]


def sibling_capsule(folder: Path) -> Any:
    server = '[[mcp_server]]\nid = "s"\ntype = "stdio"\ncommand = "unused"\n'
    body = server + '[capabilities]\nhost_process = ["unused"]\n'
    text = f'[package]\nname = "sibling"\nversion = "1.0.0"\n{body}'
    return write_capsule(folder, b"", text)


def test_an_unwell_part_is_replaced_and_told_so(run: Run, tmp_path: Path) -> None:
    engine = SiblingEngine()

    async def work(world: World) -> None:
        await install(world.kernel, sibling_capsule(tmp_path / "s"))
        engine.is_well = False
        await world.passes(10)
        assert world.said() == [
            ("failed", {"capsule_id": "sibling", "reason": "its process is gone"})
        ]
        assert engine.stopped == 1
        engine.is_well = True
        await world.passes(2)
        assert world.capsule().state == "ready"
        assert engine.asked == ["handle_lifecycle_restart"]

    run(work, plugins={"sibling": engine})


@pytest.mark.parametrize("method", ["health", "load"])
@pytest.mark.slow
def test_an_engine_with_a_defect_takes_nothing_else_down(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    engine = SiblingEngine()

    def defect() -> None:
        raise RuntimeError("a secret")

    async def work(world: World) -> None:
        await install(world.kernel, sibling_capsule(tmp_path / "s"))
        await world.install(engine_guest("run_recv.wat"))
        if method == "health":
            monkeypatch.setattr(engine, "health", defect)
        else:
            engine.is_well, engine.load_error = False, RuntimeError("a secret")
        for _ in range(12):
            await world.passes(60)
        (loop, sibling) = world.kernel.capsules()
        assert (loop.id, loop.state) == ("loop", "ready")
        assert sibling.state == "failed"
        said = world.said()
        assert {data["capsule_id"] for _, data in said} == {"sibling"}
        assert said[-1][0] == "down"
        assert "a secret" not in str(said)

    run(work, plugins={"sibling": engine})


@pytest.mark.slow
def test_a_boot_survives_an_engine_with_a_defect(run: Run, tmp_path: Path) -> None:
    engine = SiblingEngine()

    async def set_up(world: World) -> None:
        await install(world.kernel, sibling_capsule(tmp_path / "s"))
        await world.install(engine_guest("run_recv.wat"))

    run(set_up, plugins={"sibling": engine})
    engine.load_error = RuntimeError("a secret")

    async def work(world: World) -> None:
        assert [capsule.id for capsule in world.kernel.capsules()] == ["loop"]
        ((name, error),) = [(p.capsule, p.error) for p in world.kernel.problems]
        assert name == "sibling"
        assert "a secret" not in error.message

    run(work, plugins={"sibling": engine})


@pytest.mark.parametrize("method", ["load", "start", "health", "is_run_loop"])
def test_an_engine_that_wants_to_end_the_program_ends_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    engine = SiblingEngine()

    async def set_up(world: World) -> None:
        await install(world.kernel, sibling_capsule(tmp_path / "s"))

    run(set_up, plugins={"sibling": engine})

    def leave(*_arguments: object, **_named: object) -> None:
        raise SystemExit(0)

    async def work(world: World) -> None:
        assert all(capsule.id == "sibling" for capsule in world.kernel.capsules())
        failed = [(problem.capsule, problem.error.code) for problem in world.kernel.problems]
        assert failed == ([] if method == "health" else [("sibling", "engine.failed")])
        await world.passes(60)

    monkeypatch.setattr(engine, method, leave)
    run(work, plugins={"sibling": engine})


def test_a_problem_of_the_boot_is_over_when_a_restart_succeeds(run: Run, tmp_path: Path) -> None:
    engine = SiblingEngine()

    async def set_up(world: World) -> None:
        await install(world.kernel, sibling_capsule(tmp_path / "s"))

    run(set_up, plugins={"sibling": engine})
    engine.start_error = CapsuleError("no memory")

    async def work(world: World) -> None:
        assert [problem.capsule for problem in world.kernel.problems] == ["sibling"]
        assert world.capsule().state == "failed"
        engine.start_error = None
        await world.passes(10)
        await world.passes(2)
        assert world.capsule().state == "ready"
        assert world.kernel.problems == []

    run(work, plugins={"sibling": engine})


@pytest.mark.slow
def test_run_loops_of_a_boot_become_ready_side_by_side(run: Run, tmp_path: Path) -> None:
    names = ("a", "b", "c")

    async def set_up(world: World) -> None:
        for name in names:
            text = manifest(name, body=ORDERS)
            component = engine_guest("run_recv.wat")
            await install(world.kernel, write_capsule(tmp_path / name, component, text))

    run(set_up)
    before = len(recorded(tmp_path / "home"))

    async def work(world: World) -> None:
        assert [capsule.state for capsule in world.kernel.capsules()] == ["ready"] * 3

    run(work)
    said = [action for action, _ in recorded(tmp_path / "home")[before:]]
    assert said[:6] == ["load"] * 3 + ["ready"] * 3


def test_a_cycle_of_imports_is_named_and_stops_nobody(run: Run, tmp_path: Path) -> None:
    async def set_up(world: World) -> None:
        for name, other in (("a", "b"), ("b", "a")):
            body = f'[imports.acme]\n{other} = "^1"\n[exports.acme]\n{name} = "1.0.0"\n'
            text = manifest(name, body=body)
            await install(world.kernel, write_capsule(tmp_path / name, answering("continue"), text))

    run(set_up)
    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(str(line)), level="ERROR")
    try:

        async def work(world: World) -> None:
            assert [capsule.state for capsule in world.kernel.capsules()] == ["ready"] * 2

        run(work)
    finally:
        logger.remove(sink)
    assert any("dependency cycle detected (involved nodes): a, b" in line for line in lines)


@pytest.mark.slow
def test_a_kernel_looks_after_its_capsules_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "PROBE_S", 0.02)
    monkeypatch.setattr(supervision, "TICK_S", 0.02)

    async def main() -> None:
        async with Kernel.open(home=tmp_path / "home") as kernel:
            ticks = kernel.subscribe("astrid.v1.watchdog.tick")
            world = World(kernel, HandClock(), tmp_path)
            await world.install(engine_guest("run_recv.wat", POISON))
            crashed = world.capsule()
            world.poison()
            await eventually(lambda: world.capsule() is not crashed)  # 2 s later
            assert "failed" in dict(world.said())
            (tick, *_) = ticks.take(max_bytes=1 << 20).messages
            assert tick.payload == b"{}"
            assert tick.principal is None
        assert not [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]

    asyncio.run(main())


@pytest.mark.slow
def test_a_failing_capsule_stops_nobody_else(run: Run) -> None:
    async def work(world: World) -> None:
        for name, guest in (("good", "run_recv.wat"), ("bad", "run_trap.wat")):
            source = write_capsule(
                world.folder / name, engine_guest(guest), manifest(name, body=ORDERS)
            )
            if name == "bad":
                with pytest.raises(CapsuleError):
                    await install(world.kernel, source)
            else:
                await install(world.kernel, source)
        for _ in range(30):
            await world.passes(10)
        assert [(c.id, c.state) for c in world.kernel.capsules()] == [
            ("bad", "failed"),
            ("good", "ready"),
        ]
        assert {data["capsule_id"] for _, data in world.said()} == {"bad"}

    run(work)


def test_a_person_who_reloads_a_capsule_that_is_down_gets_five_new_tries(run: Run) -> None:
    async def work(world: World) -> None:
        with pytest.raises(CapsuleError):
            await world.install(engine_guest("run_trap.wat"))
        for _ in range(10):
            await world.passes(60)
        assert [topic for topic, _ in world.said()][-1] == "down"
        with pytest.raises(CapsuleError):
            await world.kernel.reload("loop")
        for _ in range(10):
            await world.passes(60)
        assert [topic for topic, _ in world.said()] == ["failed"] * 6 + ["down"]
        await world.kernel.remove("loop")
        await world.passes(60)
        assert world.kernel.capsules() == []
        assert world.said() == []

    run(work)


def test_calls_of_a_run_loop_that_fails_end_with_it(run: Run) -> None:
    async def work(world: World) -> None:
        text = manifest("loop", body=ORDERS + TOOL)
        guest = engine_guest("run_recv.wat", POISON)
        await install(world.kernel, write_capsule(world.folder / "tool", guest, text))
        waiting = asyncio.create_task(world.kernel.call_tool("ask", timeout_s=60))
        await asyncio.sleep(0)
        await world.crash()

        with pytest.raises(CapsuleNotFoundError) as unseen:  # before anybody has looked
            await world.kernel.call_tool("ask", timeout_s=5)
        await world.passes(supervision.PROBE_S)
        with pytest.raises(CapsuleNotFoundError) as failed:
            await asyncio.wait_for(waiting, 10)
        with pytest.raises(CapsuleNotFoundError) as later:
            await world.kernel.call_tool("ask", timeout_s=5)

        for caught in (unseen, failed, later):
            assert caught.value.code == "capsule.not-ready"
            assert "astrid logs loop" in (caught.value.hint or "")

    run(work)
