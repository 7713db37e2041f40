"""Programs of the fake host: what a test says they print, and for how long they run.

Spec: host-abi 13.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from astrid_sdk.testing.cases import require
from astrid_sdk.testing.wire import Clock, Ready

MAX_STDIN_BYTES: Final = 4 * 1024 * 1024
MAX_WRITE_BYTES: Final = 1024 * 1024
MAX_BACKGROUND: Final = 8
_NS: Final = 1_000_000_000
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Ran(NamedTuple):
    """What a program does.

    Attributes:
        stdout: All of its output so far.
        stderr: All of its error output so far.
        code: Its exit code.
        runs_s: For how long it runs, None until it is ended.
    """

    stdout: str = ""
    stderr: str = ""
    code: int = 0
    runs_s: float | None = 0.0


@dataclass
class Run:
    """A program that the capsule started.

    Attributes:
        argv: Program and arguments.
        stdin: What it got so far.
        is_stdin_open: Whether it can get more.
        env: What was added to its environment.
        cwd: Its directory.
        files: Files it got, by variable.
        label: Its label.
        signals: What it was sent.
    """

    argv: tuple[str, ...]
    stdin: bytes
    is_stdin_open: bool
    env: dict[str, str] = field(default_factory=dict)
    cwd: str | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    label: str = ""
    signals: list[str] = field(default_factory=list)


Program: TypeAlias = Ran | Callable[[Run], Ran]
"""What it does whatever it gets, or depending on that; asked at each look."""


class Host(Clock, Protocol):
    """What is needed of the fake host."""

    principal: str
    programs: dict[str, Program]
    ran: list[Run]
    host_process: list[str]
    capabilities: set[str]
    now_ns: int

    def deliver(self, topic: str, payload: object) -> None:
        """Put a message on the bus now."""
        ...


class ProcessSignal(enum.Enum):
    """As the generated enum, with the system's numbers."""

    TERM = 15
    HUP = 1
    USR1 = 10
    USR2 = 12
    INT = 2
    STOP = 19
    CONT = 18


class OverflowPolicy(enum.Enum):
    """As the generated enum."""

    DROP_OLDEST = 0
    BACKPRESSURE = 1


class LogStream(enum.Enum):
    """As the generated enum."""

    STDOUT = 0
    STDERR = 1


class ProcessPhase(enum.Enum):
    """As the generated enum."""

    STARTING = 0
    RUNNING = 1
    EXITED = 2


class EnvVar(NamedTuple):
    """As the generated record; so are those below."""

    key: str
    value: str


class ResourceLimits(NamedTuple):
    """See `EnvVar`."""

    max_memory_bytes: int | None
    max_cpu_secs: int | None
    max_pids: int | None
    max_open_files: int | None


class EnvPointer(NamedTuple):
    """See `EnvVar`."""

    value: str


class FileInjection(NamedTuple):
    """See `EnvVar`."""

    content: bytes
    placement: EnvPointer


class SpawnRequest(NamedTuple):
    """See `EnvVar`."""

    cmd: str
    args: list[str]
    stdin: bytes | None
    env: list[EnvVar]
    cwd: str | None
    limits: ResourceLimits | None
    file_injections: list[FileInjection]
    label: str | None
    keep_stdin_open: bool | None
    overflow: OverflowPolicy | None
    log_ring_bytes: int | None
    max_lifetime_ms: int | None
    idle_timeout_ms: int | None
    exit_retention_ms: int | None


class ExitInfo(NamedTuple):
    """See `EnvVar`."""

    exit_code: int | None
    signal: int | None


class ProcessResult(NamedTuple):
    """See `EnvVar`."""

    stdout: str
    stderr: str
    exit: ExitInfo


class LogCursor(NamedTuple):
    """See `EnvVar`."""

    token: str | None


class ReadLogsResult(NamedTuple):
    """See `EnvVar`."""

    stdout: str
    stderr: str
    running: bool
    exit: ExitInfo | None


