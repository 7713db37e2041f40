"""Host functions of `astrid:process@1.0.0` that live with the instance: spawn, and the handle.

Trusted with the order of checks: the request, the gate, the workspace, the limits, the audit log,
and then the process. What a guest holds ends with its instance. Spec: host-abi 13.1 to 13.4.
"""

from __future__ import annotations

from typing import Final

from astrid_core.domain.process_request import (
    MAX_STDIN_BYTES,
    MAX_WRITE_BYTES,
    ProcessRequestError,
    parse_request,
)
from astrid_core.host.handlers import HostPackage, handles
from astrid_core.host.instance import Instance, Waited
from astrid_core.host.pollable import Pollable
from astrid_core.host.process_handle import ProcessHandle
from astrid_core.host.process_launch import ProcessLauncher
from astrid_core.host.process_records import (
    SIGNALS,
    KillResult,
    LogsResult,
    ProcessResult,
    error_answer,
    lossy,
)
from astrid_core.host.process_service import ExitInfo, RunningProcess
from astrid_hookspecs.cancel import WaitSource
from astrid_hookspecs.engines import WitError

_MS_PER_S: Final = 1000


class ProcessWork:
    """What both tiers do with a running process, for one instance.

    Args:
        instance: For whom.
    """

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    def wait(self, source: WaitSource, *, timeout_ms: int | None) -> None:
        """Wait for a process.

        Raises:
            WitError: `wait-timeout`, `cancelled`.
        """
        timeout_s = None if timeout_ms is None else timeout_ms / _MS_PER_S
        waited = self._instance.wait((source,), timeout_s=timeout_s)
        if waited is not Waited.READY:
            raise WitError("cancelled" if waited is Waited.CANCELLED else "wait-timeout")

    def write(self, process: RunningProcess, data: bytes) -> int:
        """Give it input, and wait until it took it.

        Raises:
            WitError: `too-large`, `closed`, `cancelled`; part of it may have been read.
        """
        if len(data) > MAX_WRITE_BYTES:
            raise WitError("too-large")
        if not process.write(data):
            raise WitError("closed")
        if self._instance.wait((process.input_taken,), timeout_s=None) is not Waited.READY:
            process.close_input(at_once=True)
            raise WitError("cancelled")
        if process.is_input_lost:
            raise WitError("closed")
        return len(data)


class ProcessHost(HostPackage):
    """The functions of `astrid:process/host@1.0.0` that every shape has."""

    interface = "astrid:process/host@1.0.0"

    def __init__(self, instance: Instance) -> None:
        super().__init__(instance)
        self._launcher = ProcessLauncher(instance)
        self._work = ProcessWork(instance)

    @classmethod
    def foreseen(cls, error: Exception) -> WitError | None:
        """As `HostPackage.foreseen`."""
        return error_answer(error)

    @handles("spawn")
    def spawn(self, request: tuple[object, ...]) -> ProcessResult:
        """Run a program to its end."""
        process = self._launcher.start("spawn", parse_request(request), tier="waited")
        try:
            self._work.wait(process.drained, timeout_ms=None)
            stdout, stderr = process.take_output()
            return ProcessResult(lossy(stdout), lossy(stderr), _ended(process))
        finally:
            process.close()

    @handles("spawn-background")
    def spawn_background(self, request: tuple[object, ...]) -> ProcessHandle:
        """Run a program beside the guest, until its handle is dropped."""
        checked = parse_request(request)
        process = self._launcher.start("spawn-background", checked, tier="background")
        return self.hold(process, owned=True)

    def hold(self, process: RunningProcess, *, owned: bool) -> ProcessHandle:
        """Hand a process to the guest."""
        handle = ProcessHandle(process, owned=owned, dropped=self.instance.release)
        self.instance.hold(handle)
        return handle

    @handles("[method]process-handle.read-logs")
    def read_logs(self, handle: ProcessHandle) -> LogsResult:
        """Take what was printed since the last time."""
        return logs_of(handle.check_use(self.instance.principal))

    @handles("[method]process-handle.write-stdin")
    def write_stdin(self, handle: ProcessHandle, data: bytes) -> int:
        """Give it input; all of it or an error."""
        process = handle.check_use(self.instance.principal)
        if handle.written_bytes + len(data) > MAX_STDIN_BYTES:
            raise WitError("too-large")
        handle.written_bytes += len(data)
        return self._work.write(process, data)

    @handles("[method]process-handle.close-stdin")
    def close_stdin(self, handle: ProcessHandle) -> None:
        """No more input follows."""
        handle.check_use(self.instance.principal).close_input()

    @handles("[method]process-handle.signal")
    def signal(self, handle: ProcessHandle, sig: str) -> None:
        """Send a signal to all of it."""
        process = handle.check_use(self.instance.principal)
        if process.exit is not None:
            raise WitError("closed")
        self._launcher.record("signal", process, {"signal": sig})
        if not process.signal(SIGNALS[sig]):
            raise WitError("closed")

    @handles("[method]process-handle.kill")
    def kill(self, handle: ProcessHandle) -> KillResult:
        """End all of it, and take the rest of what it printed."""
        process = handle.check_use(self.instance.principal)
        was_running = process.exit is None
        if was_running:
            self._launcher.record("kill", process, {"signal": "kill"})
            process.kill()
        self._work.wait(process.drained, timeout_ms=None)
        stdout, stderr = process.take_output()
        return KillResult(was_running, process.exit, lossy(stdout), lossy(stderr))

    @handles("[method]process-handle.wait")
    def wait(self, handle: ProcessHandle, timeout_ms: int | None) -> ExitInfo:
        """Wait for its end."""
        process = handle.check_use(self.instance.principal)
        if timeout_ms is None and not handle.owned:
            raise ProcessRequestError("an attached process is waited for with a bound")
        self._work.wait(process.exited, timeout_ms=timeout_ms)
        return _ended(process)

    @handles("[method]process-handle.wait-with-output")
    def wait_with_output(self, handle: ProcessHandle, timeout_ms: int | None) -> ProcessResult:
        """Wait for its end, and take what it printed."""
        process = handle.check_use(self.instance.principal)
        if timeout_ms is None and not handle.owned:
            raise ProcessRequestError("an attached process is waited for with a bound")
        self._work.wait(process.drained, timeout_ms=timeout_ms)
        stdout, stderr = process.take_output()
        return ProcessResult(lossy(stdout), lossy(stderr), _ended(process))

    @handles("[method]process-handle.os-pid")
    def os_pid(self, handle: ProcessHandle) -> int:
        """The system's number of it."""
        pid = handle.check_use(self.instance.principal).os_pid()
        if pid is None:
            raise WitError("closed")
        return pid

    @handles("[method]process-handle.subscribe-exit")
    def subscribe_exit(self, handle: ProcessHandle) -> Pollable:
        """A pollable that is ready once it has ended."""
        return handle.pollable("exited")

    @handles("[method]process-handle.subscribe-logs")
    def subscribe_logs(self, handle: ProcessHandle) -> Pollable:
        """A pollable that is ready while output waits, and at its end."""
        return handle.pollable("has_output")


def logs_of(process: RunningProcess) -> LogsResult:
    """Take what a process printed since the last time; the end is told only with all of it."""
    ended = process.exit
    stdout, stderr = process.take_output()
    return LogsResult(lossy(stdout), lossy(stderr), ended is None, ended)


def _ended(process: RunningProcess) -> ExitInfo:
    return process.exit or ExitInfo(None, None)
