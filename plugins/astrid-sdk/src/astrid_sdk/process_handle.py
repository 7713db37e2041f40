"""A program in the background, in this instance's hands. Made by `process`.

Spec: astrid:process@1.0.0 process-handle.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from astrid_sdk.bindings import guarded
from astrid_sdk.errors import host_error
from astrid_sdk.held import Held
from astrid_sdk.poll import Pollable
from astrid_sdk.process_calls import (
    Ended,
    Exit,
    Logs,
    Signal,
    ended_of,
    exit_of,
    logs_of,
    signal_of,
)
from astrid_sdk.times import milliseconds


class Killed(NamedTuple):
    """What ending a program by force came to.

    Attributes:
        was_running: Whether it was.
        exit: How it ended.
        stdout: The rest of its output.
        stderr: The rest of its error output.
    """

    was_running: bool
    exit: Exit | None
    stdout: str
    stderr: str


class Process(Held):
    """A program. Closing it ends one that `process.start` made, and lets go of one that is kept."""

    def logs(self) -> Logs:
        """Take what it has written since the last call.

        Raises:
            ProcessError: `ClosedError`.
        """
        return logs_of(self._call("read_logs"))

    def write(self, data: bytes) -> None:
        """Give it input, at most 1 MiB at a time and 4 MiB in all; waits until it was taken.

        Raises:
            ProcessError: `ClosedError` when it takes no more, `TooLargeError`, `CancelledError`.
        """
        self._call("write_stdin", data)

    def close_stdin(self) -> None:
        """No more input follows; again is no error."""
        self._call("close_stdin")

    def signal(self, name: Signal) -> None:
        """Send a signal to it and to its children.

        Raises:
            ProcessError: `ClosedError` when it has ended.
            ValueError: There is no such signal to send.
        """
        self._call("signal", signal_of(name))

    def kill(self) -> Killed:
        """End it by force and take what is left of its output."""
        found = self._call("kill")
        ended = None if found.exit is None else exit_of(found.exit)
        return Killed(found.killed, ended, found.stdout, found.stderr)

    def wait(self, timeout: float | None = None) -> Exit:
        """Wait for its end, for so many seconds, or without limit.

        Raises:
            ProcessError: `HostTimeoutError`, `CancelledError`; `InvalidInputError` when one that is
                kept is waited for without limit.
        """
        return exit_of(self._call("wait", milliseconds(timeout)))

    def communicate(self, data: bytes = b"", *, timeout: float | None = None) -> Ended:
        """Give it the rest of its input, wait for its end and take its output; raises as `wait`."""
        if data:
            self.write(data)
        self.close_stdin()
        return ended_of(self._call("wait_with_output", milliseconds(timeout)))

    @property
    def pid(self) -> int:
        """The number the operating system knows it by.

        Raises:
            ProcessError: `ClosedError` when it has ended.
        """
        number: int = self._call("os_pid")
        return number

    def ended(self) -> Pollable:
        """Ready when it has ended; for `poll.wait_any`."""
        return Pollable(self._call("subscribe_exit"))

    def has_output(self) -> Pollable:
        """Ready when it has written something, or will write nothing more."""
        return Pollable(self._call("subscribe_logs"))

    def _call(self, name: str, *arguments: object) -> Any:
        if self._handle is None:
            raise host_error("process", name.replace("_", "-"), "closed")
        return guarded("process", name, getattr(self._handle, name), *arguments)
