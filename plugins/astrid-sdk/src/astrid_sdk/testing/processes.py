"""Functions of `astrid:process` of the fake host, over programs that a test makes up.

Spec: host-abi 13.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Final, NamedTuple

from astrid_sdk.bindings import WitCaseError
from astrid_sdk.testing import programs
from astrid_sdk.testing.cases import require
from astrid_sdk.testing.programs import (
    MAX_BACKGROUND,
    MAX_STDIN_BYTES,
    ExitInfo,
    Host,
    ProcessPhase,
    ProcessResult,
    ReadLogsResult,
    Running,
)
from astrid_sdk.testing.wire import Ready
from astrid_sdk.topics import is_topic

MAX_READ_BYTES: Final = 4 * 1024 * 1024
_MS_NS: Final = 1_000_000
_FIRST_PID: Final = 1000


class KillResult(NamedTuple):
    """As the generated record; so are those below."""

    killed: bool
    exit: ExitInfo | None
    stdout: str
    stderr: str


class LogChunk(NamedTuple):
    """See `KillResult`."""

    data: bytes
    next: programs.LogCursor
    bytes_dropped: int
    drained_eof: bool


class ProcessInfo(NamedTuple):
    """See `KillResult`."""

    id: str
    label: str
    command: str
    os_pid: int | None
    phase: ProcessPhase
    exit: ExitInfo | None
    age_ms: int
    idle_ms: int
    buffered_bytes: int
    bytes_dropped: int
    stdin_open: bool
    cpu_ms: int | None
    mem_bytes_peak: int | None


class Handle:
    """As the generated resource `process-handle`."""

    def __init__(self, process: Running, *, owned: bool, dropped: Callable[[], None]) -> None:
        self._process = process
        self._owned = owned
        self._dropped = dropped
        self._written = len(process.run.stdin)
        self.read_logs = process.logs
        self.signal = process.send

    def __exit__(self, *_: object) -> None:
        if self._owned:
            self._process.kill()
        self._dropped()

    def write_stdin(self, data: bytes) -> int:
        """As the kernel's."""
        require(self._written + len(data) <= MAX_STDIN_BYTES, case="too-large")
        self._written += len(data)
        return self._process.write(data)

    def close_stdin(self) -> None:
        """As the kernel's."""
        self._process.run.is_stdin_open = False

    def kill(self) -> KillResult:
        """As the kernel's."""
        killed = self._process.kill()
        process = self._process
        return KillResult(killed, process.exit, process.take("stdout"), process.take("stderr"))

    def wait(self, timeout_ms: int | None) -> ExitInfo:
        """As the kernel's."""
        require(self._owned or timeout_ms is not None, case="invalid-input")
        return self._process.wait(timeout_ms)

    def wait_with_output(self, timeout_ms: int | None) -> ProcessResult:
        """As the kernel's."""
        ended = self.wait(timeout_ms)
        return ProcessResult(self._process.take("stdout"), self._process.take("stderr"), ended)

    def os_pid(self) -> int:
        """As the kernel's."""
        require(self._process.exit is None, case="closed")
        return self._process.pid

    def subscribe_exit(self) -> Ready:
        """Ready when it has ended."""
        return self._process.ready(lambda: self._process.exit is not None)

    def subscribe_logs(self) -> Ready:
        """Ready when it has written something, or will write nothing more."""
        return self._process.ready(self._process.has_output)


