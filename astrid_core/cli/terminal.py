"""The person at the terminal: lines that are typed, some of them unseen, some within a time.

Trusted with what is typed: a secret is not echoed, and the terminal is as it was afterwards,
however the question ends. Reads the descriptor itself, so that a question can be given up while it
waits.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final, TextIO

from astrid_core.cli.output import clean
from astrid_hookspecs.errors import AstridError

_LOOK_S: Final = 0.1
_LINE_BYTES: Final = 65_536


class UnansweredError(AstridError):
    """A question on the terminal got no answer.

    Codes: `cli.cancelled`: the input ended, or three answers were of no use; `cli.time-up`: the
    time is over, or nobody wants to know any more.
    """

    default_code = "cli.cancelled"


def has_person() -> bool:
    """Whether somebody can be asked and sees the question: a terminal, and `CI` is not set."""
    if os.environ.get("CI"):
        return False
    return sys.stdin.isatty() and sys.stderr.isatty()


class Terminal:
    """Asks one question at a time. Used by one thread at a time.

    Args:
        out: Where questions go; None for what the standard error is then: a progress bar that is
            paused had put itself in its place.
        is_over: Looked at while waiting; whether nobody wants an answer any more.
    """

    def __init__(self, out: TextIO | None, *, is_over: Callable[[], bool] = lambda: False) -> None:
        self._out = out
        self._is_over = is_over
        self.deadline: float | None = None

    def say(self, text: str) -> None:
        """Show text; what could move the cursor is made visible."""
        out = self._out or sys.stderr
        out.write(clean(text))
        out.flush()

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Give up all questions of the block after so long."""
        self.deadline = time.monotonic() + seconds
        try:
            yield
        finally:
            self.deadline = None

    def line(self, prompt: str, *, hidden: bool = False) -> str:
        """Ask for a line.

        Args:
            prompt: Shown as it is, but for control characters.
            hidden: Whether nothing of the answer is shown.

        Returns:
            The line without its end; blanks around it are gone unless it was hidden.

        Raises:
            UnansweredError: There is none.
        """
        descriptor = sys.stdin.fileno()
        with self._unseen(descriptor) if hidden else contextlib.nullcontext():
            self.say(prompt)
            data = self._read(descriptor)
        text = data.decode("utf-8", "surrogateescape")
        if hidden:
            self.say("\n")
            return text.rstrip("\r\n")
        return text.strip()

    def _read(self, descriptor: int) -> bytes:
        while not self._is_over():
            wait_s = _LOOK_S
            if self.deadline is not None:
                wait_s = min(wait_s, self.deadline - time.monotonic())
                if wait_s <= 0:
                    break
            ready, _, _ = select.select([descriptor], [], [], wait_s)
            if ready:
                data = os.read(descriptor, _LINE_BYTES)
                if not data:
                    self.say("\n")
                    raise UnansweredError("the input has ended")
                return data
        self.say("\n")
        raise UnansweredError("the time for an answer is over", code="cli.time-up")

    @contextlib.contextmanager
    def _unseen(self, descriptor: int) -> Iterator[None]:
        """Switch the echo off, before anything is shown that somebody could answer to."""
        import termios  # noqa: PLC0415 - not on every system

        before = termios.tcgetattr(descriptor)
        silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, silent)
        try:
            yield
        finally:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
