"""Requests for programs, and what is known about those that ran.

`process` is what capsules use; it is built on this module. Spec: astrid:process@1.0.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from astrid_sdk.bindings import MAX_LIST_BYTES, host_call, host_type
from astrid_sdk.errors import CapabilityDeniedError, host_error
from astrid_sdk.times import milliseconds

Signal: TypeAlias = Literal["term", "hup", "usr1", "usr2", "int", "stop", "cont"]


class Exit(NamedTuple):
    """How a program ended. Both are None when that is not known.

    Attributes:
        code: Its exit code.
        signal: The signal that ended it.
    """

    code: int | None
    signal: int | None

    @property
    def is_success(self) -> bool:
        """Whether it ended by itself, with 0."""
        return self.code == 0


class Ended(NamedTuple):
    """A program that has ended.

    Attributes:
        stdout: Its output; what is not UTF-8 is replaced. So is that of errors.
        stderr: Its error output.
        exit: How it ended.
    """

    stdout: str
    stderr: str
    exit: Exit


class Logs(NamedTuple):
    """What a program has written since the last look; the last 1 MiB of each kind.

    Attributes:
        stdout: Output; what is not UTF-8 is replaced.
        stderr: Error output, likewise.
        is_running: Whether it still runs.
        exit: How it ended, None while it runs.
    """

    stdout: str
    stderr: str
    is_running: bool
    exit: Exit | None


class Limits(NamedTuple):
    """Limits of a program; None leaves the usual one.

    Attributes:
        memory_bytes: Memory.
        cpu_seconds: Processor time.
        processes: Processes and threads.
        open_files: Open files.
    """

    memory_bytes: int | None = None
    cpu_seconds: int | None = None
    processes: int | None = None
    open_files: int | None = None


class Options(NamedTuple):
    """What a request can have besides a command; see `process.run`."""

    stdin: bytes | None = None
    env: Mapping[str, str] | None = None
    cwd: str | None = None
    limits: Limits | None = None
    files: Mapping[str, bytes] | None = None


class Keeping(NamedTuple):
    """How a program that outlives its call is kept; see `process.keep`.

    Attributes:
        label: A name for lists, at most 128 bytes.
        stdin_open: Whether it can get more input.
        waits_for_reader: Whether it waits when nobody reads its output; otherwise the oldest is
            lost.
        buffer_bytes: How much of each output is kept, 4 KiB to 8 MiB.
        lifetime: Seconds until it is ended, at most six hours.
        idle: Seconds until it is ended because nobody asks about it.
        retention: Seconds for which its end is remembered, at most an hour.
    """

    label: str | None = None
    stdin_open: bool | None = None
    waits_for_reader: bool = False
    buffer_bytes: int | None = None
    lifetime: float | None = None
    idle: float | None = None
    retention: float | None = None


def start(name: str, argv: Sequence[str], options: Options, keeping: Keeping) -> Any:
    """Call a function that starts a program.

    Raises:
        ProcessError: The host refused; a missing entry of the manifest is named.
        ValueError: There is no command.
    """
    if isinstance(argv, str) or not argv:
        raise ValueError("a command is a sequence of a program and its arguments")
    for data in (options.stdin or b"", *(options.files or {}).values()):
        if len(data) > MAX_LIST_BYTES:
            detail = f"{len(data)} bytes in one call, at most {MAX_LIST_BYTES} can cross"
            raise host_error("process", name.replace("_", "-"), "too-large", detail=detail)
    try:
        return host_call("process", name, _request(argv, options, keeping))
    except CapabilityDeniedError as error:
        error.add_note(f'needs "{argv[0]}" in host_process below [capabilities] of Capsule.toml')
        raise


def exit_of(found: Any) -> Exit:
    """Read the record `exit-info`."""
    return Exit(found.exit_code, found.signal)


def logs_of(found: Any) -> Logs:
    """Read the record `read-logs-result`."""
    ended = None if found.exit is None else exit_of(found.exit)
    return Logs(found.stdout, found.stderr, found.running, ended)


def ended_of(found: Any) -> Ended:
    """Read the record `process-result`."""
    return Ended(found.stdout, found.stderr, exit_of(found.exit))


def signal_of(name: Signal) -> Any:
    """The generated member of a signal.

    Raises:
        ValueError: It is none of those that can be sent.
    """
    try:
        return host_type("process", "ProcessSignal")[name.upper()]
    except KeyError:
        raise ValueError(f"there is no signal {name!r} to send") from None


def _request(argv: Sequence[str], options: Options, keeping: Keeping) -> Any:
    variable, injection = host_type("process", "EnvVar"), host_type("process", "FileInjection")
    pointer = host_type("process", "InjectionPlacement_EnvPointer")
    overflow = host_type("process", "OverflowPolicy")
    limits = options.limits
    return host_type("process", "SpawnRequest")(
        argv[0],
        list(argv[1:]),
        options.stdin,
        [variable(key, value) for key, value in (options.env or {}).items()],
        options.cwd,
        None if limits is None else host_type("process", "ResourceLimits")(*limits),
        [injection(content, pointer(key)) for key, content in (options.files or {}).items()],
        keeping.label,
        keeping.stdin_open,
        overflow.BACKPRESSURE if keeping.waits_for_reader else None,
        keeping.buffer_bytes,
        milliseconds(keeping.lifetime),
        milliseconds(keeping.idle),
        milliseconds(keeping.retention),
    )
