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

from astrid_core import Kernel
from astrid_core.kernel.audit.places import AuditPlaces
from astrid_core.kernel.audit.reader import Query, entries
from astrid_core.kernel.loaded import Loaded
from astrid_hookspecs.buses import Attribution, BusSubscription, Envelope
from astrid_hookspecs.errors import CapsuleError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL
from tests.support.capsules import eventually, install, manifest, write_capsule
from tests.support.guests import engine_guest

ORDERS = '[subscribe]\n"orders.*" = { wit = "opaque" }\n'
_AGAIN = "(br_if $again (i32.eqz (i32.load8_u (i32.const 256))))"
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


Run = Callable[[Callable[[World], Awaitable[object]]], None]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def runner(work: Callable[[World], Awaitable[object]]) -> None:
        async def main() -> None:
            clock = HandClock()
            async with Kernel.open(home=tmp_path / "home", clock=clock) as kernel:
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

    run(work)
    said = recorded(tmp_path / "home")
    served = [("load", "allowed"), ("ready", "allowed"), ("failed", "failed")]
    assert said == [("install", "allowed"), *served * 6, ("down", "failed")]


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
