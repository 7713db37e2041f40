"""Stops a daemon and waits until its process is gone.

Trusted with whom a signal goes to: the process that listens on the socket or holds the lock of the
home, held by a descriptor where the system has such, so that its number cannot become another's.
Spec: cli-and-ux 6.4, 16 U-22.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from pathlib import Path
from typing import Final, Literal

from astrid_core.daemon.client_errors import DaemonError, RemoteError
from astrid_core.daemon.run_files import RunFiles
from astrid_core.daemon.survey import Survey, survey
from astrid_core.kernel.home import Home, HomeLockedError
from astrid_core.kernel.home_lock import is_alive
from astrid_hookspecs.values import Principal

STOP_TIMEOUT_S: Final = 10.0
KILL_AFTER_S: Final = 3.0
ASK_TIMEOUT_S: Final = 5.0
LOOK_S: Final = 0.02

Outcome = Literal["stopped", "killed", "cleaned", "not-running"]


class StopFailedError(DaemonError):
    """The daemon did not end."""

    default_code = "daemon.stop"


class Process:
    """A process that is not a child of ours.

    Args:
        pid: Its number.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor: int | None = None
        self._is_gone = False
        if hasattr(os, "pidfd_open"):
            try:
                self._descriptor = os.pidfd_open(pid)
            except ProcessLookupError:
                self._is_gone = True  # from now on the number may be another's
            except OSError:  # the system has no such thing
                return

    def send(self, number: signal.Signals) -> None:
        """Send a signal; harmless when it is gone."""
        if self._is_gone:
            return
        with contextlib.suppress(ProcessLookupError):
            if self._descriptor is not None:
                signal.pidfd_send_signal(self._descriptor, number)
            else:
                os.kill(self.pid, number)

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; False when it has not come in time."""
        if self._is_gone:
            return True
        if self._descriptor is not None:
            return bool(select.select([self._descriptor], [], [], timeout_s)[0])
        deadline = time.monotonic() + timeout_s
        while is_alive(self.pid):
            if time.monotonic() >= deadline:
                return False
            time.sleep(LOOK_S)
        return True

    def close(self) -> None:
        """Let go of it."""
        if self._descriptor is not None:
            os.close(self._descriptor)


def stop_daemon(
    home: Path,
    *,
    principal: Principal | None = None,
    force: bool = False,
    timeout_s: float = STOP_TIMEOUT_S,
) -> Outcome:
    """Stop the daemon of a home; when this returns, its process is gone.

    A process that holds the home without being a daemon that serves is waited for, never stopped:
    it may be another command.

    Args:
        home: The runtime home.
        principal: For whom to ask; None for the owner.
        force: Kill it when it does not end in time.
        timeout_s: How long it may take.

    Returns:
        `stopped`; `killed` with force; `cleaned` when only files of a killed one were there;
        `not-running` when there was nothing.

    Raises:
        StopFailedError: It did not end, or nobody knows which process it is.
        RemoteError: It refused to stop.
    """
    found = survey(home, principal=principal)
    if found.state == "stopped":
        return "not-running"
    if found.state == "stale":
        _clean(home)
        return "cleaned"
    with contextlib.ExitStack() as stack:
        if found.client is not None:
            stack.callback(found.client.close)
        process = _process_of(found)
        stack.callback(process.close)
        _ask(found, process)
        if process.wait(min(timeout_s, KILL_AFTER_S) if force else timeout_s):
            _clean(home)
            return "stopped"
        if not force or found.state == "busy":
            raise StopFailedError(
                f"process {process.pid} did not end in time",
                hint="kill it with: astrid stop --force" if found.state != "busy" else None,
            )
        process.send(signal.SIGKILL)
        if not process.wait(timeout_s):
            raise StopFailedError(f"process {process.pid} cannot be killed")
    _clean(home)
    return "killed"


def _process_of(found: Survey) -> Process:
    pid = found.pid
    if pid is None and found.client is not None:
        pid = found.client.request("GetStatus").data["pid"]
    if pid is None:
        raise StopFailedError(
            "a daemon is there, but not which process it is", hint="end it where it runs"
        )
    return Process(pid)


def _ask(found: Survey, process: Process) -> None:
    """Ask it to end: by a request, or by a signal where it takes none."""
    if found.state == "busy":
        return
    if found.client is not None:
        try:
            found.client.request("Shutdown", {"reason": "astrid stop"}, timeout_s=ASK_TIMEOUT_S)
        except RemoteError as error:
            if error.rule != "requests-per-minute":  # it was asked before; once more is no harm
                raise
        except DaemonError:
            pass  # it is ending, or does not answer
        else:
            return
    process.send(signal.SIGTERM)


def _clean(home: Path) -> None:
    """Remove what a daemon that is gone left in `run/`, unless somebody else has the home now."""
    try:
        with Home.open(home).lock():
            RunFiles(home / "run").remove()
    except HomeLockedError:
        return
