"""How much a server may say, and how fast: what is more ends it.

A server is hostile until shown otherwise. Nothing here is a matter of taste: each bound keeps one
server from costing the kernel memory or time that others need.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

MIB: Final = 1024 * 1024

MESSAGE_BYTES: Final = 8 * MIB
"""Of one message, in either direction."""
MESSAGES_PER_S: Final = 500
"""Messages that answer nothing; each request that was sent allows one more."""
BYTES_PER_S: Final = 32 * MIB
GARBAGE_LINES: Final = 200
"""Lines on standard output that are no messages, over the life of a process."""
LOG_LINES_PER_S: Final = 100
LOG_LINE_BYTES: Final = 4096

START_S: Final = 30.0
"""From the start of a process to the list of its tools."""
STOP_S: Final = 1.0
"""What a server gets to end by itself."""
PING_S: Final = 5.0
IDLE_S: Final = 600.0
"""After this long without a call a process is ended; the next call starts one."""

PAGES: Final = 100
TOOLS: Final = 500
DEFINITION_BYTES: Final = 64 * 1024
"""Of one tool, as JSON."""
NAME_CHARACTERS: Final = 256
"""Of the name of a tool; a longer one is left out."""
LIST_BYTES: Final = 4 * MIB
"""Of all pages of a list together, as JSON."""
PINS: Final = 1000
"""Tools of the servers of a capsule that are remembered, those that they have no more included."""
PIN_BYTES: Final = 8 * MIB
"""Of what is remembered of the servers of a capsule, as JSON."""
RELIST_S: Final = 2.0
"""Between two listings that a server asks for by its news."""
PROCESSES: Final = 64
"""Of one engine, for all capsules and principals."""
STARTS: Final = 8
"""Servers of one capsule that are asked for the first time, at the same time."""
ROOM_S: Final = 10.0
"""How long a start waits for the end of a process in whose place it comes."""

QUESTIONS: Final = 4
"""That one server may ask at the same time."""
LOOK_UPS: Final = 16
"""Names that are looked up at the same time, for all servers of an engine."""
LOOK_UP_S: Final = 10.0

BACKOFF_S: Final = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""How long after its end a server is started again, by the number of ends in a row."""
STEADY_S: Final = 60.0
"""A process that lived this long ends the row."""


class Flow:
    """Counts what a server says. Used by one task.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._messages = 0
        self._bytes = 0
        self._owed = 0
        self._garbage = 0

    def asked(self) -> None:
        """A request was sent: one answer is due."""
        self._owed += 1

    def fault(self, *, size_bytes: int, is_garbage: bool) -> str | None:
        """Take note of a line.

        Returns:
            Why the server has to end, None while it may go on.
        """
        now = self._clock()
        if now - self._since >= 1.0:
            self._since, self._messages, self._bytes = now, 0, 0
        self._bytes += size_bytes
        if is_garbage:
            self._garbage += 1
        elif self._owed > 0:
            self._owed -= 1
        else:
            self._messages += 1
        if self._garbage > GARBAGE_LINES:
            return f"it wrote more than {GARBAGE_LINES} lines that are no messages"
        if self._messages > MESSAGES_PER_S:
            return f"it sent more than {MESSAGES_PER_S} messages a second"
        if self._bytes > BYTES_PER_S:
            return f"it sent more than {BYTES_PER_S // MIB} MiB a second"
        return None


class Backoff:
    """When a server that ended may be started again. Used by one task.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends = 0
        self._not_before = 0.0

    def ended(self, *, lived_s: float) -> None:
        """A process ended without being asked to."""
        self._ends = 0 if lived_s >= STEADY_S else self._ends + 1
        pause_s = BACKOFF_S[min(max(self._ends - 1, 0), len(BACKOFF_S) - 1)]
        self._not_before = self._clock() + pause_s

    def wait_s(self) -> float:
        """Seconds until it may be started; 0 when it may be now."""
        return max(0.0, self._not_before - self._clock())
