"""Run the tools of a build as child processes that never outlive it.

A child gets a short environment, no terminal, its own process group and a time limit. It is killed
when the build is interrupted, however that happens.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from astrid_hookspecs.engines import Progress
from astrid_sdk_host.project import build_error

_PASSED_ON: Final = ("LANG", "LC_ALL", "PATH", "SYSTEMROOT", "TMPDIR")
_POLL_S: Final = 0.1
_LONGEST_OUTPUT: Final = 256 * 1024


class Finished(NamedTuple):
    """How a child ended.

    Attributes:
        status: Exit status, negative for a signal.
        output: What it wrote to both streams, the end of it when that is long.
        seconds: How long it ran.
    """

    status: int
    output: str
    seconds: float


class Expectation(NamedTuple):
    """What to report while a child runs: the step, and how long it took the last time."""

    step: str
    seconds: float


def run_child(
    command: Sequence[str],
    *,
    directory: Path,
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
    expect: Expectation | None = None,
    progress: Progress | None = None,
) -> Finished:
    """Run a command to its end.

    Args:
        command: Program and arguments.
        directory: Working directory.
        timeout_s: The child is killed after so many seconds.
        environment: Variables in addition to the few that are passed on.
        expect: For the progress reports.
        progress: Told about five times a second.

    Raises:
        CapsuleError: `capsule.build`: it could not be started, or ran too long.
    """
    inherited = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
    start = time.monotonic()
    with tempfile.TemporaryFile() as output:
        try:
            child = subprocess.Popen(  # noqa: S603 - commands are built here, not from input
                command,
                cwd=directory,
                env={**inherited, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise build_error(f"cannot start {command[0]}: {error.strerror}") from error
        try:
            while not _wait(child):
                elapsed = time.monotonic() - start
                if elapsed > timeout_s:
                    raise build_error(f"{Path(command[0]).name} did not finish in {timeout_s:g} s")
                if progress is not None and expect is not None:
                    report(progress, expect, elapsed)
        finally:
            _kill(child)
        size = output.seek(0, os.SEEK_END)
        output.seek(max(0, size - _LONGEST_OUTPUT))
        text = output.read().decode("utf-8", "replace")
    return Finished(child.returncode, text, time.monotonic() - start)


def report(progress: Progress, expect: Expectation, elapsed: float) -> None:
    """Say how far a step is, as far as that can be known: elapsed against the last time."""
    fraction = elapsed / expect.seconds
    progress(f"{expect.step}, about {expect.seconds:.0f} s", fraction if fraction < 1 else None)


def python_command(*arguments: str) -> list[str]:
    """This interpreter, isolated from the environment and the user's packages."""
    return [sys.executable, "-I", *arguments]


def _wait(child: subprocess.Popen[bytes]) -> bool:
    try:
        child.wait(_POLL_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End the child and whatever it started, also when the child itself has ended already."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
