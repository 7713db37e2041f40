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

from astrid_core.builtin.host_vfs.admission import AdmissionRules, OpenFiles, several_names
from astrid_core.builtin.host_vfs.beneath import DIRECTORY, Beneath
from astrid_core.builtin.host_vfs.file import HostFile, sync_directory
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
_LIST: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | os.O_CLOEXEC


class Tree:
    """Opens the files of one root. Safe from any thread.

    Args:
        beneath: How paths are opened.
        rules: What is admitted.
        durable: As in `open_host_directory`.

    Attributes:
        rules: As given.
        open_parent: Opens directories to name things in them.
        open_listing: Opens directories to list them.
    """

    def __init__(self, beneath: Beneath, rules: AdmissionRules, *, durable: bool) -> None:
        self.rules = rules
        self._durable = durable
        self.open_parent = beneath.opener(DIRECTORY)
        self.open_listing = beneath.opener(_LIST)
        self._openers = {mode: beneath.opener(*flags) for mode, flags in _FLAGS.items()}
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
        self._counted.take()
        try:
            descriptor = self._openers[mode](directory, path)
        except BaseException as error:
            self._counted.give_back()
            if isinstance(error, OSError):
                raise open_error(error) from error
            raise
        file = HostFile(descriptor, mode, self._counted)
        try:
            found = self.rules.check(descriptor)
            if not self.rules.multi_linked:
                self._need_only_name(directory, path, found)
            if mode == "write" and found.st_size:
                os.ftruncate(descriptor, 0)
        except BaseException as error:
            file.close()
            if isinstance(error, OSError):
                raise open_error(error) from error
            raise
        return file

    def keep_names(self, directory: int) -> None:
        """After names in a directory changed: wait until they are durable, where that is wanted.

        Raises:
            OSError: They may not be.
        """
        if self._durable:
            readable = os.open(b".", _LIST, dir_fd=directory)
            try:
                sync_directory(readable)
            finally:
                os.close(readable)

    def _need_only_name(self, directory: int, path: bytes, opened: os.stat_result) -> None:
        """Refuse a file whose only name is no longer the one it was opened by.

        Somebody can link an outside file into the tree, wait until it is open, and take the link
        away again: then the descriptor says one name, and it is the outside one. So the name is
        looked at once more: that it leads to this file, and that there is no other, is one answer.

        Raises:
            PathEscapeError: `vfs.hard-link`.
            VfsError: `vfs.link`: the name leads to something else now; open it again.
        """
        parent, _, name = path.rpartition(b"/")
        holder = self.open_parent(directory, parent) if parent else directory
        try:
            found = os.stat(name, dir_fd=holder, follow_symlinks=False)
        except FileNotFoundError as error:
            raise VfsError("the file lost its name", code="vfs.link") from error
        finally:
            if parent:
                os.close(holder)
        if (found.st_ino, found.st_dev) != (opened.st_ino, opened.st_dev):
            raise VfsError("the name leads to another file now", code="vfs.link")
        if found.st_nlink != 1:
            raise several_names()
