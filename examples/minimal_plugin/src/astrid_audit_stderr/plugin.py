"""Hook implementations; the work sits in the module beside this one."""

from __future__ import annotations

from astrid_hookspecs import hookimpl
from astrid_hookspecs.audit import AuditSink, AuditSinkRecord

ASTRID_API = (1, 0)
"""The hook contract this plugin was written for."""


def make_sink() -> AuditSink:
    """Make the sink, on first need."""
    from astrid_audit_stderr.sink import StderrSink  # noqa: PLC0415 - on first need

    return StderrSink()


@hookimpl
def astrid_register_audit_sinks() -> list[AuditSinkRecord]:
    """Declare the sink `stderr`."""
    return [AuditSinkRecord(name="stderr", factory=make_sink)]
