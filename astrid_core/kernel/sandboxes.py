"""Which sandbox confines processes: the first that works here, or none and then no process.

Trusted with that there is no third case. `ASTRID_SANDBOX_POLICY` is read for compatibility and can
only say what holds anyway. Spec: kernel-and-security 13.2, D-78.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from loguru import logger

from astrid_hookspecs.errors import SandboxError
from astrid_hookspecs.sandboxes import (
    ProcessSandbox,
    ProcessSandboxRecord,
    SandboxedCommand,
    SandboxRequest,
)

_POLICY: Final = "ASTRID_SANDBOX_POLICY"
_REQUIRED: Final = "required"
_HINT: Final = "install bubblewrap (apt install bubblewrap); 'astrid doctor' says what is missing"


@dataclass(frozen=True, slots=True)
class SandboxState:
    """One sandbox, as `astrid doctor` shows it.

    Attributes:
        name: Of its record.
        reason: Why it does not work on this machine; None when it does.
    """

    name: str
    reason: str | None


class Sandboxes:
    """The declared sandboxes, looked at on first need and once. Used by any thread.

    Args:
        records: Of all plugins.
        hidden: What no confined process sees, whoever starts it: the runtime home.
    """

    def __init__(
        self, records: Sequence[ProcessSandboxRecord], *, hidden: tuple[Path, ...] = ()
    ) -> None:
        self._hidden = hidden
        self._records = sorted(records, key=lambda record: (record.priority, record.name))
        self._lock = threading.Lock()
        self._chosen: ProcessSandbox | None = None

    def choose(self) -> ProcessSandbox:
        """The available one with the lowest priority.

        Raises:
            SandboxError: `sandbox.unavailable`: none works here; the message has every reason.
        """
        with self._lock:
            if self._chosen is None:
                self._chosen = self._first()
            return self._chosen

    def states(self) -> list[SandboxState]:
        """Every sandbox in the order in which they are tried."""
        return [SandboxState(record.name, _tried(record)[1]) for record in self._records]

    def _first(self) -> ProcessSandbox:
        warn_of_policy()
        reasons = []
        for record in self._records:
            sandbox, reason = _tried(record)
            if sandbox is not None and reason is None:
                logger.info("processes are confined by {}", record.name)
                return _Hiding(sandbox, self._hidden)
            reasons.append(f"{record.name}: {reason}")
        raise SandboxError(
            f"no process can be confined here ({'; '.join(reasons) or 'no plugin supplies a way'})",
            code="sandbox.unavailable",
            hint=_HINT,
        )


class _Hiding:
    """A sandbox whose requests hide what the kernel keeps for itself."""

    def __init__(self, sandbox: ProcessSandbox, hidden: tuple[Path, ...]) -> None:
        self._sandbox = sandbox
        self._hidden = hidden

    def unavailable_reason(self) -> str | None:
        """As `ProcessSandbox.unavailable_reason`."""
        return self._sandbox.unavailable_reason()

    def command(self, request: SandboxRequest) -> SandboxedCommand:
        """As `ProcessSandbox.command`."""
        return self._sandbox.command(replace(request, hidden=(*request.hidden, *self._hidden)))

    def signal_group(self, pid: int) -> int | None:
        """As `ProcessSandbox.signal_group`."""
        return self._sandbox.signal_group(pid)


def warn_of_policy(environ: Mapping[str, str] = os.environ) -> None:
    """Say that a policy which asks for less than a sandbox is not followed."""
    wanted = environ.get(_POLICY, _REQUIRED)
    if wanted != _REQUIRED:
        logger.warning(
            "{} is {!r}, which is treated as {!r}: no process is started without a sandbox",
            _POLICY,
            wanted[:32],
            _REQUIRED,
        )


def _tried(record: ProcessSandboxRecord) -> tuple[ProcessSandbox | None, str | None]:
    """A sandbox and why it does not work; one that fails to answer does not work."""
    try:
        sandbox = record.factory()
        return sandbox, sandbox.unavailable_reason()
    except Exception as error:  # noqa: BLE001 - whatever it is, the next sandbox may work
        logger.error("the sandbox {} cannot be used: {}", record.name, type(error).__name__)
        return None, f"it failed: {type(error).__name__}"
