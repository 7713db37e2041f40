"""A request to end, or a terminal that was closed, ends a command as Ctrl-C does: put away first.

Without it the default of the system ends the process on the spot, and leaves behind what it had
begun: temporary directories, tools that still build, a home half written.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from astrid_hookspecs.exits import EXIT_INTERRUPTED

_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)
_BY_SIGNAL: Final = 128
"""A shell's status for a process that a signal ended is this plus its number."""


@contextmanager
def interrupted_by_signals() -> Iterator[Callable[[int], int]]:
    """Raise `KeyboardInterrupt` for signals that end, where this is the main thread.

    What is ignored, as `nohup` has it, stays ignored. A second signal ends the process at once.

    Yields:
        From the status that a command ended with to that of the process.
    """
    came: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        if came:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        came.append(number)
        raise KeyboardInterrupt

    def status(found: int) -> int:
        return _BY_SIGNAL + came[0] if came and found == EXIT_INTERRUPTED else found

    can_hear = threading.current_thread() is threading.main_thread()
    default = [number for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL]
    ours = default if can_hear else []
    for number in ours:
        signal.signal(number, interrupt)
    try:
        yield status
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end a question that blocks the event loop of the main thread.

    The loop's own handler only cancels its task, and a task that waits for a line does not hear it.
    """
    before = signal.getsignal(signal.SIGINT)
    ours = callable(before) and threading.current_thread() is threading.main_thread()
    if ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, before)


def end_at_once() -> None:
    """Let signals end the process on the spot again: nothing has to be put away."""
    for number in (signal.SIGINT, *_ENDING):
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
