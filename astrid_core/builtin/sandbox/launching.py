"""Hands a confined process over to `launch.py`, the program that becomes it.

What the process is to be travels in environment variables of that program: not in its arguments,
which everybody on the machine can read, and not as variables of their own, which would act on the
program itself before it has confined anything.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from astrid_core.builtin.sandbox.seccomp import FilterRules, filter_program, this_machine
from astrid_hookspecs.errors import SandboxError
from astrid_hookspecs.sandboxes import SandboxedCommand, SandboxLimits, SandboxRequest

_LAUNCHER: Final = Path(__file__).with_name("launch.py")
_PIECE: Final = 30_000
"""Characters of one variable: four bytes each stay below the system's bound of 128 KiB."""
_MOST: Final = 1_300_000
"""Bytes of all of it, with room below the two MiB that systems allow."""
PROCESSES: Final = 512
OPEN_FILES: Final = 4096


def launched(
    request: SandboxRequest,
    *,
    rules: FilterRules,
    plan: Mapping[str, object],
    signals_as_codes: bool = False,
) -> SandboxedCommand:
    """The command that confines a process.

    Args:
        request: The process.
        rules: For the filter of system calls, where this machine has one.
        plan: What is particular to the sandbox: `bubblewrap` or `landlock`.
        signals_as_codes: As in `SandboxedCommand`.

    Raises:
        SandboxError: `sandbox.unsupported`: arguments and environment are too large to be passed.
    """
    machine = this_machine()
    program = b"" if machine is None else filter_program(machine, rules)
    text = json.dumps(
        {
            "parent": os.getpid(),
            "argv": request.argv,
            "cwd": str(request.starts_in or request.cwd),
            "environment": dict(request.environment),
            "limits": _limits(request.limits),
            "filter": base64.b64encode(program).decode(),
            **plan,
        },
        ensure_ascii=False,
    )
    if len(text.encode()) > _MOST:
        raise SandboxError(
            "arguments and environment of the process are too large", code="sandbox.unsupported"
        )
    pieces = [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]
    return SandboxedCommand(
        (sys.executable, "-I", "-S", "-B", str(_LAUNCHER)),
        {f"ASTRID_SANDBOX_{number}": piece for number, piece in enumerate(pieces)},
        signals_as_codes=signals_as_codes,
    )


def _limits(limits: SandboxLimits) -> dict[str, int | None]:
    return {
        "memory_bytes": limits.memory_bytes,
        "cpu_s": limits.cpu_s,
        "processes": min(limits.processes or PROCESSES, PROCESSES),
        "open_files": min(limits.open_files or OPEN_FILES, OPEN_FILES),
    }
