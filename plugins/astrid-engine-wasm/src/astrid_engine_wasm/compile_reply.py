"""What comes back from the compiling helper: waiting for it, bounding it, judging it.

Trusted with turning the answer of a process that handled hostile bytes into a typed value or a
typed error; see `compile_server` for the messages.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from astrid_engine_wasm.compile_child import JobLimits
from astrid_engine_wasm.frames import FrameError, receive_frame
from astrid_engine_wasm.report import ComponentFacts, facts_from_json
from astrid_hookspecs.errors import ComponentError

FractionCallback = Callable[[float], None]

_BYTES_PER_S: Final = 2_000_000
"""Compiling speed that the progress estimate assumes."""
_PROGRESS_PERIOD_S: Final = 0.1
_HELPER_GRACE_S: Final = 5.0
"""The helper kills a child at its limit; a helper that does not is given up after this."""


class Replies(NamedTuple):
    """What came back for one job.

    Attributes:
        answer: The child's, None without one.
        exit_status: How the child ended, as `os.waitpid` says it; None when the helper is gone.
        timed_out: Whether it was killed because its time was over.
    """

    answer: dict[str, object] | None
    exit_status: int | None
    timed_out: bool

    @property
    def was_lost(self) -> bool:
        """Whether nothing was heard of the helper, neither good nor bad."""
        return self.answer is None and self.exit_status is None and not self.timed_out


def await_replies(
    reply: socket.socket,
    limits: JobLimits,
    size_bytes: int,
    on_fraction: FractionCallback | None,
) -> Replies:
    """Read the child's answer and the helper's report, telling progress meanwhile.

    Raises whatever `on_fraction` raises.
    """
    started = time.monotonic()
    answer: dict[str, object] | None = None
    while _wait_readable(reply, started, limits, size_bytes, on_fraction):
        try:
            payload, _ = receive_frame(reply)
            message = json.loads(payload)
        except (EOFError, FrameError, OSError, ValueError):
            return Replies(answer, None, timed_out=False)
        if not isinstance(message, dict):
            return Replies({}, None, timed_out=False)
        if "exit" in message:
            return Replies(answer, int(message["exit"]), bool(message.get("timed_out")))
        answer = message
    return Replies(None, None, timed_out=True)


def _wait_readable(
    reply: socket.socket,
    started: float,
    limits: JobLimits,
    size_bytes: int,
    on_fraction: FractionCallback | None,
) -> bool:
    """Wait for a frame, telling progress; False when even the helper's own limit was passed."""
    estimate_s = 0.2 + size_bytes / _BYTES_PER_S
    latest = started + limits.wall_s + _HELPER_GRACE_S
    poll = select.poll()
    poll.register(reply.fileno(), select.POLLIN)
    while not poll.poll(_PROGRESS_PERIOD_S * 1000):
        now = time.monotonic()
        if now > latest:
            return False
        if on_fraction is not None:
            on_fraction(estimate_fraction((now - started) / estimate_s))
    return True


def estimate_fraction(elapsed_ratio: float) -> float:
    """How far a compilation probably is: 0.75 when the estimated time is over, never 1.

    Args:
        elapsed_ratio: Elapsed by estimated time.
    """
    return elapsed_ratio / (elapsed_ratio + 1 / 3)


def judge(replies: Replies, limits: JobLimits) -> ComponentFacts:
    """What the answer says about the component.

    Raises:
        ComponentError: It was refused, or the compiler crashed or ran out of time.
    """
    if replies.timed_out:
        raise ComponentError(
            f"compiling did not end within {limits.wall_s:.0f} s and was stopped",
            code="engine.component.compile-timeout",
            hint="the component may be built to exhaust compilers; do not install it",
        )
    if replies.exit_status != 0 or replies.answer is None:
        raise ComponentError(
            f"the compiler {_ending(replies.exit_status)} while compiling this component",
            code="engine.component.compiler-crashed",
            hint="the component may be damaged or built to crash compilers; do not install it",
        )
    error = replies.answer.get("error")
    if isinstance(error, dict):
        code, hint = error.get("code"), error.get("hint")
        raise ComponentError(
            str(error.get("message"))[:2000],
            code=code if isinstance(code, str) else None,
            hint=hint if isinstance(hint, str) else None,
        )
    return facts_from_json(replies.answer.get("report"))


def _ending(status: int | None) -> str:
    if status is None:
        return "disappeared"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            return f"was stopped by {signal.Signals(number).name}"
        except ValueError:
            return f"was stopped by signal {number}"
    return f"ended with status {os.waitstatus_to_exitcode(status)}"
