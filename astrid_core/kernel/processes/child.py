"""One confined process: its pipes, its end, and what guests may do to it.

Trusted with ending all of it. Everything that touches descriptors happens on the reactor's thread;
the lock guards what guests look at. The process number is used only while the process was not
waited for, so it is never somebody else's.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Final

from astrid_core.host.process_service import Chunk, ExitInfo, Launch, ProcessUsage, Stream
from astrid_core.kernel.processes.child_state import ChildState
from astrid_core.kernel.processes.ring import Ring
from astrid_core.kernel.processes.usage import usage_of
from astrid_core.kernel.reactor import Reactor
from astrid_hookspecs.sandboxes import ProcessSandbox, SandboxedCommand

_READ_BYTES: Final = 256 * 1024
_WAITED_BYTES: Final = 10 * 1024 * 1024
"""Output that `spawn` keeps of each stream. Spec: host-abi 13.3."""
_GROUP_WAIT_S: Final = 5.0
_GROUP_POLL_S: Final = 0.005
_SIGNAL_CODES: Final = range(129, 129 + 64)


class Child:
    """Implements `astrid_core.host.process_service.RunningProcess`.

    Args:
        launch: What it is.
        sandbox: What confines it.
        reactor: Serves it.
        ended: Told once, on the reactor's thread, when it has ended.

    Attributes:
        is_given_up: Whether it was closed, and so is about to end.
    """

    def __init__(
        self,
        launch: Launch,
        *,
        sandbox: ProcessSandbox,
        reactor: Reactor,
        ended: Callable[[Child], None],
    ) -> None:
        self.launch = launch
        self.started_s = time.monotonic()
        persistence = launch.request.persistence
        ring_bytes = _WAITED_BYTES if launch.tier == "waited" else persistence.ring_bytes
        self.exited = ChildState(self, lambda: self._exit is not None)
        self.drained = ChildState(self, self._is_drained)
        self.has_output = ChildState(self, self._has_output)
        self.input_taken = ChildState(self, self._has_taken_input)
        self.waiters: set[threading.Event] = set()
        self.lock = threading.Lock()
        self.is_given_up = False
        self._sandbox = sandbox
        self._reactor = reactor
        self._ended = ended
        self._rings: dict[Stream, Ring] = {
            "stdout": Ring(ring_bytes),
            "stderr": Ring(ring_bytes),
        }
        self._holds_back = persistence.overflow == "backpressure"
        self._exit: ExitInfo | None = None
        self._input = bytearray(launch.request.stdin or b"")
        self._takes_input = True
        self._input_is_lost = False
        self._input_ends = launch.tier == "waited" or (
            launch.tier == "persistent" and not persistence.keep_stdin_open
        )
        self._popen: subprocess.Popen[bytes] | None = None
        self._pid_descriptor = -1
        self._last_usage = ProcessUsage(None, None)
        self._signals_as_codes = False

    def begin(self, command: SandboxedCommand) -> int:
        """Start it; on the reactor's thread.

        Returns:
            Its process number.

        Raises:
            OSError: It cannot be started.
        """
        popen = subprocess.Popen(  # noqa: S603 - what the sandbox made of a checked command
            command.argv,
            env=dict(command.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd="/",
            start_new_session=True,
        )
        self._signals_as_codes = command.signals_as_codes
        try:
            self._pid_descriptor = os.pidfd_open(popen.pid)
        except OSError:  # nobody would notice its end
            os.killpg(popen.pid, signal.SIGKILL)
            popen.communicate()
            raise
        self._popen = popen
        self._reactor.watch(self._pid_descriptor, selectors.EVENT_READ, self._on_exit)
        for pipe in (popen.stdin, popen.stdout, popen.stderr):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
        self._watch_outputs()
        self._serve_input()
        return popen.pid

    @property
    def exit(self) -> ExitInfo | None:
        """As `RunningProcess.exit`."""
        with self.lock:
            return self._exit

    @property
    def is_input_open(self) -> bool:
        """As `RunningProcess.is_input_open`."""
        with self.lock:
            return self._takes_input and not self._input_ends

    @property
    def is_input_lost(self) -> bool:
        """As `RunningProcess.is_input_lost`."""
        with self.lock:
            return self._input_is_lost

    def take_output(self) -> tuple[bytes, bytes]:
        """As `RunningProcess.take_output`."""
        with self.lock:
            taken = self._rings["stdout"].take(), self._rings["stderr"].take()
        if self._holds_back:
            self._reactor.submit(self._watch_outputs)
        return taken

    def output_since(self, stream: Stream, position: int, *, max_bytes: int) -> Chunk:
        """As `RunningProcess.output_since`."""
        with self.lock:
            return self._rings[stream].since(position, max_bytes=max_bytes)

    def output_facts(self) -> tuple[int, int]:
        """As `RunningProcess.output_facts`."""
        with self.lock:
            rings = self._rings.values()
            return sum(map(len, rings)), sum(ring.lost for ring in rings)

    @property
    def output_end(self) -> int:
        """As `RunningProcess.output_end`."""
        with self.lock:
            return sum(ring.end for ring in self._rings.values())

    def write(self, data: bytes) -> bool:
        """As `RunningProcess.write`."""
        with self.lock:
            if not self._takes_input or self._input_ends:
                return False
            self._input += data
        self._reactor.submit(self._serve_input)
        return True

    def close_input(self, *, at_once: bool = False) -> None:
        """As `RunningProcess.close_input`."""
        with self.lock:
            self._input_ends = True
            if at_once:
                self._input.clear()
        self._reactor.submit(self._serve_input)

    def signal(self, number: int) -> bool:
        """As `RunningProcess.signal`; waits until there is somebody to get it."""
        deadline = time.monotonic() + _GROUP_WAIT_S
        while True:
            with self.lock:
                popen = self._popen
                if self._exit is not None or popen is None:
                    return False
                group = self._sandbox.signal_group(popen.pid)
                if group is not None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(group, number)
                        return True
            if time.monotonic() > deadline:
                return False
            time.sleep(_GROUP_POLL_S)

    def kill(self) -> None:
        """As `RunningProcess.kill`."""
        with self.lock:
            if self._exit is None and self._popen is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._popen.pid, signal.SIGKILL)

    def os_pid(self) -> int | None:
        """As `RunningProcess.os_pid`."""
        with self.lock:
            if self._exit is not None or self._popen is None:
                return None
            return self._sandbox.signal_group(self._popen.pid) or self._popen.pid

    def usage(self) -> ProcessUsage:
        """As `RunningProcess.usage`; the last that was known, once it has ended."""
        pid = self.os_pid()
        if pid is not None:
            found = usage_of(pid)
            if found.cpu_ms is not None:
                self._last_usage = found
        return self._last_usage

    def close(self) -> None:
        """As `RunningProcess.close`."""
        self.is_given_up = True
        self.kill()
        self._reactor.submit(self._close_pipes)

    def _is_drained(self) -> bool:
        return self._exit is not None and all(ring.is_ended for ring in self._rings.values())

    def _has_taken_input(self) -> bool:
        return not self._input or not self._takes_input

    def _has_output(self) -> bool:
        rings = self._rings.values()
        return any(map(len, rings)) or all(ring.is_ended for ring in rings)

    def _changed(self) -> None:
        with self.lock:
            waiters = tuple(self.waiters)
        for event in waiters:
            event.set()

    def _watch_outputs(self) -> None:
        self._watch_output("stdout")
        self._watch_output("stderr")

    def _watch_output(self, stream: Stream) -> None:
        pipe = None if self._popen is None else getattr(self._popen, stream)
        if pipe is None or pipe.closed:
            return
        with self.lock:
            is_wanted = not self._holds_back or self._rings[stream].space > 0
        events = selectors.EVENT_READ if is_wanted else 0
        self._reactor.watch(pipe.fileno(), events, lambda: self._read(stream))

    def _read(self, stream: Stream) -> None:
        pipe = getattr(self._popen, stream)
        with self.lock:
            most = self._rings[stream].space if self._holds_back else _READ_BYTES
        try:
            data = os.read(pipe.fileno(), min(most, _READ_BYTES) or 1)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        with self.lock:
            ring = self._rings[stream]
            if data:
                ring.append(data)
            else:
                ring.is_ended = True
        if not data:
            self._reactor.watch(pipe.fileno(), 0, _nothing)
            pipe.close()
        elif self._holds_back:
            self._watch_output(stream)
        self._changed()

    def _serve_input(self) -> None:
        pipe = None if self._popen is None else self._popen.stdin
        if pipe is None or pipe.closed:
            return
        try:
            with self.lock:
                while self._input:
                    del self._input[: os.write(pipe.fileno(), self._input[:_READ_BYTES])]
                is_done = self._input_ends
        except BlockingIOError:
            self._reactor.watch(pipe.fileno(), selectors.EVENT_WRITE, self._serve_input)
            return
        except OSError:
            is_done = True
        self._reactor.watch(pipe.fileno(), 0, _nothing)
        if is_done:
            with self.lock:
                self._takes_input = False
                self._input_is_lost |= bool(self._input)
                self._input.clear()
            with contextlib.suppress(OSError):
                pipe.close()
        self._changed()

    def _on_exit(self) -> None:
        popen = self._popen
        if popen is None:
            return
        with contextlib.suppress(ProcessLookupError):  # while its number is still its own
            os.killpg(popen.pid, signal.SIGKILL)
        status = popen.wait()
        self._reactor.watch(self._pid_descriptor, 0, _nothing)
        os.close(self._pid_descriptor)
        with self.lock:
            self._exit = self._told(status)
            self._input_is_lost |= bool(self._input)
            self._input.clear()
            self._input_ends = True
        self._serve_input()
        self._ended(self)
        self._changed()

    def _told(self, status: int) -> ExitInfo:
        if status < 0:
            return ExitInfo(None, -status)
        if self._signals_as_codes and status in _SIGNAL_CODES:
            return ExitInfo(None, status - 128)
        return ExitInfo(status, None)

    def _close_pipes(self) -> None:
        """Give the descriptors up, whoever else still holds the other ends."""
        if self._popen is None:
            return
        self.kill()  # once more: it may have been about to start when it was closed
        for stream in ("stdout", "stderr"):
            pipe = getattr(self._popen, stream)
            if not pipe.closed:
                self._reactor.watch(pipe.fileno(), 0, _nothing)
                pipe.close()
            with self.lock:
                self._rings["stdout" if stream == "stdout" else "stderr"].is_ended = True
        with self.lock:
            self._input.clear()
            self._input_ends = True
        self._serve_input()
        self._changed()


def _nothing() -> None:
    """For descriptors that are watched no more."""
