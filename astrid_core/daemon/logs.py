"""The daemon's own log: JSON lines in `log/`, bounded in size and number of files."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from loguru import logger

if TYPE_CHECKING:
    from loguru import Record

FILE_NAME: Final = "daemon.log"
MAX_FILE_BYTES: Final = 6 * 1024 * 1024
KEPT_FILES: Final = 4
"""Besides the one in use: all of them together stay below 32 MiB."""
_APPEND: Final = (
    os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
)
"""A pipe in its place would make everybody who logs wait for somebody who reads."""
_MAX_MESSAGE: Final = 16 * 1024
_LEVELS: Final = {
    "trace": "TRACE",
    "debug": "DEBUG",
    "info": "INFO",
    "warn": "WARNING",
    "error": "ERROR",
}


def log_to_file(directory: Path, *, level: str, echo: bool) -> None:
    """Send what the process logs to `daemon.log`; the file is made with the first line.

    Args:
        directory: `log/` of the home.
        level: One of `LOG_LEVELS`.
        echo: Also on stderr, for people who run the daemon in a terminal.
    """
    logger.remove()
    logger.add(
        LogFile(directory),
        format=_line,
        level=_LEVELS[level],
        backtrace=False,
        diagnose=False,  # values of variables could be secrets
    )
    if echo:
        logger.add(sys.stderr, level=_LEVELS[level], backtrace=False, diagnose=False)


class LogFile:
    """`daemon.log`, and those before it under the time of their end; one thread writes at a time.

    A line that the system does not take is lost. That is said once on stderr, until one is taken
    again: a traceback for each, with all that is known about the line, would fill what is left.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor: int | None = None
        self._is_torn = False
        self._is_failing = False

    def write(self, text: str) -> None:
        """Append a line."""
        try:
            self._append(text.encode("utf-8", "replace"))
        except OSError as error:
            if not self._is_failing:
                self._is_failing = True
                sys.stderr.write(f"! the log cannot be written: {error.strerror}\n")
        else:
            self._is_failing = False

    def stop(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _append(self, data: bytes) -> None:
        descriptor = self._opened(len(data))
        data = b"\n" + data if self._is_torn else data
        while data:
            written = os.write(descriptor, data)
            data = data[written:]
            self._is_torn = bool(data)

    def _opened(self, coming: int) -> int:
        """The file in use, a new one where the line would make it too large."""
        path = self._directory / FILE_NAME
        if self._descriptor is None:
            self._descriptor = os.open(path, _APPEND, 0o600)
        size = os.fstat(self._descriptor).st_size
        if size and size + coming > MAX_FILE_BYTES:
            self.stop()
            ended = dt.datetime.now(dt.UTC)
            path.rename(self._directory / f"daemon.{ended:%Y-%m-%d_%H-%M-%S_%f}.log")
            for old in sorted(self._directory.glob("daemon.*.log"))[:-KEPT_FILES]:
                old.unlink()
            self._is_torn = False
            self._descriptor = os.open(path, _APPEND, 0o600)
        return self._descriptor


def _line(record: Record) -> str:
    """A template for loguru that stands for one JSON object."""
    fields = {
        "ts": record["time"].isoformat(timespec="milliseconds"),
        "level": record["level"].name.lower(),
        "message": record["message"][:_MAX_MESSAGE],
        "principal": record["extra"].get("principal"),
        "where": record["name"],
    }
    record["extra"]["line"] = json.dumps(fields, ensure_ascii=True)
    return "{extra[line]}\n"
