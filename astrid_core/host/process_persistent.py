"""Host functions of `astrid:process@1.0.0` for processes that outlive their call, by an id.

Trusted with telling nobody about processes of others: an id that is unknown, malformed, released or
somebody else's is one and the same answer. Spec: host-abi 13.5.
"""

from __future__ import annotations

import re
import time
from typing import Final

from blake3 import blake3

from astrid_core.domain.process_request import MAX_FILE_BYTES, ProcessRequestError, parse_request
from astrid_core.host.handlers import HostPackage, handles
from astrid_core.host.instance import Instance
from astrid_core.host.process import ProcessHost, ProcessWork, logs_of
from astrid_core.host.process_events import publishes
from astrid_core.host.process_handle import ProcessHandle
from astrid_core.host.process_launch import ProcessLauncher
from astrid_core.host.process_records import (
    SIGNALS,
    LogChunk,
    LogsResult,
    ProcessInfo,
    error_answer,
)
from astrid_core.host.process_service import ExitInfo, PersistentProcess, Stream
from astrid_hookspecs.engines import WitError
from astrid_hookspecs.errors import CapabilityDeniedError, SandboxError

PERSISTENT: Final = "capabilities.allow_persistent"
MAX_READ_BYTES: Final = MAX_FILE_BYTES
DEFAULT_GRACE_MS: Final = 5_000
MAX_GRACE_MS: Final = 30_000
MAX_ASKED: Final = 1024
"""Ids in one question; there are never as many."""
_MS_PER_S: Final = 1000
_CURSOR: Final = re.compile(r"(\d{1,19})\.(\d{1,19})", re.ASCII)


