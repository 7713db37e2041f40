"""The contract of audit sinks, and what this one prints."""

from __future__ import annotations

import pytest
from astrid_conformance.suites import AuditSinkConformance
from astrid_hookspecs.audit import AuditEntry, AuditSink
from astrid_hookspecs.values import Principal

from astrid_audit_stderr.plugin import make_sink


class TestStderrSink(AuditSinkConformance):
    def make(self) -> AuditSink:
        return make_sink()


def entry(outcome: str, resource: str = "notes/1") -> AuditEntry:
    return AuditEntry(
        timestamp="2026-01-02T03:04:05Z",
        principal=Principal("ada"),
        capsule=None,
        action="kv.set",
        resource=resource,
        outcome=outcome,
        rule="manifest",
    )


def test_refusals_are_printed_and_permissions_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    sink = make_sink()
    sink.write(entry("allowed"))
    sink.write(entry("denied"))
    assert capsys.readouterr().err == (
        "2026-01-02T03:04:05Z ada kv.set 'notes/1' denied by 'manifest'\n"
    )


def test_a_resource_cannot_forge_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    make_sink().write(entry("denied", "x\n2026 root kv.set y denied"))
    assert capsys.readouterr().err.count("\n") == 1
