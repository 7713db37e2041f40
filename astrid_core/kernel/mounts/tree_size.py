"""How much the files below a directory take, however deep guests have piled them up.

Trusted with not being fooled: a guest can move directories into each other until no path of the
system leads to the last one. So it walks on descriptors, and says when it could not see everything.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

ENTRY_BYTES: Final = 512
"""What a name costs besides its content, so that empty files are not free."""
MAX_DEPTH: Final = 16_000
"""Directories whose path from the root has more characters are not looked into."""
_STEP: Final = 1000
"""Characters of a path that are opened at a time; the system takes 4096 bytes, four for each."""
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class TreeSize(NamedTuple):
    """What was found.

    Attributes:
        size_bytes: Of the files and of their names.
        is_whole: Whether everything was looked at.
    """

    size_bytes: int
    is_whole: bool

    def plus(self, other: TreeSize) -> TreeSize:
        """Both together."""
        return TreeSize(self.size_bytes + other.size_bytes, self.is_whole and other.is_whole)


def tree_size(root: Path, *, leave_out: frozenset[str] = frozenset()) -> TreeSize:
    """Measure a tree; 0 for one that is not there.

    Args:
        root: Links in it are not followed.
        leave_out: Names directly below it that do not count.
    """
    try:
        top = os.open(root, _DIRECTORY)
    except OSError as error:
        return TreeSize(0, isinstance(error, FileNotFoundError))
    try:
        return _measure(top, leave_out)
    finally:
        os.close(top)


def _measure(top: int, leave_out: frozenset[str]) -> TreeSize:
    size, is_whole = 0, True
    waiting = [("", "")]
    while waiting:
        above, name = waiting.pop()
        path = f"{above}/{name}" if above else name
        try:
            directory = _open(top, path)
        except OSError as error:
            is_whole &= isinstance(error, FileNotFoundError | NotADirectoryError)  # gone meanwhile
            continue
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if not path and entry.name in leave_out:
                        continue
                    size += ENTRY_BYTES
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append((path, entry.name))
                    elif entry.is_file(follow_symlinks=False):
                        size += _size(entry)
        finally:
            os.close(directory)
    return TreeSize(size, is_whole)


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0


def _open(top: int, path: str) -> int:
    """Open a directory by parts of its path that the system takes.

    Raises:
        OSError: It cannot be opened, or is too deep.
    """
    if len(path) > MAX_DEPTH:
        raise OSError("it is too deep")
    directory = os.dup(top)
    rest = path or "."
    while rest:
        step, rest = _split(rest)
        try:
            below = os.open(step, _DIRECTORY, dir_fd=directory)
        finally:
            os.close(directory)
        directory = below
    return directory


def _split(path: str) -> tuple[str, str]:
    """A beginning that is short enough, and the rest."""
    if len(path) <= _STEP:
        return path, ""
    at = path.rfind("/", 0, _STEP)
    return (path, "") if at < 0 else (path[:at], path[at + 1 :])
