"""Checks for audit sinks: they take every entry, change nothing and stop when told.

`astrid_hookspecs.audit`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Final

from astrid_conformance.check import CheckList, require_equal
from astrid_hookspecs.audit import AuditEntry, AuditSink
from astrid_hookspecs.values import CapsuleId, Principal

AUDIT_SINK: Final = CheckList[Callable[[], AuditSink]]()


@contextlib.contextmanager
def audit_subject(
    factory: Callable[[], AuditSink],
) -> Iterator[Callable[[], AuditSink]]:
    """A function that opens sinks; all are closed after the check."""
    opened: list[AuditSink] = []

    def make() -> AuditSink:
        opened.append(factory())
        return opened[-1]

    try:
        yield make
    finally:
        for sink in opened:
            sink.close()


def _entry(**changes: object) -> AuditEntry:
    fields: dict[str, object] = {
        "timestamp": "2026-01-02T03:04:05.678Z",
        "principal": Principal("ada"),
        "capsule": CapsuleId("note-keeper"),
        "action": "kv.set",
        "resource": "notes/1",
        "outcome": "allowed",
        "rule": "manifest",
        "detail": MappingProxyType({"size": "12"}),
    }
    return AuditEntry(**{**fields, **changes})  # type: ignore[arg-type]


@AUDIT_SINK.required
def every_kind_of_entry_is_taken(make: Callable[[], AuditSink]) -> None:
    """Allowed, denied and failed actions of capsules and clients are taken without an error."""
    sink = make()
    for outcome in ("allowed", "denied", "failed"):
        for capsule in (CapsuleId("note-keeper"), None):
            sink.write(_entry(outcome=outcome, capsule=capsule))


@AUDIT_SINK.required
def odd_text_is_taken(make: Callable[[], AuditSink]) -> None:
    """Line ends, quotes, control characters and any script are text; nothing is too long."""
    sink = make()
    for text in ("", 'a"b', "a\nb", "\x1b[2J", "Zürich 東京 🙂", "\ud800", "x" * 100_000, "%s {0}"):
        sink.write(_entry(resource=text, rule=text, detail={text: text}))


@AUDIT_SINK.required
def many_entries_are_taken_quickly(make: Callable[[], AuditSink]) -> None:
    """A thousand entries from one thread that is not the main one are taken."""
    sink = make()
    failures: list[BaseException] = []

    def write() -> None:
        try:
            for number in range(1000):
                sink.write(_entry(resource=f"notes/{number}"))
        except BaseException as error:  # noqa: BLE001 - reported below
            failures.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    require_equal(failures, [], "errors while writing")


@AUDIT_SINK.required
def closing_is_final_and_repeatable(make: Callable[[], AuditSink]) -> None:
    """`close` may be called twice, and a new sink can be made afterwards."""
    sink = make()
    sink.write(_entry())
    sink.close()
    sink.close()
    make().write(_entry())
