"""Files that a guest hands to a process: a copy of its own, read-only, gone with the process."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from pathlib import Path

from astrid_core.domain.process_request import InjectedFile
from astrid_hookspecs.sandboxes import SandboxFile


class Snapshots:
    """The files of one process.

    Args:
        parent: A directory of the kernel's own; made on first need.
        files: What the guest gave.

    Attributes:
        files: What the sandbox shows.
        variables: Environment variables that lead to them.

    Raises:
        OSError: They cannot be written.
    """

    def __init__(self, parent: Path, files: tuple[InjectedFile, ...]) -> None:
        self._directory = parent / secrets.token_hex(16)
        self.variables: dict[str, str] = {}
        shown = []
        if files:
            parent.mkdir(mode=0o700, exist_ok=True)
            self._directory.mkdir(mode=0o700)
        try:
            for number, file in enumerate(files):
                place = self._directory / str(number)
                _write(place, file.content)
                if file.variable is not None:
                    self.variables[file.variable] = str(place)
                shown.append(SandboxFile(place, None if file.path is None else Path(file.path)))
        except OSError:
            self.close()
            raise
        self.files = tuple(shown)

    def close(self) -> None:
        """Remove them."""
        shutil.rmtree(self._directory, ignore_errors=True)


def clear_snapshots(parent: Path) -> None:
    """Remove what a kernel that was killed left behind."""
    with contextlib.suppress(OSError):
        shutil.rmtree(parent)


def _write(place: Path, content: bytes) -> None:
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
