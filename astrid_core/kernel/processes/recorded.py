"""Which processes run, on disk: what a killed kernel left behind is ended at the next boot.

A confined process dies with its kernel, so usually there is nothing to do. A record names the
process by number and start time within one boot of the machine, so that nobody else is hit.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from loguru import logger


class ProcessRecords:
    """One empty file per running process, in a directory of the kernel's own.

    Args:
        directory: Below the runtime home; made on first need.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def add(self, pid: int) -> None:
        """Record that a process runs; best effort, as the sandbox ends it anyway."""
        name = _name(pid)
        if name is not None:
            with contextlib.suppress(OSError):
                self._directory.mkdir(mode=0o700, exist_ok=True)
                (self._directory / name).touch(mode=0o600)

    def remove(self, pid: int) -> None:
        """Forget a process that was waited for."""
        for record in self._directory.glob(f"{pid}-*"):
            with contextlib.suppress(OSError):
                record.unlink()

    def end_leftovers(self) -> int:
        """End what a kernel before this one left running.

        Returns:
            How many process groups that were.
        """
        count = 0
        for record in self._directory.glob("*-*"):
            text = record.name.partition("-")[0]
            if text.isdigit() and _name(int(text)) == record.name:
                with contextlib.suppress(OSError):
                    os.killpg(int(text), signal.SIGKILL)
                    count += 1
            with contextlib.suppress(OSError):
                record.unlink()
        if count:
            logger.warning("{} processes of a kernel that was killed are ended", count)
        return count


def _name(pid: int) -> str | None:
    """Number, start time and boot, which together name a process for good."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    return f"{pid}-{fields[19]}-{boot}"
