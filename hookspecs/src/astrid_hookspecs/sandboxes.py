"""Process sandboxes: how the kernel starts a process it does not trust."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from astrid_hookspecs.errors import SandboxError
from astrid_hookspecs.markers import hookspec


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What one confined process tree may use; None is the sandbox's own default.

    Attributes:
        memory_bytes: Address space of each process.
        cpu_s: Processor time of each process, in seconds.
        processes: Processes and threads at once.
        open_files: Open descriptors of each process.
    """

    memory_bytes: int | None = None
    cpu_s: int | None = None
    processes: int | None = None
    open_files: int | None = None


@dataclass(frozen=True, slots=True)
class SandboxFile:
    """A file that the process sees, read-only, besides what it sees anyway.

    Attributes:
        source: Where the content is, absolute.
        target: Where the process finds it, absolute; None for the same path as `source`. A sandbox
            that cannot show a file under another name refuses.
    """

    source: Path
    target: Path | None = None


@dataclass(frozen=True, slots=True)
class SandboxRequest:
    """A process to confine.

    Attributes:
        argv: Program (absolute path) and arguments.
        cwd: Working directory, and a writable tree unless `writes_cwd` is off.
        starts_in: Where inside `cwd` it starts, None for `cwd` itself. Links on the way are
            followed as the process would, and so lead nowhere else than it can go.
        environment: The whole environment of the child.
        writable: Further writable trees.
        readable: Trees that are readable even below what is hidden.
        hidden: Trees the child must not see at all (the runtime home), besides what the sandbox
            hides by itself: credentials of the user, sockets of other programs.
        writes_cwd: Whether the working directory is writable.
        files: Files that are put in front of it.
        network: Whether it may use the network. Without, it cannot make a socket.
        limits: Resources.
    """

    argv: tuple[str, ...]
    cwd: Path
    environment: Mapping[str, str] = field(repr=False)
    writable: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()
    writes_cwd: bool = True
    starts_in: Path | None = None
    files: tuple[SandboxFile, ...] = ()
    network: bool = False
    limits: SandboxLimits = SandboxLimits()


@dataclass(frozen=True, slots=True)
class SandboxedCommand:
    """What to start instead of `SandboxRequest.argv`.

    Started in a session of its own, and by a thread that lives longer than the process: a sandbox
    may tie its life to that thread. The working directory does not matter. The process dies with
    the one that asked for the command.

    Attributes:
        argv: Program (absolute path) and arguments; holds nothing of the child's environment.
        environment: The environment to start it with. Further variables are not passed on.
        signals_as_codes: Whether the end by signal n shows as exit status 128 + n.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    signals_as_codes: bool = False


class ProcessSandbox(Protocol):
    """Turns a request into a command that confines the process. Used by any thread."""

    def unavailable_reason(self) -> str | None:
        """None when it works on this machine, otherwise why not; may try it out for that."""
        ...

    def command(self, request: SandboxRequest) -> SandboxedCommand:
        """The command to start instead of `request.argv`.

        Killing it kills everything that it started.

        Raises:
            SandboxError: `sandbox.unsupported`: it cannot confine the process that way;
                `sandbox.unavailable`: it cannot confine any here.
        """
        ...

    def signal_group(self, pid: int) -> int | None:
        """The process group to send a signal to, so that the confined process gets it.

        Args:
            pid: Of the started command, which runs or was not waited for yet.

        Returns:
            None while the confined process does not run.
        """
        ...


def no_sandbox() -> ProcessSandbox:
    """What there is where nobody offers a sandbox.

    Raises:
        SandboxError: Always: `sandbox.unavailable`.
    """
    raise SandboxError("there is no process sandbox here", code="sandbox.unavailable")


@dataclass(frozen=True, slots=True)
class ProcessSandboxRecord:
    """Declares a sandbox. The first available one by ascending priority is used."""

    name: str
    priority: int
    factory: Callable[[], ProcessSandbox]


@hookspec
def astrid_register_process_sandboxes() -> Iterable[ProcessSandboxRecord]:  # type: ignore[empty-body]
    """Declare process sandboxes.

    Kind: declare. When: once, before the first process is started.
    Returns: records; names unique over all plugins.
    Failure: an exception or a malformed record stops the boot; without any available sandbox no
    process is started at all.
    Since: 1.0.
    """
