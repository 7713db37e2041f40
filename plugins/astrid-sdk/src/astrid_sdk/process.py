"""Programs of the machine, in a sandbox, with the workspace as their directory.

    done = process.run(["git", "status", "--short"])
    if done.exit.is_success: ...

Each needs an entry of `host_process` that equals the command or its first words. A program that
exits with an error is an answer, not an exception.

Spec: astrid:process@1.0.0, shape C.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from astrid_sdk.bindings import host_call
from astrid_sdk.process_calls import Ended, Exit, Keeping, Limits, Logs, Options, ended_of
from astrid_sdk.process_calls import start as _start
from astrid_sdk.process_handle import Killed, Process
from astrid_sdk.process_kept import Chunk, Info, KeptProcess, info_of

__all__ = [
    "Chunk",
    "Ended",
    "Exit",
    "Info",
    "Keeping",
    "KeptProcess",
    "Killed",
    "Limits",
    "Logs",
    "Options",
    "Process",
    "keep",
    "kept",
    "run",
    "start",
    "statuses",
]


def run(
    argv: Sequence[str],
    *,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    limits: Limits | None = None,
    files: Mapping[str, bytes] | None = None,
) -> Ended:
    """Run a program to its end.

    Args:
        argv: The program and its arguments; no shell reads them.
        stdin: What it reads, at most 2.6 MB here.
        env: Additions to its environment.
        cwd: Its directory, relative to the workspace.
        limits: Tighter ones than usual.
        files: Files that only it can see, by the environment variable that gets the path.

    Raises:
        ProcessError: `CapabilityDeniedError`, `InvalidInputError`, `BoundaryEscapeError`,
            `TooLargeError`, `QuotaError`, `CancelledError`; plain `ProcessError` when there is no
            such program or no sandbox.
        ValueError: There is no command.
    """
    return ended_of(_start("spawn", argv, Options(stdin, env, cwd, limits, files), Keeping()))


def start(
    argv: Sequence[str],
    *,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    limits: Limits | None = None,
    files: Mapping[str, bytes] | None = None,
) -> Process:
    """Start a program beside the capsule; it ends with its handle, or with the instance.

    Its input stays open: `Process.write`, `Process.close_stdin`.

    Args:
        argv: As `run`; so are the others.
        stdin: As `run`.
        env: As `run`.
        cwd: As `run`.
        limits: As `run`.
        files: As `run`.

    Raises:
        ProcessError: As `run`; `QuotaError` when the principal or the capsule has too many.
        ValueError: There is no command.
    """
    options = Options(stdin, env, cwd, limits, files)
    return Process(_start("spawn_background", argv, options, Keeping()))


def keep(
    argv: Sequence[str], *, options: Options | None = None, keeping: Keeping | None = None
) -> KeptProcess:
    """Start a program that outlives this call. Needs `allow_persistent` as well.

    Args:
        argv: As `run`.
        options: What `run` takes by name.
        keeping: Label, input, output and times.

    Raises:
        ProcessError: As `run`; `UnavailableError` when programs may not outlive calls here,
            `QuotaError` when too many are remembered.
        ValueError: There is no command.
    """
    made = _start("spawn_persistent", argv, options or Options(), keeping or Keeping())
    return KeptProcess(made)


def kept(label: str | None = None) -> list[Info]:
    """The programs of this capsule and principal, oldest first: those with a label, or all."""
    return [info_of(one) for one in host_call("process", "list_processes", label)]


def statuses(process_ids: Iterable[str]) -> list[Info]:
    """What is known about several programs; unknown ids are left out."""
    return [info_of(one) for one in host_call("process", "status_many", list(process_ids))]
