"""Reads the logs of the daemon and of capsules: the latest lines, and those that come.

Changes nothing, follows no symbolic link, and takes every line for what it may be: text that a
guest wrote, or that a crash cut off. Spec: cli-and-ux 5.11, T-44.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from astrid_hookspecs.values import CapsuleId, Principal

LEVELS: Final = ("trace", "debug", "info", "warning", "error", "critical")
_BLOCK: Final = 64 * 1024
_CAPSULE_LINE: Final = re.compile(r"(\d{1,12}\.\d{3}) ([A-Z]{4,8}) \[([a-z0-9-]{1,64})\] (.*)")
_DAEMON_FILE: Final = re.compile(r"daemon(\..+)?\.log")
_CAPSULE_FILE: Final = re.compile(r"\d{4}-\d{2}-\d{2}\.log")
_SPELLINGS: Final = {"warn": "warning", "success": "info"}
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class LogLine(NamedTuple):
    """One line of a log.

    Attributes:
        ts: RFC 3339 in UTC; empty for a line that is damaged.
        level: One of `LEVELS`.
        message: Its text.
        principal: Whom it concerns; None for nobody.
        source: Capsule, or module of the daemon.
    """

    ts: str
    level: str
    message: str
    principal: str | None
    source: str

    def is_at_least(self, level: str) -> bool:
        """Whether it is as serious as that."""
        return LEVELS.index(self.level) >= LEVELS.index(level)


class Log:
    """A log made of files, of which the last is written to.

    Args:
        directory: Where they are; it need not exist.
        names: What they are called.
        parse: Reads one line.
    """

    def __init__(
        self, directory: Path, *, names: re.Pattern[str], parse: Callable[[str], LogLine]
    ) -> None:
        self._directory = directory
        self._names = names
        self._parse = parse

    def latest(self, limit: int, *, keep: Callable[[LogLine], bool]) -> list[LogLine]:
        """The last lines that are kept, oldest first.

        Args:
            limit: How many at most.
            keep: Whether a line counts.
        """
        found: list[LogLine] = []
        for path in reversed(self._files()):
            for text in _backwards(path):
                line = self._parse(text)
                if keep(line):
                    found.append(line)
                if len(found) >= limit:
                    return found[::-1]
        return found[::-1]

    def follow(self) -> Follower:
        """What comes from now on."""
        return Follower(self._files, self._parse)

    def _files(self) -> list[Path]:
        """Regular files with such names, oldest first."""
        found = []
        with contextlib.suppress(OSError), os.scandir(self._directory) as entries:
            for entry in entries:
                if self._names.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    with contextlib.suppress(OSError):  # deleted meanwhile
                        modified = entry.stat(follow_symlinks=False).st_mtime_ns
                        found.append((modified, entry.name))
        return [self._directory / name for _, name in sorted(found)]


class Follower:
    """Reads on at the end of a log, into the next file when there is one."""

    def __init__(self, files: Callable[[], list[Path]], parse: Callable[[str], LogLine]) -> None:
        self._files = files
        self._parse = parse
        self._offsets: dict[int, int] = {}
        self._rests: dict[int, bytes] = {}
        for path in files():
            with contextlib.suppress(OSError):
                status = path.lstat()
                self._offsets[status.st_ino] = status.st_size

    def new_lines(self) -> Iterator[LogLine]:
        """Lines that were finished since the last look, oldest first."""
        for path in self._files():
            with contextlib.suppress(OSError):
                yield from self._read(path)

    def _read(self, path: Path) -> Iterator[LogLine]:
        with _opened(path) as descriptor:
            status = os.fstat(descriptor)
            offset = self._offsets.get(status.st_ino, 0)
            if offset > status.st_size:
                offset = 0  # another file that got the number of one that was deleted
            data = self._rests.pop(status.st_ino, b"")
            while block := os.pread(descriptor, _BLOCK, offset):
                offset += len(block)
                *lines, data = (data + block).split(b"\n")
                for line in lines:
                    yield self._parse(line.decode("utf-8", "replace"))
            self._offsets[status.st_ino] = offset
            if data:
                self._rests[status.st_ino] = data


def daemon_log(home: Path) -> Log:
    """What the daemon itself logs."""
    return Log(home / "log", names=_DAEMON_FILE, parse=_daemon_line)


def capsule_log(directory: Path, *, principal: Principal) -> Log:
    """What a capsule logs for a principal.

    Args:
        directory: As `PrincipalHome.log_dir` has it.
        principal: Whose.
    """

    def parse(text: str) -> LogLine:
        return _capsule_line(text, principal)

    return Log(directory, names=_CAPSULE_FILE, parse=parse)


def has_log(home: Path, principal: Principal, capsule: CapsuleId) -> bool:
    """Whether a capsule has ever logged something for a principal."""
    return (home / "home" / principal / ".local" / "log" / capsule).is_dir()


def _daemon_line(text: str) -> LogLine:
    try:
        fields = json.loads(text)
        moment = dt.datetime.fromisoformat(fields["ts"])
        message = str(fields["message"])
        if "error" in fields:
            message = f"{message}\n{fields['error']}"
        principal = fields.get("principal")
        return LogLine(
            utc_text(moment),
            _level(str(fields["level"])),
            message,
            principal if isinstance(principal, str) else None,
            str(fields.get("where") or "daemon"),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return LogLine("", "info", text, None, "daemon")


def _capsule_line(text: str, principal: Principal) -> LogLine:
    found = _CAPSULE_LINE.fullmatch(text)
    if found is None:
        return LogLine("", "info", text, principal, "capsule")
    try:
        moment = dt.datetime.fromtimestamp(float(found[1]), tz=dt.UTC)
    except (ValueError, OverflowError, OSError):
        return LogLine("", "info", text, principal, found[3])
    return LogLine(utc_text(moment), _level(found[2].lower()), found[4], principal, found[3])


def _level(text: str) -> str:
    level = _SPELLINGS.get(text, text)
    return level if level in LEVELS else "info"


def utc_text(moment: dt.datetime) -> str:
    """RFC 3339 in UTC, milliseconds: texts of this form sort as their times do."""
    utc = moment.astimezone(dt.UTC)
    return utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _backwards(path: Path) -> Iterator[str]:
    """Lines of a file, the last one first."""
    try:
        with _opened(path) as descriptor:
            end = os.fstat(descriptor).st_size
            rest = b""
            while end > 0:
                start = max(0, end - _BLOCK)
                rest, *lines = (os.pread(descriptor, end - start, start) + rest).split(b"\n")
                end = start
                for line in reversed(lines):
                    if line:
                        yield line.decode("utf-8", "replace")
            if rest:
                yield rest.decode("utf-8", "replace")
    except OSError:
        return


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, _OPEN)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)
