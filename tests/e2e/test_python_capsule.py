"""A Python capsule with tools, an interceptor and a run loop, in a whole kernel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from astrid_core import Kernel
from astrid_core.kernel.install.sources import Source
from astrid_hookspecs.buses import Attribution, BusSubscription, Envelope
from astrid_hookspecs.values import Principal
from tests.support.capsules import EXAMPLES, eventually, install

pytestmark = pytest.mark.slow


def say(topic: str, principal: str = "default") -> Envelope:
    return Envelope(topic, b"{}", principal=Principal(principal), attribution=Attribution.VERIFIED)


async def take_one(subscription: BusSubscription, *, timeout_s: float = 10) -> Envelope:
    await eventually(subscription.is_ready, timeout_s=timeout_s)
    return subscription.take(max_bytes=1).messages[0]


def test_heartbeat_beats_answers_and_hears(tmp_path: Path) -> None:
    async def main() -> None:
        async with Kernel.open(home=tmp_path / "home") as kernel:
            with kernel.build(EXAMPLES / "heartbeat") as built:
                await install(kernel, Source(built.directory, "directory"))
            (capsule,) = kernel.capsules()
            assert not capsule.answers_hooks(), "a run loop answers through its own subscriptions"
            assert kernel.read_state("heartbeat", "installed") is not None

            beats = kernel.subscribe("heartbeat.v1.beat")
            first = json.loads((await take_one(beats)).payload)
            second = json.loads((await take_one(beats)).payload)
            assert second["beat"] == first["beat"] + 1

            sums = await asyncio.gather(
                *(kernel.call_tool("add", {"a": n, "b": 1}, timeout_s=20) for n in range(20))
            )
            assert [result.json() for result in sums] == list(range(1, 21))
            bad = await kernel.call_tool("add", {"a": "x", "b": 1}, timeout_s=20)
            assert bad.is_error
            assert "a" in bad.content

            for principal in ("alice", "alice", "bob"):
                kernel.publish(say("heartbeat.v1.heard", principal))
            await eventually(
                lambda: kernel.read_state("heartbeat", "heard", principal="bob") == b"3"
            )
            assert kernel.read_state("heartbeat", "heard", principal="alice") == b"2"

            status = (await kernel.call_tool("status", timeout_s=20)).json()
            assert status["heard"] == 3
            await kernel.reload("heartbeat")
            again = (await kernel.call_tool("status", timeout_s=20)).json()
            assert again["instance"] != status["instance"], "a reload starts a new loop"
            assert again["heard"] == 0

    asyncio.run(main())


def test_a_restarted_kernel_runs_the_installed_loop_again(tmp_path: Path) -> None:
    async def in_kernel(work: Callable[[Kernel], object]) -> object:
        async with Kernel.open(home=tmp_path / "home") as kernel:
            assert kernel.problems == []
            return await work(kernel)  # type: ignore[misc]

    async def set_up(kernel: Kernel) -> None:
        with kernel.build(EXAMPLES / "heartbeat") as built:
            await install(kernel, Source(built.directory, "directory"))

    async def beat(kernel: Kernel) -> bytes:
        return (await take_one(kernel.subscribe("heartbeat.v1.beat"))).payload

    asyncio.run(in_kernel(set_up))
    assert b"beat" in asyncio.run(in_kernel(beat))  # type: ignore[operator]
