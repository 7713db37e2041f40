"""Refusals: remembered, told, and logged within bounds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from loguru import logger

from astrid_core.host.log_line import MAX_LINES_PER_S
from astrid_core.kernel.decisions import REMEMBERED, DecisionLog
from astrid_hookspecs.events import DecisionEvent
from astrid_hookspecs.values import CapsuleId, Principal


@pytest.fixture
def lines() -> Iterator[list[str]]:
    found: list[str] = []
    sink = logger.add(lambda line: found.append(str(line)), format="{message}")
    yield found
    logger.remove(sink)


def refusal(resource: str) -> DecisionEvent:
    return DecisionEvent(
        allowed=False,
        principal=Principal("alice"),
        capsule=CapsuleId("c"),
        action="bus.publish",
        resource=resource,
        rule="publish-acl",
    )


def test_a_guest_that_is_refused_without_end_does_not_fill_the_log(lines: list[str]) -> None:
    now = 0.0
    told: list[object] = []
    log = DecisionLog(lambda _hook, event: told.append(event), clock=lambda: now)
    for number in range(5000):
        log.record(refusal(f"t.{number}"))
    assert len(lines) == MAX_LINES_PER_S
    assert len(told) == 5000
    assert len(log.recent()) == REMEMBERED
    assert log.recent()[-1].resource == "t.4999"
    now = 1.0
    log.record(refusal("t.last"))
    assert lines[-2].startswith(f"{5000 - MAX_LINES_PER_S} more refusals")
    assert "'t.last'" in lines[-1]


def test_what_a_guest_asked_for_cannot_forge_a_line(lines: list[str]) -> None:
    DecisionLog(lambda _hook, _event: None).record(refusal("x\nERROR forged\x1b[31m"))
    assert len(lines) == 1
    assert lines[0].rstrip("\n").isprintable()
