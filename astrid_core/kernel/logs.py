"""Log files of capsules: one per principal, capsule and UTC day.

Trusted to keep principals apart: a line goes below the home of the principal it concerns, or
nowhere when that principal has no home. A day's file has a largest size, because the rate limit of
lines belongs to one instance and a guest that traps gets another.

Spec: astrid:sys@1.0.0 log; capsules-and-bus 2.1.
"""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from astrid_core.ports.clock import Clock
from astrid_hookspecs.values import CapsuleId, Principal

RETENTION_DAYS: Final = 7
MAX_OPEN_FILES: Final = 64
MAX_DAY_BYTES: Final = 16 * 1024 * 1024
FULL: Final = "the log of this capsule is full for today; further lines are dropped"
_DAY_S: Final = 86_400
_NAME_LENGTH: Final = len("2026-01-31.log")


@dataclass(slots=True)
class _File:
    """An open log file. `room` is what is left of its largest size, negative when it is full."""

    descriptor: int
    day: int
    room: int


class CapsuleLogs:
    """Appends lines; never raises, because a log line is no reason to fail a call.

    Args:
        homes: The `home/` directory that holds one directory per principal.
        clock: Wall clock.
    """

    def __init__(self, homes: Path, *, clock: Clock) -> None:
        self._homes = homes
        self._clock = clock
        self._lock = threading.Lock()
        self._files: dict[tuple[Principal, CapsuleId], _File] = {}

    def write(self, principal: Principal, capsule: CapsuleId, level: str, message: str) -> None:
        """Append one line.

        Args:
            principal: Whose log.
            capsule: Who speaks.
            level: `TRACE` to `ERROR`.
            message: One line; the caller has escaped control characters.
        """
        now = self._clock.now()
        head = f"{now:.3f} {level.upper()} [{capsule}] "
        line = f"{head}{message}\n".encode("utf-8", "replace")
        with contextlib.suppress(OSError), self._lock:
            file = self._file(principal, capsule, day=int(now // _DAY_S))
            if file is None or file.room < 0:
                return
            if len(line) > file.room:
                line = f"{head}{FULL}\n".encode()
                file.room = 0
            file.room -= len(line)
            os.write(file.descriptor, line)

    def prune(self, principal: Principal, capsule: CapsuleId) -> int:
        """Delete log files whose last line is older than a week; returns how many."""
        limit = self._clock.now() - RETENTION_DAYS * _DAY_S
        removed = 0
        with contextlib.suppress(OSError):
            for entry in os.scandir(self._directory(principal, capsule)):
                is_log = len(entry.name) == _NAME_LENGTH and entry.name.endswith(".log")
                if is_log and entry.stat(follow_symlinks=False).st_mtime < limit:
                    os.unlink(entry.path)  # noqa: PTH108 - scandir gives a string
                    removed += 1
        return removed

    def close(self) -> None:
        """Close every file."""
        with self._lock:
            for file in self._files.values():
                os.close(file.descriptor)
            self._files.clear()

    def _directory(self, principal: Principal, capsule: CapsuleId) -> Path:
        return self._homes / principal / ".local" / "log" / capsule

    def _file(self, principal: Principal, capsule: CapsuleId, *, day: int) -> _File | None:
        known = self._files.pop((principal, capsule), None)
        if known is not None:
            if known.day == day:
                self._files[principal, capsule] = known
                return known
            os.close(known.descriptor)
        if not (self._homes / principal).is_dir():
            return None
        directory = self._directory(principal, capsule)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.prune(principal, capsule)
        name = datetime.fromtimestamp(day * _DAY_S, tz=UTC).strftime("%Y-%m-%d.log")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(directory / name, flags, 0o600)
        while len(self._files) >= MAX_OPEN_FILES:
            oldest = next(iter(self._files))
            os.close(self._files.pop(oldest).descriptor)
        room = MAX_DAY_BYTES - os.fstat(descriptor).st_size
        file = self._files[principal, capsule] = _File(descriptor, day, room)
        return file
