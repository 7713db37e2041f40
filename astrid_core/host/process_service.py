"""What the functions of `astrid:process` need from the kernel: processes that are already confined.

Trusted with nothing: it says what a running process is. Which one may be started is decided by the
gate, whose proof `Launch` carries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, NoReturn, Protocol, TypeAlias

from astrid_core.domain.process_events import EventKind
from astrid_core.domain.process_request import ProcessRequest
from astrid_core.security.checked import CheckedCommand
from astrid_hookspecs.cancel import WaitSource
from astrid_hookspecs.errors import SandboxError
from astrid_hookspecs.values import CapsuleId, Principal

Tier: TypeAlias = Literal["waited", "background", "persistent"]
Stream: TypeAlias = Literal["stdout", "stderr"]


class ExitInfo(NamedTuple):
    """The record `exit-info`: a status, or the signal that ended it."""

    exit_code: int | None
    signal: int | None


Tell: TypeAlias = Callable[[EventKind, ExitInfo | None], None]
"""Told what happened to a process, and how it ended if it did. Must not wait."""


class Chunk(NamedTuple):
    """Output from a position on.

    Attributes:
        data: At most what was asked for.
        start: Where `data` begins: behind the position asked for when output was lost.
        is_end: Whether nothing follows, now and later.
    """

    data: bytes
    start: int
    is_end: bool


@dataclass(frozen=True, slots=True)
class Launch:
    """A process to start.

    Attributes:
        command: The gate's proof.
        request: What the guest wants besides.
        workspace: The directory on the host that `request.cwd` is below.
        principal: For whom.
        capsule: By whom.
        load: Which load of the capsule: its source id.
        max_background: How many processes of the principal may live at once.
        call_id: The tool call that it is part of, None for none.
        tier: How long it lives.
    """

    command: CheckedCommand
    request: ProcessRequest
    workspace: Path
    principal: Principal
    capsule: CapsuleId
    load: str
    max_background: int
    call_id: str | None
    tier: Tier


class ProcessUsage(NamedTuple):
    """What a process has used: processor time and memory, None where the system does not say."""

    cpu_ms: int | None
    peak_bytes: int | None


class RunningProcess(Protocol):
    """A process that was started, until `close`. Every method may be called from any thread."""

    @property
    def launch(self) -> Launch:
        """What it is."""
        ...

    @property
    def started_s(self) -> float:
        """When it was started, on the monotonic clock."""
        ...

    @property
    def exited(self) -> WaitSource:
        """Ready once `exit` says how it ended."""
        ...

    @property
    def drained(self) -> WaitSource:
        """Ready once it ended and its output is there completely."""
        ...

    @property
    def has_output(self) -> WaitSource:
        """Ready while output waits, and at its end."""
        ...

    @property
    def input_taken(self) -> WaitSource:
        """Ready while everything written was read by the process, or never will be."""
        ...

    @property
    def exit(self) -> ExitInfo | None:
        """How it ended, None while it runs."""
        ...

    @property
    def is_input_open(self) -> bool:
        """Whether it can still be given input."""
        ...

    @property
    def is_input_lost(self) -> bool:
        """Whether it stopped reading before it had everything."""
        ...

    def take_output(self) -> tuple[bytes, bytes]:
        """Both streams, which are empty afterwards."""
        ...

    def output_since(self, stream: Stream, position: int, *, max_bytes: int) -> Chunk:
        """A part of a stream, which stays; positions count from its first byte."""
        ...

    def output_facts(self) -> tuple[int, int]:
        """Bytes that wait, and bytes that were lost, of both streams together."""
        ...

    @property
    def output_end(self) -> int:
        """Bytes that it has printed so far, on both streams together."""
        ...

    def write(self, data: bytes) -> bool:
        """Give it input; False when it takes none any more. Wait for `input_taken` afterwards."""
        ...

    def close_input(self, *, at_once: bool = False) -> None:
        """No more input follows; what was written is still delivered, unless `at_once`."""
        ...

    def signal(self, number: int) -> bool:
        """Send a signal to all of it; False once it has ended."""
        ...

    def kill(self) -> None:
        """End all of it; does not wait."""
        ...

    def os_pid(self) -> int | None:
        """The system's number of what leads it, None once it has ended."""
        ...

    def usage(self) -> ProcessUsage:
        """What it has used."""
        ...

    def close(self) -> None:
        """End all of it, and forget its output. Closing twice is not an error."""
        ...


class PersistentProcess(Protocol):
    """A process of the persistent tier. Every method may be called from any thread."""

    @property
    def id(self) -> str:
        """What guests call it."""
        ...

    @property
    def process(self) -> RunningProcess:
        """The process."""
        ...

    @property
    def idle_s(self) -> float:
        """For how long nobody asked about it."""
        ...


class Processes(Protocol):
    """Starts processes and keeps those that outlive their call. Safe from any thread."""

    @property
    def allows_network(self) -> bool:
        """Whether the operator lets processes use the network at all."""
        ...

    def start(self, launch: Launch) -> RunningProcess:
        """Start one, confined.

        Raises:
            QuotaExceededError: The principal or the capsule has too many.
            SandboxError: It cannot be confined, or its program is not there.
        """
        ...

    def persist(self, launch: Launch) -> PersistentProcess:
        """Start one that outlives its call.

        Raises:
            QuotaExceededError: As `start`; `process.retained` when too many are remembered.
            SandboxError: As `start`.
        """
        ...

    def find(
        self, capsule: CapsuleId, principal: Principal, process_id: str
    ) -> PersistentProcess | None:
        """A process of the persistent tier that is theirs, which counts as asking about it."""
        ...

    def of(self, capsule: CapsuleId, principal: Principal) -> Sequence[PersistentProcess]:
        """All of theirs, oldest first."""
        ...

    def memory_bytes(self, principal: Principal) -> int:
        """What the running processes of a principal use now, with all that they started."""
        ...

    def release(self, found: PersistentProcess) -> None:
        """Forget one; it is ended if it runs."""
        ...

    def watch(self, found: PersistentProcess, tell: Tell) -> None:
        """Tell somebody what happens to one, instead of whoever was told before.

        Told once when it has ended, which may be at once, and nothing afterwards; until then when
        it has printed something since the last time, at most once a second. Ends with `unwatch`
        and when the process is forgotten.

        Args:
            found: Which.
            tell: Called on a thread that serves nothing else.
        """
        ...

    def unwatch(self, found: PersistentProcess) -> None:
        """Tell nobody about it any more."""
        ...


class NoProcesses:
    """Implements `Processes` without any: the default, which refuses everything."""

    allows_network = False

    def start(self, launch: Launch) -> NoReturn:
        """As `Processes.start`; always refuses."""
        del launch
        raise SandboxError("there are no processes here", code="sandbox.unavailable")

    def persist(self, launch: Launch) -> NoReturn:
        """As `Processes.persist`; always refuses."""
        self.start(launch)

    def find(self, capsule: CapsuleId, principal: Principal, process_id: str) -> None:
        """Nobody has any."""

    def of(self, capsule: CapsuleId, principal: Principal) -> Sequence[PersistentProcess]:
        """Nobody has any."""
        del capsule, principal
        return ()

    def memory_bytes(self, principal: Principal) -> int:
        """Nothing runs."""
        del principal
        return 0

    def release(self, found: PersistentProcess) -> None:
        """There is nothing to forget."""

    def watch(self, found: PersistentProcess, tell: Tell) -> None:
        """There is nothing to watch."""

    def unwatch(self, found: PersistentProcess) -> None:
        """Nothing is watched."""
