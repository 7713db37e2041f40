"""What a process has used, as the system counts it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from astrid_core.host.process_service import ProcessUsage

_TICKS: Final = os.sysconf("SC_CLK_TCK")


def usage_of(pid: int) -> ProcessUsage:
    """Processor time of a process and of those it waited for, and its largest memory."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return ProcessUsage(None, None)
    peak = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    ticks = sum(map(int, fields[11:15]))
    return ProcessUsage(ticks * 1000 // _TICKS, int(peak[0]) * 1024 if peak else None)
