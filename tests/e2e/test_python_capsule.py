"""A Python capsule with tools, an interceptor and a run loop, in a whole kernel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from astrid_core import Kernel
from astrid_hookspecs.buses import Attribution, BusSubscription, Envelope
from astrid_hookspecs.values import Principal
from tests.support.capsules import eventually
from tests.support.heartbeat import heartbeat

pytestmark = pytest.mark.slow


def say(topic: str, principal: str = "default") -> Envelope:
    return Envelope(topic, b"{}", principal=Principal(principal), attribution=Attribution.VERIFIED)


async def take_one(subscription: BusSubscription, *, timeout_s: float = 10) -> Envelope:
    await eventually(subscription.is_ready, timeout_s=timeout_s)
    return subscription.take(max_bytes=1).messages[0]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with heartbeat installed."""
    return heartbeat(tmp_path_factory).home


def in_kernel(home: Path, work: Callable[[Kernel], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with Kernel.open(home=home) as kernel:
            assert kernel.problems == []
            await work(kernel)

    asyncio.run(main())


def test_it_beats_from_the_start_of_the_kernel_on(home: Path) -> None:
    async def work(kernel: Kernel) -> None:
        beats = kernel.subscribe("heartbeat.v1.beat")
        first = json.loads((await take_one(beats)).payload)
        second = json.loads((await take_one(beats)).payload)
        assert second["beat"] == first["beat"] + 1

    in_kernel(home, work)


def test_its_tools_answer_inside_the_loop(home: Path) -> None:
    async def work(kernel: Kernel) -> None:
        sums = await asyncio.gather(
            *(kernel.call_tool("add", {"a": n, "b": 1}, timeout_s=20) for n in range(20))
        )
        assert [result.json() for result in sums] == list(range(1, 21))
        bad = await kernel.call_tool("add", {"a": "x", "b": 1}, timeout_s=20)
        assert bad.is_error
        assert "a" in bad.content

    in_kernel(home, work)


def test_its_interceptor_hears_events_with_the_principal_of_each(home: Path) -> None:
    async def work(kernel: Kernel) -> None:
        for principal in ("alice", "alice", "bob"):
            kernel.publish(say("heartbeat.v1.heard", principal))
        await eventually(lambda: kernel.read_state("heartbeat", "heard", principal="bob") == b"3")
        assert kernel.read_state("heartbeat", "heard", principal="alice") == b"2"

    in_kernel(home, work)


def test_a_reload_starts_a_new_loop(home: Path) -> None:
    async def work(kernel: Kernel) -> None:
        kernel.publish(say("heartbeat.v1.heard"))
        await eventually(lambda: kernel.read_state("heartbeat", "heard") == b"1")
        status = (await kernel.call_tool("status", timeout_s=20)).json()
        assert status["heard"] == 1
        await kernel.reload("heartbeat")
        again = (await kernel.call_tool("status", timeout_s=20)).json()
        assert again["instance"] != status["instance"]
        assert again["heard"] == 0

    in_kernel(home, work)
