"""What an open descriptor must be to become a file, and how many files may be open.

Trusted with the decision that content is handed out. It looks at the descriptor that was opened,
never at a name, so what is checked is what is used.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import Final

from astrid_hookspecs.errors import PathEscapeError, VfsError

MAX_OPEN_FILES: Final = 256
"""Per root, sub-directories included."""
SPARSE_FREE_BYTES: Final = 1024 * 1024
"""Files up to this size may be as sparse as they like."""
SPARSE_FACTOR: Final = 16
"""How many times more a larger file may promise than the disk holds of it."""
_BLOCK: Final = 512
_KIND: Final = 0o170000
_REGULAR: Final = stat.S_IFREG


@dataclass(frozen=True, slots=True)
class AdmissionRules:
    """How far the names in a tree are believed.

    Attributes:
        foreign: Others create files in the tree, and a sparse one may be a trap for whoever copies
            it.
        multi_linked: Files with several names are admitted, although another one may be outside.
    """

    foreign: bool
    multi_linked: bool

    def check(self, descriptor: int) -> os.stat_result:
        """Refuse what is not a file, or not surely a file of this tree.

        Raises:
            VfsError: `vfs.is-directory`; `vfs.access` for devices, pipes and sockets;
                `vfs.too-large` for a sparse file of a foreign tree.
            PathEscapeError: Rule `vfs.hard-link`.
        """
        found = os.fstat(descriptor)
        if found.st_mode & _KIND != _REGULAR:
            raise wrong_kind(found.st_mode)
        if found.st_nlink > 1 and not self.multi_linked:
            raise several_names()
        if self.foreign:
            size = found.st_size
            if size > SPARSE_FREE_BYTES and size > found.st_blocks * (_BLOCK * SPARSE_FACTOR):
                raise VfsError(
                    "the file is sparse: it promises far more bytes than the disk holds of it",
                    code="vfs.too-large",
                    hint="fill its holes, for example with cp --sparse=never",
                )
        return found


def wrong_kind(mode: int) -> VfsError:
    """The refusal of a node that is no regular file."""
    if stat.S_ISDIR(mode):
        return VfsError("it is a directory", code="vfs.is-directory")
    if stat.S_ISLNK(mode):
        return VfsError("it is a symbolic link", code="vfs.link")
    return VfsError("it is a device, pipe or socket, not a regular file", code="vfs.access")


def several_names() -> PathEscapeError:
    """The refusal of a file that may have a name outside."""
    return PathEscapeError(
        "the file has more than one name, and another one may lie outside the directory",
        rule="vfs.hard-link",
        hint='replace it by a copy, or set hard_links = "read" below [files] in etc/config.toml',
    )


class OpenFiles:
    """Counts the open files of one root. Safe from any thread: it is a list of permits."""

    def __init__(self, limit: int = MAX_OPEN_FILES) -> None:
        self._permits = [None] * limit

    def take(self) -> None:
        """Count one more.

        Raises:
            VfsError: `vfs.quota`: too many are open.
        """
        try:
            self._permits.pop()
        except IndexError:
            raise VfsError(
                f"{MAX_OPEN_FILES} files are open here, which is the limit",
                code="vfs.quota",
                hint="close files that are no longer used",
            ) from None

    def give_back(self) -> None:
        """Count one less."""
        self._permits.append(None)