class Running:
    """A program, from its start to its end and after.

    Args:
        host: Its clock.
        run: What was asked for.
        program: What it does.
        pid: Its number.
    """

    def __init__(self, host: Host, run: Run, program: Program, *, pid: int) -> None:
        self.run = run
        self.pid = pid
        self.started_ns = host.now_ns
        self._host = host
        self._program = program
        self._signal: int | None = None
        self._taken = {"stdout": 0, "stderr": 0}

    @property
    def now(self) -> Ran:
        """What it does."""
        return self._program if isinstance(self._program, Ran) else self._program(self.run)

    @property
    def exit(self) -> ExitInfo | None:
        """How it ended, None while it runs."""
        if self._signal is not None:
            return ExitInfo(None, self._signal)
        left_ns = self._left_ns()
        return ExitInfo(self.now.code, None) if left_ns is not None and left_ns <= 0 else None

    def output(self, stream: str) -> bytes:
        """All of one output so far."""
        text: str = getattr(self.now, stream)
        return text.encode()

    def take(self, stream: str) -> str:
        """What of an output was not taken yet."""
        whole = self.output(stream)
        start, self._taken[stream] = self._taken[stream], len(whole)
        return whole[start:].decode("utf-8", "replace")

    def has_output(self) -> bool:
        """Whether there is something to take, or nothing will follow."""
        return self.exit is not None or any(
            len(self.output(stream)) > taken for stream, taken in self._taken.items()
        )

    def logs(self) -> ReadLogsResult:
        """What was not taken yet."""
        ended = self.exit
        return ReadLogsResult(self.take("stdout"), self.take("stderr"), ended is None, ended)

    def write(self, data: bytes) -> int:
        """Give it input."""
        require(len(data) <= MAX_WRITE_BYTES, case="too-large")
        require(self.exit is None and self.run.is_stdin_open, case="closed")
        self.run.stdin += data
        return len(data)

    def send(self, signal: ProcessSignal) -> None:
        """Send a signal; all but two end it."""
        require(self.exit is None, case="closed")
        self.run.signals.append(signal.name.lower())
        if signal not in (ProcessSignal.STOP, ProcessSignal.CONT):
            self._signal = signal.value

    def kill(self) -> bool:
        """End it; whether it ran."""
        was_running = self.exit is None
        if was_running:
            self._signal = 9
        return was_running

    def wait(self, timeout_ms: int | None) -> ExitInfo:
        """Wait for its end."""
        left_ns = self._left_ns()
        if timeout_ms is not None:
            self._host.wait(timeout_ms * 1_000_000, until=self._has_ended)
        elif left_ns is not None:
            self._host.wait(left_ns, until=self._has_ended)
        else:
            self._host.wait_forever(until=self._has_ended)
        ended = self.exit
        require(ended is not None, case="wait-timeout")
        return ended or ExitInfo(None, None)

    def ready(self, is_ready: Callable[[], bool]) -> Ready:
        """A pollable."""
        return Ready(self._host, is_ready)

    def _has_ended(self) -> bool:
        return self.exit is not None

    def _left_ns(self) -> int | None:
        runs_s = self.now.runs_s
        if runs_s is None:
            return None
        return self.started_ns + round(runs_s * _NS) - self._host.now_ns


def check_request(host: Host, request: SpawnRequest) -> Run:
    """What the kernel checks before it starts a program, in its order."""
    argv = (request.cmd, *request.args)
    texts = (*argv, *(part for pair in request.env for part in pair))
    require(bool(request.cmd) and not any("\0" in text for text in texts), case="invalid-input")
    require(all(_VARIABLE.fullmatch(one.key) for one in request.env), case="invalid-input")
    require(len(request.stdin or b"") <= MAX_STDIN_BYTES, case="too-large")
    cwd = request.cwd or ""
    inside = not cwd.startswith("/") and ".." not in cwd.split("/")
    require(inside, case="boundary-escape")
    allowed = [tuple(entry.split()) for entry in host.host_process]
    is_allowed = any(argv[: len(entry)] == entry for entry in allowed if entry)
    require(is_allowed, case="capability-denied")
    return Run(
        argv,
        request.stdin or b"",
        is_stdin_open=False,
        env={one.key: one.value for one in request.env},
        cwd=request.cwd,
        files={one.placement.value: one.content for one in request.file_injections},
        label=request.label or "",
    )


def program_of(host: Host, argv: tuple[str, ...]) -> Any:
    """What the test says about the longest beginning of the command; None for nothing."""
    for length in range(len(argv), 0, -1):
        found = host.programs.get(" ".join(argv[:length]))
        if found is not None:
            return found
    return None
