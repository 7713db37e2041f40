"""The run loop against the fake host. Spec: host-abi 16.7."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from astrid_sdk.errors import AstridSdkError, IpcError
from astrid_sdk.testing import CapsuleHarness

Capsule = Callable[..., CapsuleHarness]
Make = Callable[[str], tuple[CapsuleHarness, list[object]]]

LOOP = """
    from astrid_sdk import interceptor, run, sys, tool
    seen = []

    @tool
    def add(a: int, b: int) -> int:
        return a + b

    @interceptor("jobs.*")
    def on_job(job):
        seen.append(("job", job))
        if job == "bad":
            raise ValueError("cannot")

    @run
    def main(loop):
        loop.subscribe("own.*")
        for event in loop.events(timeout=TIMEOUT):
            seen.append(("tick", sys.clock_ms()) if event is None else (event.topic, event.json()))
        seen.append("end")
"""


@pytest.fixture
def make(capsule: Capsule) -> Make:
    def maker(timeout: str) -> tuple[CapsuleHarness, list[object]]:
        source = LOOP.replace("TIMEOUT", timeout)
        harness = capsule(source, manifest={"subscribe": {"own.*": "opaque"}})
        seen = harness.declared.hooks["run"].__globals__["seen"]
        return harness, seen

    return maker


@pytest.mark.parametrize("timeout", ["None", "100"], ids=["pollables", "turns"])
def test_handlers_are_served_and_own_events_come_out(make: Make, timeout: str) -> None:
    harness, seen = make(timeout)
    harness.send("jobs.a", "early")
    harness.send("own.x.y", 1, after_s=1)
    harness.send("jobs.b", "bad", after_s=2)
    harness.send("jobs.c", "late", after_s=3)

    harness.run(seconds=10)

    assert seen == [("job", "early"), ("own.x.y", 1), ("job", "bad"), ("job", "late"), "end"]
    assert harness.host.is_ready
    assert any("ValueError: cannot" in line.message for line in harness.logs)


def test_subscription_reaches_deeper_than_the_handler(make: Make) -> None:
    harness, seen = make("None")
    harness.send("jobs.a.b", "deeper", after_s=1)

    harness.run(seconds=5)

    assert seen == ["end"]


def test_tools_answer_from_the_loop_and_so_does_describe(make: Make) -> None:
    harness, _ = make("None")
    harness.send("tool.v1.execute.add", {"call_id": "c", "arguments": {"a": 1, "b": 2}}, after_s=1)
    harness.send("tool.v1.request.describe", {"correlation_id": "q-1"}, after_s=2)
    harness.send("tool.v1.request.describe", {"correlation_id": "not.a.segment"}, after_s=3)

    harness.run(seconds=5)

    result, described, other = harness.host.published
    assert result.topic == "tool.v1.execute.add.result"
    assert result.payload["result"]["content"] == "3"
    assert described.topic == "tool.v1.response.describe.q-1"
    assert described.payload["correlation_id"] == "q-1"
    assert [tool["name"] for tool in described.payload["tools"]] == ["add"]
    assert other.topic == "tool.v1.response.describe.00000000-0000-0000-0000-000000000000"


def test_ticks_come_regularly_whatever_else_happens(make: Make) -> None:
    harness, seen = make("2")
    start = 1_700_000_000_000
    harness.send("jobs.a", 1, after_s=1)
    harness.send("own.a", 2, after_s=3)

    harness.run(seconds=7)

    ticks = [item[1] - start for item in seen if isinstance(item, tuple) and item[0] == "tick"]
    assert ticks == [2000, 4000, 6000]


def test_loop_without_anything_to_serve_only_waits(capsule: Capsule) -> None:
    harness = capsule("""
        from astrid_sdk import run
        ticks = []
        @run
        def main(loop):
            ticks.extend(loop.events(timeout=30))
            loop.serve()
    """)

    harness.run(seconds=100)

    assert harness.declared.hooks["run"].__globals__["ticks"] == [None, None, None]


def test_timeout_must_be_positive(capsule: Capsule) -> None:
    harness = capsule("""
        from astrid_sdk import run
        @run
        def main(loop):
            list(loop.events(timeout=0))
    """)

    with pytest.raises(ValueError, match="positive"):
        harness.run()


def test_own_subscription_needs_a_grant(capsule: Capsule) -> None:
    harness = capsule("""
        from astrid_sdk import run
        @run
        def main(loop):
            loop.subscribe("secret.*")
    """)

    with pytest.raises(IpcError, match="capability-denied"):
        harness.run()


def test_an_answer_that_cannot_be_published_does_not_end_the_loop(make: Make) -> None:
    harness, seen = make("None")
    harness.host.publish.clear()
    harness.send("tool.v1.execute.add", {"arguments": {"a": 1, "b": 2}}, after_s=1)
    harness.send("jobs.a", "after", after_s=2)

    harness.run(seconds=5)

    assert seen == [("job", "after"), "end"]
    assert any("capability-denied" in line.message for line in harness.logs)


def test_life_cycle_hooks(capsule: Capsule) -> None:
    harness = capsule("""
        from astrid_sdk import install, kv, upgrade
        @install
        def first(): kv.set_json("how", "install")
        @upgrade
        def again(): kv.set_json("how", "upgrade")
    """)

    harness.install()
    assert json.loads(harness.kv["how"]) == "install"
    harness.upgrade()
    assert json.loads(harness.kv["how"]) == "upgrade"
    with pytest.raises(AstridSdkError, match="no run hook"):
        harness.run()
