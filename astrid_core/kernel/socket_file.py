"""Listening at a path, where a process that was killed may have left something.

Trusted with binding only where nobody else listens. Whoever makes a socket holds the lock of its
home. Spec: kernel-and-security 3.1.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from pathlib import Path
from typing import Final

from loguru import logger

MAX_PATH_BYTES: Final = 107 if sys.platform == "linux" else 103
BACKLOG: Final = 128
PROBE_TIMEOUT_S: Final = 1.0


def path_bytes(path: Path) -> int:
    """How long the path is for the system; above `MAX_PATH_BYTES` nothing can be bound there."""
    return len(os.fsencode(path))


def listen_at(path: Path) -> socket.socket:
    """Listen there, after clearing away what nobody answers on.

    Args:
        path: In a directory that only this user can enter.

    Returns:
        A listening, non-blocking socket, whose file has mode 0600.

    Raises:
        OSError: EADDRINUSE when somebody listens there; ENAMETOOLONG; EISDIR and others when what
            is there does not look stale, and stays.
    """
    if path_bytes(path) > MAX_PATH_BYTES:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    _clear(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(os.fspath(path))
        path.chmod(0o600)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _clear(path: Path) -> None:
    try:
        kind = stat.S_IFMT(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if kind == stat.S_IFLNK:
        logger.warning("{} was a symbolic link; it is removed", path)
    elif kind == stat.S_IFDIR:
        raise OSError(errno.EISDIR, "a directory is in the way")
    elif _answers(path):
        raise OSError(errno.EADDRINUSE, "another process listens there")
    path.unlink()


def _answers(path: Path) -> bool:
    """Whether somebody listens there.

    Raises:
        OSError: That cannot be told.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_TIMEOUT_S)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        return True
