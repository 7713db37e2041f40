"""Sinks get copies; what one of them does costs nobody else anything."""

# ruff: noqa: ARG002 - sinks take what the contract hands them

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from loguru import logger

from astrid_core.kernel.audit.sinks import SinkFeeder
from astrid_hookspecs.audit import AuditEntry
from tests.support.audit_chains import entry

WAIT_S = 30.0
NAME = "audit sink 'bad' of plugin 'acme' of astrid-acme 9.9"


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines: list[str] = []
    handler = logger.add(lambda message: lines.append(str(message)), format="{level} {message}")
    yield lines
    logger.remove(handler)


class Good:
    def __init__(self) -> None:
        self.got: list[str] = []
        self.all = threading.Event()

    def write(self, entry: AuditEntry) -> None:
        self.got.append(entry.resource)
        if len(self.got) == 3:
            self.all.set()

    def close(self) -> None:
        self.got.append("closed")


class Ending:
    """Wants to end the program, at every opportunity."""

    def write(self, entry: AuditEntry) -> None:
        raise SystemExit(0)

    def close(self) -> None:
        raise SystemExit(0)


class Hanging:
    def __init__(self) -> None:
        self.free = threading.Event()

    def write(self, entry: AuditEntry) -> None:
        self.free.wait()

    def close(self) -> None:
        self.free.wait()


class HangingAtTheEnd(Hanging):
    def write(self, entry: AuditEntry) -> None:
        """Takes everything."""


def test_a_sink_that_ends_the_program_ends_nothing_and_is_named(log: list[str]) -> None:
    good = Good()
    feeder = SinkFeeder({NAME: Ending(), "audit sink 'good'": good})
    feeder.put([entry(0), entry(1)])
    feeder.put([entry(2)])
    feeder.close()
    assert good.got == ["workspace://f0", "workspace://f1", "workspace://f2", "closed"]
    assert sum(f"{NAME} failed: SystemExit" in line for line in log) == 3
    assert sum(f"{NAME} could not be closed: SystemExit" in line for line in log) == 1


@pytest.mark.parametrize("kind", [Hanging, HangingAtTheEnd])
def test_a_sink_that_hangs_holds_up_neither_the_others_nor_the_end(
    log: list[str], kind: type[Hanging]
) -> None:
    bad, good = kind(), Good()
    feeder = SinkFeeder({NAME: bad, "audit sink 'good'": good}, close_s=0.05)
    try:
        feeder.put([entry(0), entry(1), entry(2)])
        assert good.all.wait(WAIT_S)
        feeder.close()
    finally:
        bad.free.set()
    assert any(f"the {NAME} hangs" in line for line in log)
