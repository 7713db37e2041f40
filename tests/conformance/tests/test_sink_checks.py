"""Each check of audit sinks rejects a sink that breaks just that promise."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest

from astrid_conformance.check import Outcome, run_check
from astrid_conformance.checks.audit_sink import AUDIT_SINK, audit_subject
from astrid_conformance.suites import AuditSinkConformance
from astrid_hookspecs.audit import AuditEntry, AuditSink


class Sink:
    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []

    def write(self, entry: AuditEntry) -> None:
        self.entries.append(entry)

    def close(self) -> None:
        self.entries.clear()


class NeedsACapsule(Sink):
    def write(self, entry: AuditEntry) -> None:
        self.entries.append(entry)
        if entry.capsule is None:
            raise ValueError("who was that")


class NeedsCleanText(Sink):
    def write(self, entry: AuditEntry) -> None:
        json.dumps(entry.resource, ensure_ascii=False).encode()


class NeedsItsThread(Sink):
    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def write(self, entry: AuditEntry) -> None:
        super().write(entry)
        if threading.get_ident() != self._thread:
            raise RuntimeError("another thread")


class ClosesOnce(Sink):
    _closed = False

    def close(self) -> None:
        if self._closed:
            raise ValueError("closed already")
        self._closed = True


BROKEN: dict[str, Callable[[], AuditSink]] = {
    "every-kind-of-entry-is-taken": NeedsACapsule,
    "odd-text-is-taken": NeedsCleanText,
    "many-entries-are-taken-quickly": NeedsItsThread,
    "closing-is-final-and-repeatable": ClosesOnce,
}


def test_every_check_has_a_broken_sink() -> None:
    assert {check.name for check in AUDIT_SINK} == set(BROKEN)


@pytest.mark.parametrize("name", BROKEN)
def test_the_check_rejects_a_sink_that_breaks_it(name: str) -> None:
    result = run_check(AUDIT_SINK.named(name), lambda: audit_subject(BROKEN[name]))
    assert result.outcome is Outcome.FAILED


class TestSink(AuditSinkConformance):
    def make(self) -> AuditSink:
        return Sink()
