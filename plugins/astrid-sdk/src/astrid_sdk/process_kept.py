"""A program that outlives the call that started it, by its id. Made by `process`.

Spec: astrid:process@1.0.0, shape C.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from astrid_sdk.bindings import host_call, host_type
from astrid_sdk.process_calls import (
    Exit,
    Logs,
    Signal,
    exit_of,
    logs_of,
    signal_of,
)
from astrid_sdk.process_handle import Process
from astrid_sdk.times import milliseconds

_PIECE_BYTES = 1024 * 1024


class Info(NamedTuple):
    """What is known about a program.

    Attributes:
        id: Its id.
        label: Its name for lists, empty without one.
        command: The program.
        pid: The number the operating system knows it by, None when it has ended.
        is_running: Whether it runs.
        exit: How it ended, None while it runs.
        age: Seconds since its start.
        idle: Seconds since somebody asked about it.
        buffered_bytes: Output that is kept.
        dropped_bytes: Output that is lost.
        is_stdin_open: Whether it can get input.
        cpu: Seconds of processor time, None where that is not known.
        peak_bytes: Most memory so far, None where that is not known.
    """

    id: str
    label: str
    command: str
    pid: int | None
    is_running: bool
    exit: Exit | None
    age: float
    idle: float
    buffered_bytes: int
    dropped_bytes: int
    is_stdin_open: bool
    cpu: float | None
    peak_bytes: int | None


class Chunk(NamedTuple):
    """A piece of output.

    Attributes:
        data: The bytes.
        cursor: Where the next piece begins.
        dropped_bytes: What was lost on the way here.
        is_end: Whether the program has ended and this was the rest.
    """

    data: bytes
    cursor: str | None
    dropped_bytes: int
    is_end: bool


class KeptProcess:
    """A program by its id, which nobody but this capsule can use, for the same principal.

    Every method raises `NoSuchProcessError` when the id is unknown: the program was released,
    forgotten some minutes after its end, or is somebody else's.

    Args:
        process_id: From `process.keep`, stored anywhere.
    """

    def __init__(self, process_id: str) -> None:
        self.id = process_id

    def attach(self) -> Process:
        """A handle for this instance; closing it leaves the program alone."""
        return Process(self._call("attach"))

    def status(self) -> Info:
        """What is known about it."""
        return info_of(self._call("status"))

    def logs(self) -> Logs:
        """Take what it has written since the last call."""
        return logs_of(self._call("read_logs"))

    def read_since(
        self,
        cursor: str | None = None,
        *,
        stream: Literal["stdout", "stderr"] = "stdout",
        max_bytes: int = _PIECE_BYTES,
    ) -> Chunk:
        """Look at output from a place on; it stays for others.

        Args:
            cursor: From the chunk before; None for the oldest byte that is kept.
            stream: Which output.
            max_bytes: At most 4 MiB.

        Raises:
            ProcessError: `TooLargeError`, `InvalidInputError` for a cursor that is none.
        """
        which = host_type("process", "LogStream")[stream.upper()]
        place = host_type("process", "LogCursor")(cursor)
        found = self._call("read_since", which, place, max_bytes)
        return Chunk(found.data, found.next.token, found.bytes_dropped, found.drained_eof)

    def write(self, data: bytes) -> None:
        """Give it input, at most 1 MiB; waits until it was taken.

        Raises:
            ProcessError: `ClosedError` when it takes no more, `TooLargeError`, `CancelledError`.
        """
        self._call("write_stdin", data)

    def close_stdin(self) -> None:
        """No more input follows."""
        self._call("close_stdin")

    def signal(self, name: Signal) -> None:
        """Send a signal to it and to its children.

        Raises:
            ProcessError: `ClosedError` when it has ended.
            ValueError: There is no such signal to send.
        """
        self._call("signal", signal_of(name))

    def wait(self, timeout: float) -> Exit:
        """Wait for its end, for so many seconds.

        Raises:
            ProcessError: `HostTimeoutError`, `CancelledError`.
        """
        return exit_of(self._call("wait", milliseconds(timeout)))

    def stop(self, grace: float | None = None) -> Exit:
        """Ask it to end, insist after so many seconds (5, at most 30), and forget it."""
        return exit_of(self._call("stop", milliseconds(grace)))

    def release(self) -> None:
        """Forget one that has ended; an unknown one is no error.

        Raises:
            ProcessError: `InvalidInputError`: it still runs.
        """
        self._call("release_process")

    def watch(self, suffix: str | None = None) -> None:
        """Have the host publish what happens to it, instead of what it published before.

        On `astrid.process.v1.exited.SUFFIX` it says `{"id": ..., "exit": {"exit_code": 3, "signal":
        null}}` once it has ended, on `astrid.process.v1.log-ready.SUFFIX` `{"id": ...}` when it has
        written something, at most once a second. Take them with `interceptor`, or subscribe.

        Args:
            suffix: The last segment of the topics; the id when left out.

        Raises:
            ProcessError: `InvalidInputError`: the suffix is no segment of a topic.
        """
        self._call("watch", suffix)

    def unwatch(self) -> None:
        """Have nothing more published about it."""
        self._call("unwatch")

    def _call(self, name: str, *arguments: object) -> Any:
        return host_call("process", name, self.id, *arguments)


def info_of(found: Any) -> Info:
    """Read the record `process-info`."""
    return Info(
        id=found.id,
        label=found.label,
        command=found.command,
        pid=found.os_pid,
        is_running=found.phase.name != "EXITED",
        exit=None if found.exit is None else exit_of(found.exit),
        age=found.age_ms / 1000,
        idle=found.idle_ms / 1000,
        buffered_bytes=found.buffered_bytes,
        dropped_bytes=found.bytes_dropped,
        is_stdin_open=found.stdin_open,
        cpu=None if found.cpu_ms is None else found.cpu_ms / 1000,
        peak_bytes=found.mem_bytes_peak,
    )
