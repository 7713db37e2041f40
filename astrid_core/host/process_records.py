"""Records, signals and error cases of `astrid:process@1.0.0`. Spec: host-abi 13, 18.2."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from astrid_core.domain.process_request import ProcessRequestError
from astrid_core.host.process_service import ExitInfo
from astrid_hookspecs.engines import WitError
from astrid_hookspecs.errors import PathEscapeError, QuotaExceededError, SandboxError

SIGNALS: Final[Mapping[str, signal.Signals]] = MappingProxyType(
    {
        "term": signal.SIGTERM,
        "hup": signal.SIGHUP,
        "usr1": signal.SIGUSR1,
        "usr2": signal.SIGUSR2,
        "int": signal.SIGINT,
        "stop": signal.SIGSTOP,
        "cont": signal.SIGCONT,
    }
)


class ProcessResult(NamedTuple):
    """The record `process-result`."""

    stdout: str
    stderr: str
    exit: ExitInfo


class LogsResult(NamedTuple):
    """The record `read-logs-result`."""

    stdout: str
    stderr: str
    running: bool
    exit: ExitInfo | None


class KillResult(NamedTuple):
    """The record `kill-result`."""

    killed: bool
    exit: ExitInfo | None
    stdout: str
    stderr: str


class LogChunk(NamedTuple):
    """The record `log-chunk`."""

    data: bytes
    next: tuple[str | None]
    bytes_dropped: int
    drained_eof: bool


class ProcessInfo(NamedTuple):
    """The record `process-info`."""

    id: str
    label: str
    command: str
    os_pid: int | None
    phase: str
    exit: ExitInfo | None
    age_ms: int
    idle_ms: int
    buffered_bytes: int
    bytes_dropped: int
    stdin_open: bool
    cpu_ms: int | None
    mem_bytes_peak: int | None


def lossy(data: bytes) -> str:
    """Output as text; what is no UTF-8 becomes replacement characters."""
    return data.decode("utf-8", "replace")


def error_answer(error: Exception) -> WitError | None:
    """The error case for what the functions raise; None for what they do not foresee."""
    if isinstance(error, ProcessRequestError):
        return WitError(error.code.rpartition(".")[2])
    if isinstance(error, PathEscapeError):
        return WitError("boundary-escape")
    if isinstance(error, QuotaExceededError) and error.code == "process.registry-full":
        return WitError("registry-full")
    if isinstance(error, SandboxError):
        if error.code == "sandbox.unsupported":
            return WitError("invalid-input")
        return WitError("unknown", _WORDS.get(error.code, "the process could not be started"))
    return None


_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "sandbox.unavailable": "this machine cannot confine processes",
        "process.no-program": "there is no such program",
    }
)
"""Said to guests, who hear nothing about the machine."""
