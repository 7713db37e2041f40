"""What all directory handles of one root share: strategy, rules, and the count of open files.

Trusted with opening files. A file is opened without blocking and without emptying it, its
descriptor is checked, and only then it is emptied or handed out.

It is one open with `O_NONBLOCK | O_NOCTTY`, not `O_PATH` first and the file again through `/proc`:
that costs six times a plain open instead of two, and needs `/proc`. What it gives up is that a
device node is opened for an instant before it is refused; making one takes the machine's root,
which is trusted. A pipe never blocks, a socket cannot be opened at all.
"""

from __future__ import annotations

import os
from typing import Final

from astrid_core.builtin.host_vfs.admission import AdmissionRules, OpenFiles
from astrid_core.builtin.host_vfs.beneath import Beneath
from astrid_core.builtin.host_vfs.file import HostFile
from astrid_core.builtin.host_vfs.naming import open_error
from astrid_hookspecs.errors import VfsError
from astrid_hookspecs.vfs import OpenMode

FILE_MODE: Final = 0o644
"""Permission bits of new files; the umask takes some away, except in `replace`."""

_QUIET: Final = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FLAGS: Final[dict[OpenMode, tuple[int, int]]] = {
    "read": (os.O_RDONLY | _QUIET, 0),
    "read-write": (os.O_RDWR | _QUIET, 0),
    "write": (os.O_WRONLY | os.O_CREAT | _QUIET, FILE_MODE),
    "append": (os.O_WRONLY | os.O_CREAT | os.O_APPEND | _QUIET, FILE_MODE),
}


class Tree:
    """Opens the files of one root. Safe from any thread.

    Args:
        beneath: How paths are opened.
        rules: What is admitted.
    """

    def __init__(self, beneath: Beneath, rules: AdmissionRules) -> None:
        self.beneath = beneath
        self.rules = rules
        self._counted = OpenFiles()

    def open_file(self, directory: int, path: bytes, mode: OpenMode) -> HostFile:
        """Open a regular file below a directory descriptor.

        Args:
            directory: Where the path begins.
            path: Canonical, not empty.
            mode: As in `VfsDirectory.open`.

        Raises:
            VfsError, PathEscapeError: As `VfsDirectory.open`.
        """
        if mode not in _FLAGS:
            raise VfsError(f"{mode!r} is no way to open a file", code="vfs.unsupported")
        flags, bits = _FLAGS[mode]
        self._counted.take()
        try:
            descriptor = self.beneath.open(directory, path, flags, bits)
        except BaseException as error:
            self._counted.give_back()
            if isinstance(error, OSError):
                raise open_error(error) from error
            raise
        file = HostFile(descriptor, mode, self._counted)
        try:
            found = self.rules.check(descriptor)
            if mode == "write" and found.st_size:
                os.ftruncate(descriptor, 0)
        except BaseException as error:
            file.close()
            if isinstance(error, OSError):
                raise open_error(error) from error
            raise
        return file