class PersistentHost(HostPackage):
    """The functions of `astrid:process/host@1.0.0` that the shapes B and C add."""

    interface = "astrid:process/host@1.0.0"

    def __init__(self, instance: Instance) -> None:
        super().__init__(instance)
        self._launcher = ProcessLauncher(instance)
        self._work = ProcessWork(instance)

    @classmethod
    def foreseen(cls, error: Exception) -> WitError | None:
        """As `HostPackage.foreseen`; what needs `allow_persistent` is `persist-unsupported`."""
        lacks_right = isinstance(error, CapabilityDeniedError) and error.rule == PERSISTENT
        lacks_sandbox = isinstance(error, SandboxError) and error.code == "sandbox.unavailable"
        if lacks_right or lacks_sandbox:
            return WitError("persist-unsupported")
        return error_answer(error)

    @handles("spawn-persistent")
    def spawn_persistent(self, request: tuple[object, ...]) -> str:
        """Start a program that is known by an id from now on."""
        return self._launcher.persist("spawn-persistent", parse_request(request)).id

    @handles("attach")
    def attach(self, id: str) -> ProcessHandle:  # noqa: A002 - named as in the interface
        """A handle, whose drop lets go of the process."""
        found = self._find(id)
        return self.instance.package(ProcessHost).hold(found.process, owned=False)

    @handles("list-processes")
    def list_processes(self, label_filter: str | None) -> list[ProcessInfo]:
        """Those of the capsule for the principal, oldest first; with a label or all."""
        found = self.instance.services.processes.of(
            self.instance.context.id, self.instance.principal
        )
        return [_info(one) for one in found if label_filter is None or _label(one) == label_filter]

    @handles("status")
    def status(self, id: str) -> ProcessInfo:  # noqa: A002 - named as in the interface
        """What is known about one."""
        return _info(self._find(id))

    @handles("status-many")
    def status_many(self, ids: list[str]) -> list[ProcessInfo]:
        """What is known about several; the unknown are left out."""
        if len(ids) > MAX_ASKED:
            raise WitError("too-large")
        found = [self._lookup(process_id) for process_id in ids]
        return [_info(one) for one in found if one is not None]

    @handles("read-logs")
    def read_logs(self, id: str) -> LogsResult:  # noqa: A002 - named as in the interface
        """Take what was printed since the last time."""
        return logs_of(self._find(id).process)

    @handles("read-since")
    def read_since(
        self,
        id: str,  # noqa: A002 - named as in the interface
        which_stream: Stream,
        cursor: tuple[str | None],
        max_bytes: int,
    ) -> LogChunk:
        """Look at output from a position on; it stays for others."""
        process = self._find(id).process
        if max_bytes > MAX_READ_BYTES:
            raise WitError("too-large")
        position, dropped = _parse_cursor(cursor[0])
        chunk = process.output_since(which_stream, position, max_bytes=max_bytes)
        if cursor[0] is not None:
            dropped += max(0, chunk.start - position)
        end = chunk.start + len(chunk.data)
        is_end = chunk.is_end and process.exit is not None
        return LogChunk(chunk.data, (f"{end}.{dropped}",), dropped, is_end)

    @handles("write-stdin")
    def write_stdin(self, id: str, data: bytes) -> int:  # noqa: A002 - named as in the interface
        """Give it input; all of it or an error."""
        return self._work.write(self._find(id).process, data)

    @handles("close-stdin")
    def close_stdin(self, id: str) -> None:  # noqa: A002 - named as in the interface
        """No more input follows."""
        self._find(id).process.close_input()

    @handles("signal")
    def signal(self, id: str, sig: str) -> None:  # noqa: A002 - named as in the interface
        """Send a signal to all of it."""
        found = self._find(id)
        if found.process.exit is not None:
            raise WitError("closed")
        self._launcher.record("signal", found.process, {"signal": sig, **_hash(found)})
        if not found.process.signal(SIGNALS[sig]):
            raise WitError("closed")

    @handles("wait")
    def wait(self, id: str, timeout_ms: int) -> ExitInfo:  # noqa: A002 - named as in the interface
        """Wait for its end."""
        process = self._find(id).process
        self._work.wait(process.exited, timeout_ms=timeout_ms)
        return process.exit or ExitInfo(None, None)

    @handles("stop")
    def stop(self, id: str, grace_ms: int | None) -> ExitInfo:  # noqa: A002 - as in the interface
        """Ask it to end, insist after a while, and forget it."""
        found = self._find(id)
        grace = DEFAULT_GRACE_MS if grace_ms is None else grace_ms
        if grace > MAX_GRACE_MS:
            raise ProcessRequestError("a process gets at most 30 s to end")
        process = found.process
        if process.exit is None:
            self._launcher.record("stop", process, {"signal": "term", **_hash(found)})
            process.signal(SIGNALS["term"])
            try:
                self._work.wait(process.exited, timeout_ms=grace)
            except WitError as error:
                if error.case != "wait-timeout":
                    raise
            process.kill()
            self._work.wait(process.exited, timeout_ms=None)
        self.instance.services.processes.release(found)
        return process.exit or ExitInfo(None, None)

    @handles("release-process")
    def release_process(self, id: str) -> None:  # noqa: A002 - named as in the interface
        """Forget one that has ended; of an unknown one there is nothing to forget."""
        found = self._lookup(id)
        if found is None:
            return
        if found.process.exit is None:
            raise ProcessRequestError("it still runs")
        self.instance.services.processes.release(found)

    @handles("watch")
    def watch(self, id: str, suffix: str | None) -> None:  # noqa: A002 - named as in the interface
        """Publish what happens to one; watching again replaces the watch before."""
        found = self._find(id)
        tell = publishes(self.instance, found.id, suffix=found.id if suffix is None else suffix)
        self.instance.services.processes.watch(found, tell)

    @handles("unwatch")
    def unwatch(self, id: str) -> None:  # noqa: A002 - named as in the interface
        """Publish nothing about it any more; one that is not watched is no error."""
        self.instance.services.processes.unwatch(self._find(id))

    def _find(self, process_id: str) -> PersistentProcess:
        found = self._lookup(process_id)
        if found is None:
            raise WitError("no-such-process")
        return found

    def _lookup(self, process_id: str) -> PersistentProcess | None:
        instance = self.instance
        return instance.services.processes.find(instance.context.id, instance.principal, process_id)


def _parse_cursor(token: str | None) -> tuple[int, int]:
    if token is None:
        return 0, 0
    match = _CURSOR.fullmatch(token)
    if match is None:
        raise ProcessRequestError("a cursor comes from an earlier answer")
    return int(match[1]), int(match[2])


def _label(found: PersistentProcess) -> str:
    return found.process.launch.request.persistence.label


def _hash(found: PersistentProcess) -> dict[str, str]:
    return {"id_hash": blake3(found.id.encode()).hexdigest()}


def _info(found: PersistentProcess) -> ProcessInfo:
    process = found.process
    ended = process.exit
    buffered, dropped = process.output_facts()
    usage = process.usage()
    return ProcessInfo(
        id=found.id,
        label=_label(found),
        command=process.launch.command.argv[0],
        os_pid=process.os_pid(),
        phase="running" if ended is None else "exited",
        exit=ended,
        age_ms=int((time.monotonic() - process.started_s) * _MS_PER_S),
        idle_ms=int(found.idle_s * _MS_PER_S),
        buffered_bytes=buffered,
        bytes_dropped=dropped,
        stdin_open=process.is_input_open,
        cpu_ms=usage.cpu_ms,
        mem_bytes_peak=usage.peak_bytes,
    )
