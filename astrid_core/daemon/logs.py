"""The daemon's own log: JSON lines in `log/`, bounded in size and number of files."""

from __future__ import annotations

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
        directory / FILE_NAME,
        format=_line,
        level=_LEVELS[level],
        rotation=MAX_FILE_BYTES,
        retention=KEPT_FILES,
        delay=True,
        backtrace=False,
        diagnose=False,  # values of variables could be secrets
        opener=_private,
    )
    if echo:
        logger.add(sys.stderr, level=_LEVELS[level], backtrace=False, diagnose=False)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


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
