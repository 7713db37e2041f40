"""The standard library's `logging` and `print`, sent to the capsule's log."""

from __future__ import annotations

import contextlib
import io
import logging
from typing import Final

from astrid_sdk import bindings, sys
from astrid_sdk.errors import AstridSdkError
from astrid_sdk.sys import Level

_THRESHOLDS: Final[tuple[tuple[int, Level], ...]] = (
    (logging.ERROR, "error"),
    (logging.WARNING, "warn"),
    (logging.INFO, "info"),
    (logging.DEBUG, "debug"),
)


def level_of(number: int) -> Level:
    """The host's log level for a level number of the standard library."""
    return next((name for threshold, name in _THRESHOLDS if number >= threshold), "trace")


class HostLogHandler(logging.Handler):
    """Writes records to the host's log; what is logged before there is a host is dropped."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record. A logging call never fails."""
        if not bindings.is_live():
            return
        with contextlib.suppress(AstridSdkError, ValueError, TypeError):
            # when it fails, there is nowhere left to say so
            sys.log(level_of(record.levelno), self.format(record))


class LogStream(io.TextIOBase):
    """A text stream whose finished lines become log lines.

    Args:
        level: Level of the lines.
    """

    def __init__(self, level: Level) -> None:
        super().__init__()
        self._level = level
        self._pending = ""

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Take text; complete lines are logged."""
        *lines, self._pending = (self._pending + text).split("\n")
        for line in lines:
            self._log(line)
        return len(text)

    def flush(self) -> None:
        """Log what was written since the last line end."""
        pending, self._pending = self._pending, ""
        if pending:
            self._log(pending)

    def _log(self, line: str) -> None:
        if bindings.is_live():
            sys.log(self._level, line)


def install(level: int = logging.INFO) -> HostLogHandler:
    """Send the root logger to the host; returns the handler."""
    handler = HostLogHandler()
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level)
    return handler
