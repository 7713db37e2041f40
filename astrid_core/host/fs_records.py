"""The records of `astrid:fs@1.0.0`. Spec: host-abi 5, H-09."""

from __future__ import annotations

from typing import Final, NamedTuple

from astrid_hookspecs.vfs import NodeStat

_NS_PER_S: Final = 1_000_000_000


class DateTimeRecord(NamedTuple):
    """The record `datetime`."""

    seconds: int
    nanoseconds: int


class FileStatRecord(NamedTuple):
    """The record `file-stat`."""

    size: int
    kind: str
    mode: int
    modified: DateTimeRecord | None
    created: DateTimeRecord | None
    accessed: DateTimeRecord | None


def stat_record(node: NodeStat) -> FileStatRecord:
    """The guest's form of what a backend says."""
    return FileStatRecord(
        size=node.size,
        kind=node.kind,
        mode=node.mode,
        modified=_moment(node.modified_ns),
        created=_moment(node.created_ns),
        accessed=_moment(node.accessed_ns),
    )


def _moment(nanoseconds: int | None) -> DateTimeRecord | None:
    return None if nanoseconds is None else DateTimeRecord(*divmod(nanoseconds, _NS_PER_S))
