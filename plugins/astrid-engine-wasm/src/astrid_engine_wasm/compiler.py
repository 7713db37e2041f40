"""Asks the compiling helper for work and judges what comes back.

Trusted with the boundary to a process that handled hostile bytes: its answers are bounded, parsed
and typed before anything uses them, a crash of it is an ordinary `ComponentError`, and no process
of it outlives this object.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

from astrid_engine_wasm.compile_child import JobLimits
from astrid_engine_wasm.frames import FrameError, receive_frame, send_frame
from astrid_engine_wasm.report import ComponentFacts, facts_from_json
from astrid_hookspecs.errors import ComponentError, EngineError

MIB: Final = 1024 * 1024
IDLE_S: Final = 20.0
"""The helper is stopped when it had nothing to do for this long."""

_BYTES_PER_S: Final = 2_000_000
"""Compiling speed that the progress estimate assumes."""
_PROGRESS_PERIOD_S: Final = 0.1
_STOP_GRACE_S: Final = 5.0
_MODULE: Final = "astrid_engine_wasm.compile_server"
_ENVIRONMENT: Final = (
    "HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PATH",
    "PYTHONHOME",
    "PYTHONPATH",
    "TMPDIR",
    "VIRTUAL_ENV",
)
"""Variables the helper inherits; secrets in others stay away from a process near hostile bytes."""

FractionCallback = Callable[[float], None]


def default_limits(size_bytes: int) -> JobLimits:
    """Limits for a component of a size: far above what honest components need.

    An 18 MB component takes about 10 s of two cores and 1.5 GB of address space.
    """
    size_mib = size_bytes / MIB
    wall_s = 60.0 + 20.0 * size_mib
    return JobLimits(
        address_space_bytes=int((4096 + 256 * size_mib) * MIB),
        cpu_s=int(wall_s) * max(2, os.cpu_count() or 1),
        file_bytes=int((64 + 16 * size_mib) * MIB),
        wall_s=wall_s,
    )


class Compiler:
    """Compiles components in child processes. Every method may be called from any thread.

    Args:
        abi: Accepted signature texts, given to the helper when it starts.
        limits: Limits by component size; tests pass smaller ones.
    """

    def __init__(
        self,
        *,
        abi: Mapping[str, tuple[str, ...]],
        limits: Callable[[int], JobLimits] = default_limits,
    ) -> None:
        self._hello = json.dumps({"abi": {name: list(texts) for name, texts in abi.items()}})
        self._limits = limits
        self._lock = threading.Lock()
        self._helper: _Helper | None = None
        self._active = 0
        self._idle_timer: threading.Timer | None = None
        self._closed = False

    def compile(
        self,
        source: int,
        output: int,
        *,
        size_bytes: int,
        on_fraction: FractionCallback | None = None,
    ) -> ComponentFacts:
        """Compile the component behind a descriptor into another; blocks until it is done.

        Args:
            source: Descriptor of the component, readable.
            output: Descriptor of an empty file; holds the artefact afterwards, nobody else has it.
            size_bytes: Length of the component, for limits and the estimate.
            on_fraction: Called about ten times a second with a growing number below 1.

        Raises:
            ComponentError: The component was refused, or the compiler crashed or ran out of time.
            EngineError: The helper cannot be started.
        """
        limits = self._limits(size_bytes)
        self._begin()
        try:
            replies = self._attempt(source, output, limits, size_bytes, on_fraction)
            if replies.was_lost and not self._closed:  # the helper itself was killed
                os.ftruncate(output, 0)
                replies = self._attempt(source, output, limits, size_bytes, on_fraction)
        finally:
            self._end()
        return _judge(replies, limits)

    def close(self) -> None:
        """Stop the helper; running compilations fail."""
        with self._lock:
            self._closed = True
            helper, self._helper = self._helper, None
            self._stop_timer()
        if helper is not None:
            helper.stop()

    def _begin(self) -> None:
        with self._lock:
            self._check_open()
            self._active += 1
            self._stop_timer()

    def _check_open(self) -> None:
        if self._closed:
            raise EngineError("the engine is closed", code="engine.closed")

    def _end(self) -> None:
        with self._lock:
            self._active -= 1
            if self._active == 0 and not self._closed:
                self._idle_timer = threading.Timer(IDLE_S, self._stop_idle)
                self._idle_timer.daemon = True
                self._idle_timer.start()

    def _stop_timer(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def _stop_idle(self) -> None:
        with self._lock:
            if self._active:
                return
            helper, self._helper = self._helper, None
        if helper is not None:
            helper.stop()

    def _attempt(
        self,
        source: int,
        output: int,
        limits: JobLimits,
        size_bytes: int,
        on_fraction: FractionCallback | None,
    ) -> _Replies:
        with self._submit(source, output, limits) as reply:
            return _await_replies(reply, limits, size_bytes, on_fraction)

    def _submit(self, source: int, output: int, limits: JobLimits) -> socket.socket:
        """Hand a job to the helper, starting it anew when it is gone."""
        job = json.dumps({"limits": list(limits)}).encode()
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._send(job, (source, output, theirs.fileno()))
            except BaseException:
                ours.close()
                raise
        return ours

    def _send(self, job: bytes, descriptors: tuple[int, ...]) -> None:
        """Send a job; a helper that went away meanwhile is replaced once.

        Raises:
            EngineError: There is no helper to be had.
        """
        for _ in range(2):
            try:
                with self._lock:
                    self._running_helper().send(job, descriptors)
            except OSError as error:
                cause = error
                self._forget()
            else:
                return
        raise EngineError(
            f"the compiling helper process does not start: {cause.strerror}",
            code="engine.compiler-unavailable",
            hint="look for a limit on processes or memory",
        ) from cause

    def _running_helper(self) -> _Helper:
        """The helper; the lock is held."""
        self._check_open()
        if self._helper is None or not self._helper.is_alive():
            if self._helper is not None:
                self._helper.stop()
            self._helper = _Helper(self._hello.encode())
        return self._helper

    def _forget(self) -> None:
        with self._lock:
            helper, self._helper = self._helper, None
        if helper is not None:
            helper.stop()


class _Helper:
    """The helper process and its control socket."""

    def __init__(self, hello: bytes) -> None:
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        self._control, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - fixed arguments
                    [sys.executable, "-P", "-m", _MODULE],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=environment,
                    cwd="/",
                    start_new_session=True,
                )
        except BaseException:
            self._control.close()
            raise
        with suppress(OSError):  # a helper that died already is noticed by the first job
            send_frame(self._control, hello)

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def send(self, job: bytes, descriptors: tuple[int, ...]) -> None:
        """Send one job.

        Raises:
            OSError: The process is gone.
        """
        send_frame(self._control, job, descriptors=descriptors)

    def stop(self) -> None:
        """End the process and its children, and reap it."""
        self._control.close()
        try:
            self._process.wait(_STOP_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _Replies(NamedTuple):
    answer: dict[str, object] | None
    exit_status: int | None
    timed_out: bool

    @property
    def was_lost(self) -> bool:
        """Whether nothing was heard of the helper, neither good nor bad."""
        return self.answer is None and self.exit_status is None and not self.timed_out


def _await_replies(
    reply: socket.socket,
    limits: JobLimits,
    size_bytes: int,
    on_fraction: FractionCallback | None,
) -> _Replies:
    """Read the child's answer and the helper's report, telling progress meanwhile."""
    started = time.monotonic()
    answer: dict[str, object] | None = None
    while _wait_readable(reply, started, limits, size_bytes, on_fraction):
        try:
            payload, _ = receive_frame(reply)
            message = json.loads(payload)
        except (EOFError, FrameError, OSError, ValueError):
            return _Replies(answer, None, timed_out=False)
        if not isinstance(message, dict):
            return _Replies({}, None, timed_out=False)
        if "exit" in message:
            return _Replies(answer, int(message["exit"]), bool(message.get("timed_out")))
        answer = message
    return _Replies(None, None, timed_out=True)


def _wait_readable(
    reply: socket.socket,
    started: float,
    limits: JobLimits,
    size_bytes: int,
    on_fraction: FractionCallback | None,
) -> bool:
    """Wait for a frame, telling progress; False when even the helper's own limit was passed."""
    estimate_s = 0.2 + size_bytes / _BYTES_PER_S
    latest = started + limits.wall_s + _STOP_GRACE_S
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


def _judge(replies: _Replies, limits: JobLimits) -> ComponentFacts:
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
