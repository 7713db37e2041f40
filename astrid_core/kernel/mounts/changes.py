"""A principal's uncommitted edits of the workspace, for the person who decides about them.

Trusted with the step from an edit to the disk: nothing else calls `commit`, and each path that it
writes is in the audit log before the disk changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

from astrid_core.domain.payload_message import format_timestamp
from astrid_core.kernel.mounts.openers import WORKSPACE, MountOpeners
from astrid_core.kernel.mounts.table import MountTable
from astrid_core.kernel.mounts.unified import Effort, unified_diff
from astrid_core.ports.audit import AuditTrail
from astrid_core.ports.clock import Clock
from astrid_hookspecs.audit import AuditEntry
from astrid_hookspecs.errors import VfsError
from astrid_hookspecs.values import Principal
from astrid_hookspecs.vfs import Announce, CommitReport, OverlayChange, VfsDirectory, VfsOverlay
from astrid_hookspecs.vfs_paths import path_parts

MAX_DIFF_BYTES: Final = 1024 * 1024
"""Larger files are reported without a diff."""


@dataclass(frozen=True, slots=True)
class FileDiff:
    """One change as a person reads it.

    Attributes:
        change: What happened to the path.
        lines: A unified diff without line ends; empty where `note` says why.
        note: `binary`, `too large`, `directory`, `link`, or empty.
    """

    change: OverlayChange
    lines: tuple[str, ...]
    note: Literal["", "binary", "too large", "directory", "link", "special"]


class WorkspaceChanges:
    """What one principal changed. Safe from any thread; every method may block on the disk.

    Args:
        principal: Whose edits.
        table: Leases the workspace.
        openers: Knows the overlay behind it.
        audit: Told before the disk changes.
        clock: Wall time for the audit.

    Every method raises `CapabilityDeniedError` when there is no workspace or no overlay, and
    `VfsError` or `StoreError` when the overlay cannot be read.
    """

    def __init__(
        self,
        principal: Principal,
        *,
        table: MountTable,
        openers: MountOpeners,
        audit: AuditTrail,
        clock: Clock,
    ) -> None:
        self._principal = principal
        self._table = table
        self._openers = openers
        self._audit = audit
        self._clock = clock

    def status(self, paths: Sequence[str] = ()) -> list[OverlayChange]:
        """Every change at and below the given paths, in byte order; all of them by default.

        Args:
            paths: Canonical, relative to the workspace.

        Raises:
            PathEscapeError, VfsError: `vfs.invalid-path`: a path is not canonical.
        """
        with self._overlay() as overlay:
            return overlay.changes(_selection(paths))

    def diff(self, paths: Sequence[str] = ()) -> Iterator[FileDiff]:
        """As `status`, each change with its unified diff."""
        with self._overlay() as overlay:
            lower = self._openers.lower_of_workspace()
            effort = Effort()
            try:
                for change in overlay.changes(_selection(paths)):
                    yield _file_diff(change, old=lower, new=overlay, effort=effort)
            finally:
                lower.close()

    def commit(self, paths: Sequence[str] = (), *, overwrite: bool = False) -> CommitReport:
        """Bring changes to the disk; see `VfsOverlay.commit`.

        Args:
            paths: As in `status`.
            overwrite: Also over files that somebody else changed meanwhile.

        Raises:
            AuditError: It could not be recorded; nothing was committed.
        """
        selection = _selection(paths)
        with self._overlay() as overlay:
            announce = self._announce("overlay.commit")
            report = overlay.commit(selection, overwrite=overwrite, announce=announce)
            for path in report.conflicts:
                self._record("overlay.commit", path, "failed", {"error": "conflict"})
            for path, reason in report.failed:
                self._record("overlay.commit", path, "failed", {"error": reason})
            return report

    def rollback(self, paths: Sequence[str] = ()) -> list[str]:
        """Forget changes; returns the paths that are as on the disk again.

        Raises:
            AuditError: It could not be recorded; nothing was forgotten.
        """
        selection = _selection(paths)
        with self._overlay() as overlay:
            return overlay.rollback(selection, announce=self._announce("overlay.rollback"))

    def _announce(self, action: str) -> Announce:
        """Records what the overlay is about to do, which may be more than was asked for."""

        def announce(changes: Sequence[OverlayChange]) -> None:
            for change in changes:
                self._record(action, change.path, "allowed", {"change": change.change})

        return announce

    @contextmanager
    def _overlay(self) -> Iterator[VfsOverlay]:
        with self._table.lease(self._principal, WORKSPACE):
            yield self._openers.overlay_of(self._principal)

    def _record(self, action: str, path: str, outcome: str, detail: dict[str, str]) -> None:
        self._audit.append(
            AuditEntry(
                timestamp=format_timestamp(int(self._clock.now() * 1e9)),
                principal=self._principal,
                capsule=None,
                action=action,
                resource=f"{WORKSPACE}://{path}",
                outcome=outcome,
                rule="operator",
                detail=detail,
            )
        )


def _selection(paths: Sequence[str]) -> tuple[str, ...]:
    return tuple("/".join(path_parts(path)) for path in paths) or ("",)


def _file_diff(
    change: OverlayChange, *, old: VfsDirectory, new: VfsDirectory, effort: Effort
) -> FileDiff:
    if change.kind != "regular":
        note: Literal["directory", "link", "special"] = "special"
        if change.kind == "directory":
            note = "directory"
        elif change.kind == "symlink":
            note = "link"
        return FileDiff(change, (), note)
    try:
        before = b"" if change.change == "added" else _content(old, change.path)
        after = b"" if change.change == "deleted" else _content(new, change.path)
    except _TooLargeError:
        return FileDiff(change, (), "too large")
    texts = _text(before), _text(after)
    if texts[0] is None or texts[1] is None:
        return FileDiff(change, (), "binary")
    return FileDiff(change, _unified(change, texts[0], texts[1], effort), "")


def _unified(change: OverlayChange, before: str, after: str, effort: Effort) -> tuple[str, ...]:
    old = "/dev/null" if change.change == "added" else f"a/{change.path}"
    new = "/dev/null" if change.change == "deleted" else f"b/{change.path}"
    return unified_diff(before, after, old_name=old, new_name=new, effort=effort)


class _TooLargeError(Exception):
    """A file is too large to be shown."""


def _content(root: VfsDirectory, path: str) -> bytes:
    """The content of a file; empty where there is no regular file (any more)."""
    try:
        file = root.open(path, "read")
    except VfsError:
        return b""
    try:
        data = file.read_at(0, MAX_DIFF_BYTES + 1)
    finally:
        file.close()
    if len(data) > MAX_DIFF_BYTES:
        raise _TooLargeError
    return data


def _text(data: bytes) -> str | None:
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None
