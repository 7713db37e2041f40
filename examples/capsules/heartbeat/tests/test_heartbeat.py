"""Tests against an in-memory host: no kernel, no component."""

from __future__ import annotations

import json

import heartbeat
import pytest

from astrid_sdk.testing import CapsuleHarness


@pytest.fixture
def harness() -> CapsuleHarness:
    heartbeat.pulse.__init__()  # type: ignore[misc] # a fresh instance starts from zero
    return CapsuleHarness(heartbeat)


def test_beats_once_a_second_until_it_is_stopped(harness: CapsuleHarness) -> None:
    harness.run(seconds=3.5)

    assert [message.payload for message in harness.published] == [{"beat": n} for n in (1, 2, 3)]
    assert harness.host.is_ready


def test_serves_handlers_and_tools_inside_the_loop(harness: CapsuleHarness) -> None:
    harness.send("heartbeat.v1.heard", {}, after_s=0.5)
    harness.send("heartbeat.v1.heard", {})  # since load, before the loop started
    request = {"type": "tool_execute_request", "call_id": "c-1", "arguments": {"a": 2, "b": 3}}
    harness.send("tool.v1.execute.add", request, after_s=0.7)

    harness.run(seconds=2)

    assert json.loads(harness.kv["heard"]) == 2
    results = [m.payload for m in harness.host.published if m.topic.endswith(".result")]
    assert results[0]["result"] == {"call_id": "c-1", "content": "5", "is_error": False}


def test_own_subscription_comes_out_of_the_loop(harness: CapsuleHarness) -> None:
    harness.send("heartbeat.v1.echo.a.b", {}, after_s=0.5)

    harness.run(seconds=2)

    assert heartbeat.pulse.echoes == 1


def test_install_leaves_a_mark(harness: CapsuleHarness) -> None:
    harness.install()

    assert "at_ms" in json.loads(harness.kv["installed"])


def test_status_and_dice(harness: CapsuleHarness) -> None:
    status = json.loads(harness.call_tool("status").content)

    assert len(status["instance"]) == 36
    assert harness.call_tool("roll", {"sides": 1}).content == "1"