class FakeProcess:
    """Functions and types of `astrid:process/host`, shape C."""

    EnvVar = programs.EnvVar
    FileInjection = programs.FileInjection
    InjectionPlacement_EnvPointer = programs.EnvPointer
    LogCursor = programs.LogCursor
    LogStream = programs.LogStream
    OverflowPolicy = programs.OverflowPolicy
    ProcessSignal = programs.ProcessSignal
    ResourceLimits = programs.ResourceLimits
    SpawnRequest = programs.SpawnRequest

    def __init__(self, host: Host) -> None:
        self._host = host
        self._background: list[Running] = []
        self._kept: dict[tuple[str, str], Running] = {}
        self._pid = _FIRST_PID

    def spawn(self, request: programs.SpawnRequest) -> ProcessResult:
        """Run a program of the test to its end."""
        process = self._start(request)
        ended = process.wait(None)
        return ProcessResult(process.take("stdout"), process.take("stderr"), ended)

    def spawn_background(self, request: programs.SpawnRequest) -> Handle:
        """Start a program of the test."""
        process = self._start(request, stdin_open=True, counts=True)
        return Handle(process, owned=True, dropped=lambda: None)

    def spawn_persistent(self, request: programs.SpawnRequest) -> str:
        """Start one that is known by an id."""
        is_open = bool(request.keep_stdin_open)
        process = self._start(request, stdin_open=is_open, counts=True, kept=True)
        process_id = uuid.uuid4().hex
        self._kept[self._host.principal, process_id] = process
        return process_id

    def attach(self, process_id: str) -> Handle:
        """A handle that lets go."""
        return Handle(self._find(process_id), owned=False, dropped=lambda: None)

    def list_processes(self, label_filter: str | None) -> list[ProcessInfo]:
        """Those of the principal."""
        ids = [name for owner, name in self._kept if owner == self._host.principal]
        found = self.status_many(ids)
        return [one for one in found if label_filter is None or one.label == label_filter]

    def status(self, process_id: str) -> ProcessInfo:
        """What is known about one."""
        process = self._find(process_id)
        ended = process.exit
        age_ms = (self._host.now_ns - process.started_ns) // _MS_NS
        buffered = len(process.output("stdout")) + len(process.output("stderr"))
        return ProcessInfo(
            *(process_id, process.run.label, process.run.argv[0]),
            os_pid=None if ended else process.pid,
            phase=ProcessPhase.EXITED if ended else ProcessPhase.RUNNING,
            exit=ended,
            age_ms=age_ms,
            idle_ms=0,
            buffered_bytes=buffered,
            bytes_dropped=0,
            stdin_open=process.run.is_stdin_open and ended is None,
            cpu_ms=None,
            mem_bytes_peak=None,
        )

    def status_many(self, ids: list[str]) -> list[ProcessInfo]:
        """What is known about several."""
        return [self.status(one) for one in ids if (self._host.principal, one) in self._kept]

    def read_logs(self, process_id: str) -> ReadLogsResult:
        """Take its output."""
        return self._find(process_id).logs()

    def read_since(
        self, process_id: str, which: programs.LogStream, cursor: programs.LogCursor, max_bytes: int
    ) -> LogChunk:
        """Look at its output."""
        process = self._find(process_id)
        require(max_bytes <= MAX_READ_BYTES, case="too-large")
        place = (cursor.token or "0.0").partition(".")[0]
        require(place.isdigit(), case="invalid-input")
        whole = process.output(which.name.lower())
        data = whole[int(place) : int(place) + max_bytes]
        end = int(place) + len(data)
        is_end = process.exit is not None and end == len(whole)
        return LogChunk(data, programs.LogCursor(f"{end}.0"), 0, is_end)

    def write_stdin(self, process_id: str, data: bytes) -> int:
        """Give it input."""
        return self._find(process_id).write(data)

    def close_stdin(self, process_id: str) -> None:
        """No more input follows."""
        self._find(process_id).run.is_stdin_open = False

    def signal(self, process_id: str, sig: programs.ProcessSignal) -> None:
        """Send a signal."""
        self._find(process_id).send(sig)

    def wait(self, process_id: str, timeout_ms: int) -> ExitInfo:
        """Wait for its end."""
        return self._find(process_id).wait(timeout_ms)

    def stop(self, process_id: str, grace_ms: int | None) -> ExitInfo:
        """End it and forget it."""
        del grace_ms
        process = self._find(process_id)
        if process.exit is None:
            process.send(programs.ProcessSignal.TERM)
        del self._kept[self._host.principal, process_id]
        return process.wait(0)

    def release_process(self, process_id: str) -> None:
        """Forget it."""
        process = self._kept.get((self._host.principal, process_id))
        if process is not None:
            require(process.exit is not None, case="invalid-input")
            del self._kept[self._host.principal, process_id]

    def watch(self, process_id: str, suffix: str | None) -> None:
        """Tell of an end that has come already; tests `deliver` every other event."""
        process = self._find(process_id)
        name = process_id if suffix is None else suffix
        topic = f"astrid.process.v1.exited.{name}"
        require("." not in name and is_topic(topic), case="invalid-input")
        if process.exit is not None:
            ended = {"exit_code": process.exit.exit_code, "signal": process.exit.signal}
            self._host.deliver(topic, {"id": process_id, "exit": ended})

    def unwatch(self, process_id: str) -> None:
        """Nothing more is told."""
        self._find(process_id)

    def _find(self, process_id: str) -> Running:
        found = self._kept.get((self._host.principal, process_id))
        if found is None:
            raise WitCaseError("no-such-process")
        return found

    def _start(
        self,
        request: programs.SpawnRequest,
        *,
        stdin_open: bool = False,
        counts: bool = False,
        kept: bool = False,
    ) -> Running:
        run = programs.check_request(self._host, request)
        is_kept = not kept or "allow_persistent" in self._host.capabilities
        require(is_kept, case="persist-unsupported")
        self._background = [one for one in self._background if one.exit is None]
        require(not counts or len(self._background) < MAX_BACKGROUND, case="quota")
        program = programs.program_of(self._host, run.argv)
        require(program is not None, case="unknown")
        run.is_stdin_open = stdin_open
        self._pid += 1
        process = Running(self._host, run, program, pid=self._pid)
        self._host.ran.append(run)
        if counts:
            self._background.append(process)
        return process
