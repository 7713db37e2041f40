"""File writes that a crash cannot tear.

Trusted with bytes and permissions: what it writes is complete, durable and of the given mode from
its first instant, or not there at all.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def fsync_directory(path: Path) -> None:
    """Make creations, renames and removals inside `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_temporary(path: Path, data: bytes, *, mode: int) -> Path:
    """Write a durable file of exactly `mode` beside `path` under a name nobody can know."""
    temporary = path.with_name(f".{path.name[:64]}.{secrets.token_hex(8)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, mode)
    try:
        os.fchmod(descriptor, mode)
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    except BaseException:
        temporary.unlink()
        raise
    finally:
        os.close(descriptor)
    return temporary


def write_atomic(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Create or replace a file so that a crash leaves the old or the new content, never a mix.

    The file has `mode` from its first instant and is durable when this returns. A symbolic link at
    `path` is replaced, not followed.
    """
    temporary = _write_temporary(path, data, mode=mode)
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink()
        raise
    fsync_directory(path.parent)


def create_exclusive(path: Path, data: bytes, *, mode: int = 0o600) -> bool:
    """Create a file complete and durable in one step, unless something has that name.

    Returns:
        False, with nothing changed, when the name is taken.
    """
    temporary = _write_temporary(path, data, mode=mode)
    try:
        # A hard link fails if the name exists, like O_EXCL, but what appears is never half written.
        os.link(temporary, path, follow_symlinks=False)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    fsync_directory(path.parent)
    return True
