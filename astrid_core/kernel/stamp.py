"""Whether a small file of the operator is still the one that was read.

On the path of every call, so it makes one system call, and no more where there is no file.
"""

from __future__ import annotations

import os
import stat
from typing import TypeAlias

Stamp: TypeAlias = tuple[int, int, int]


def stamp_of(path: str) -> Stamp | None:
    """Modification time, size and inode of a file; None when nothing has that name.

    Raises:
        OSError: It cannot be looked at; or, as FileNotFoundError, it is a link to nothing, which
            must not pass for the absence of a file.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(status.st_mode):
        status = os.stat(path)  # noqa: PTH116 - as above
    return (status.st_mtime_ns, status.st_size, status.st_ino)
