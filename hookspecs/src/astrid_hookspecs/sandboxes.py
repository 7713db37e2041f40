"""Process sandboxes: how the kernel starts a process it does not trust."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from astrid_hookspecs.markers import hookspec


@dataclass(frozen=True, slots=True)
class SandboxRequest:
    """A process to confine.

    Attributes:
        argv: Program (absolute path) and arguments.
        cwd: Working directory, also the only writable tree unless `writable` adds some.
        environment: The whole environment of the child.
        writable: Further writable trees.
        hidden: Trees the child must not see at all (the runtime home).
        network: Whether it may use the network.
    """

    argv: tuple[str, ...]
    cwd: Path
    environment: Mapping[str, str] = field(repr=False)
    writable: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()
    network: bool = False


class ProcessSandbox(Protocol):
    """Turns a request into a command line that confines the process."""

    def unavailable_reason(self) -> str | None:
        """None when it works on this machine, otherwise why not."""
        ...

    def command(self, request: SandboxRequest) -> tuple[str, ...]:
        """The argument vector to start instead of `request.argv`."""
        ...


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
