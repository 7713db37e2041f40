"""Keeps the compiling helper process and hands it work.

Trusted with processes: the helper gets no secrets, a helper that died is replaced, a crash of the
compiler is an ordinary `ComponentError`, and no process outlives this object.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from astrid_engine_wasm.aot import MAX_ARTEFACT_BYTES
from astrid_engine_wasm.compile_child import JobLimits
from astrid_engine_wasm.compile_reply import FractionCallback, Replies, await_replies, judge
from astrid_engine_wasm.frames import send_frame
from astrid_engine_wasm.report import ComponentFacts
from astrid_hookspecs.errors import EngineError

MIB: Final = 1024 * 1024
IDLE_S: Final = 20.0
"""The helper is stopped when it had nothing to do for this long."""

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


def default_limits(size_bytes: int) -> JobLimits:
    """Limits for a component of a size: far above what honest components need.

    An 18 MB component takes about 10 s of two cores and 1.5 GB of address space.
    """
    size_mib = size_bytes / MIB
    wall_s = 60.0 + 20.0 * size_mib
    return JobLimits(
        address_space_bytes=int((4096 + 256 * size_mib) * MIB),
        cpu_s=int(wall_s) * max(2, os.cpu_count() or 1),
        file_bytes=min(int((64 + 16 * size_mib) * MIB), MAX_ARTEFACT_BYTES),
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
        return judge(replies, limits)

    def close(self) -> None:
        """Stop the helper; running compilations fail."""
        with self._lock:
            self._closed = True
            helper, self._helper = self._helper, None
            timer = self._idle_timer
            self._stop_timer()
        if helper is not None:
            helper.stop()
        if timer is not None:
            timer.join()  # cancelled, it still takes a moment to end

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
            if self._active or self._closed:
                return
            timer = threading.Timer(IDLE_S, self._stop_idle)
            timer.daemon = True
            with contextlib.suppress(RuntimeError):  # no thread is left: the helper stays longer
                timer.start()
                self._idle_timer = timer

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
    ) -> Replies:
        with self._submit(source, output, limits) as reply:
            return await_replies(reply, limits, size_bytes, on_fraction)

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
