"""The files in `run/` by which clients find a daemon: socket, token, readiness.

Trusted with binding only where nobody else listens and with leaving nothing behind. Whoever makes
these files holds the lock of the home. Spec: kernel-and-security 3.1, 3.4, 3.6.
"""

from __future__ import annotations

import errno
import os
import secrets
import socket
import stat
import sys
from pathlib import Path
from typing import Final

from loguru import logger

from astrid_core.daemon.handshake import TOKEN_BYTES
from astrid_core.daemon.run_paths import RunPaths
from astrid_core.kernel.durable import write_atomic
from astrid_hookspecs.errors import AstridError, ConfigError

MAX_PATH_BYTES: Final = 107 if sys.platform == "linux" else 103
BACKLOG: Final = 128
PROBE_TIMEOUT_S: Final = 1.0


class AlreadyRunningError(AstridError):
    """Somebody answers on the socket."""

    default_code = "daemon.running"


class RunFiles:
    """Paths in `run/`, and what is done with them.

    Args:
        run: The directory, mode 0700.
    """

    def __init__(self, run: Path) -> None:
        paths = RunPaths(run)
        self.socket, self.token, self.ready = paths.socket, paths.token, paths.ready

    def check_path(self) -> None:
        """Refuse a home whose socket could not be bound, before anything else happens.

        Raises:
            ConfigError: `daemon.socket-path`.
        """
        length = len(os.fsencode(self.socket))
        if length > MAX_PATH_BYTES:
            raise ConfigError(
                f"the path of the socket has {length} bytes, at most {MAX_PATH_BYTES} can be bound",
                code="daemon.socket-path",
                hint="set ASTRID_HOME to a shorter path",
            )

    def bind(self) -> socket.socket:
        """Listen on the socket, after clearing away what a killed daemon left there.

        Returns:
            A listening, non-blocking socket.

        Raises:
            AlreadyRunningError: Another process listens there.
            ConfigError: `daemon.socket-path`, or `daemon.socket` when something is in the way.
        """
        self.check_path()
        try:
            self.ready.unlink(missing_ok=True)
            self._clear_socket()
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                listener.bind(os.fspath(self.socket))
                self.socket.chmod(0o600)
                listener.listen(BACKLOG)
                listener.setblocking(False)
            except BaseException:
                listener.close()
                raise
        except OSError as error:
            raise ConfigError(
                f"{self.socket} cannot be bound: {error.strerror or error}",
                code="daemon.socket",
                hint="look at what is there; it is not removed, because it does not look stale",
            ) from error
        return listener

    def write_token(self) -> bytes:
        """Make the token of this boot; returns its 32 bytes."""
        token = secrets.token_bytes(TOKEN_BYTES)
        write_atomic(self.token, token.hex().encode())
        return token

    def write_ready(self) -> None:
        """Say that clients are served."""
        write_atomic(self.ready, b"")

    def remove(self) -> None:
        """Remove all of them, readiness first so that nobody new comes."""
        for path in (self.ready, self.socket, self.token):
            path.unlink(missing_ok=True)

    def _clear_socket(self) -> None:
        try:
            kind = stat.S_IFMT(self.socket.lstat().st_mode)
        except FileNotFoundError:
            return
        if kind == stat.S_IFLNK:
            logger.warning("{} was a symbolic link; it is removed", self.socket)
        elif kind == stat.S_IFDIR:
            raise OSError(errno.EISDIR, "a directory is in the way")
        elif _answers(self.socket):
            raise AlreadyRunningError(
                f"another process listens on {self.socket}",
                hint="stop it, or choose another home with ASTRID_HOME",
            )
        self.socket.unlink()


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
