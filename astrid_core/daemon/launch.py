"""Starts a daemon in the background and waits until it serves.

Trusted with what the new process runs and inherits: this interpreter and installation, no terminal
and no descriptor of ours; nothing is imported from the directory somebody happens to be in. Of
several starts at once one wins, and the others find its daemon. Spec: cli-and-ux 6.1, 6.4.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from astrid_core.daemon.client import DaemonClient
from astrid_core.daemon.client_errors import DaemonError
from astrid_core.daemon.survey import survey
from astrid_core.kernel.home import Home
from astrid_core.kernel.home_lock import is_alive

START_TIMEOUT_S: Final = 10.0
LOOK_S: Final = 0.02
OUTPUT_NAME: Final = "daemon.out"
_MAX_OUTPUT: Final = 64 * 1024
_KILL_AFTER_S: Final = 2.0


class StartFailedError(DaemonError):
    """The daemon ended before it was ready, or did not become ready in time."""

    default_code = "daemon.start"


class Launch(NamedTuple):
    """How a daemon process is started.

    Attributes:
        workspace: Project directory, absolute.
        is_ephemeral: Ends soon after its last client has left.
        is_verbose: Logs more.
    """

    workspace: Path
    is_ephemeral: bool = False
    is_verbose: bool = False

    def command(self) -> list[str]:
        """The command line. `-P`: a module in the current directory is nobody's daemon."""
        words = [sys.executable, "-P", "-m", "astrid_core.daemon", "-w", str(self.workspace)]
        if self.is_ephemeral:
            words.append("--ephemeral")
        if self.is_verbose:
            words.append("--verbose")
        return words


class Started(NamedTuple):
    """A daemon that serves.

    Attributes:
        client: Connected to it; the caller closes it.
        is_new: Whether this call started it.
    """

    client: DaemonClient
    is_new: bool


def start_daemon(home: Path, launch: Launch, *, timeout_s: float = START_TIMEOUT_S) -> Started:
    """Connect to the daemon of a home, starting one when there is none.

    Waits for a process that holds the home and is not ready yet.

    Args:
        home: The runtime home; made on first use.
        launch: How to start it.
        timeout_s: Until it has to be ready.

    Raises:
        StartFailedError: With the reason that the daemon gave. What was started is ended.
        SilentDaemonError, RefusedError: One runs that cannot be used; no second one is started.
        ConfigError: The home cannot be used.
    """
    directory = Home.open(home).log
    deadline = time.monotonic() + timeout_s
    child: _Child | None = None
    try:
        while True:
            found = survey(home)
            if found.client is not None:
                is_new = child is not None and child.pid == found.client.pid
                if child is not None and is_new:
                    child.settle(keep=True)
                    child = None
                return Started(found.client, is_new)
            if found.state in ("silent", "refused") and found.error is not None:
                raise found.error
            if child is not None and not child.is_running():
                child.report_failure(is_held=found.state == "busy")
                child = None
            if child is None and found.state != "busy":
                child = _Child(launch, directory)
            if time.monotonic() >= deadline:
                raise _too_slow(found.pid, timeout_s)
            time.sleep(LOOK_S)
    finally:
        if child is not None:
            child.end()


def _too_slow(pid: int | None, timeout_s: float) -> StartFailedError:
    holder = "" if pid is None else f"; process {pid} holds the home"
    return StartFailedError(
        f"no daemon became ready within {timeout_s:g} s{holder}",
        hint="see what it did with 'astrid logs', or give it longer with --timeout",
    )


class _Child:
    """A daemon process of ours that is not ready yet."""

    def __init__(self, launch: Launch, log_directory: Path) -> None:
        self._kept = log_directory / OUTPUT_NAME
        self._output = log_directory / f"daemon-{os.getpid()}.out"
        _remove_abandoned(log_directory)
        with _new_file(self._output) as output:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, this package
                launch.command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_running(self) -> bool:
        return self._process.poll() is None

    def settle(self, *, keep: bool) -> None:
        """Nobody waits for it any more: its output file is the daemon's, or is nobody's."""
        with suppress(FileNotFoundError):
            if keep:
                self._output.replace(self._kept)
            else:
                self._output.unlink()
        if self._process.returncode is None:
            self._process.returncode = 0  # it outlives this process, which is no mistake

    def report_failure(self, *, is_held: bool) -> None:
        """Forget a child that ended because somebody else came first.

        Raises:
            StartFailedError: It ended for another reason.
        """
        said = self._said()
        self.settle(keep=False)
        if is_held or "is using the runtime home" in said:
            return
        if not said and os.statvfs(self._kept.parent).f_bavail == 0:  # nothing could be written
            raise StartFailedError(
                f"the daemon did not start: no space is left for {self._kept.parent}",
                hint="free some space, or move ASTRID_HOME to another disk",
            )
        message, _, hint = said.removeprefix("✗ error: ").partition("\n  hint: ")
        raise StartFailedError(
            f"the daemon did not start: {message.strip() or self._status()}",
            hint=hint.strip() or "see what it did with 'astrid logs'",
        )

    def end(self) -> None:
        """Stop it: it did not become ready, or another one did before."""
        self._process.terminate()
        try:
            self._process.wait(_KILL_AFTER_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.unlink(missing_ok=True)

    def _said(self) -> str:
        with self._output.open("rb") as file:
            return file.read(_MAX_OUTPUT).decode("utf-8", "replace").strip()

    def _status(self) -> str:
        code = self._process.returncode
        return f"it was ended by signal {-code}" if code < 0 else f"it ended with status {code}"


def _remove_abandoned(directory: Path) -> None:
    """Remove what those left that were killed while they waited for a daemon."""
    for output in directory.glob("daemon-*.out"):
        number = output.stem.removeprefix("daemon-")
        if number.isdecimal() and not is_alive(int(number)):
            output.unlink(missing_ok=True)


def _new_file(path: Path) -> BinaryIO:
    """An empty file that only this user can read."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "wb")
