"""The files in `run/` by which clients find a daemon: socket, readiness, and the kernel's token.

Trusted with binding only where nobody else listens and with leaving nothing behind. Whoever makes
these files holds the lock of the home. Spec: kernel-and-security 3.1, 3.4, 3.6.
"""

from __future__ import annotations

import errno
import socket
from pathlib import Path

from astrid_core.daemon.run_paths import RunPaths
from astrid_core.kernel.durable import write_atomic
from astrid_core.kernel.socket_file import MAX_PATH_BYTES, listen_at, path_bytes
from astrid_hookspecs.errors import AstridError, ConfigError


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
        length = path_bytes(self.socket)
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
            return listen_at(self.socket)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise AlreadyRunningError(
                    f"another process listens on {self.socket}",
                    hint="stop it, or choose another home with ASTRID_HOME",
                ) from error
            raise _in_the_way(error, self.socket, "bound") from error

    def write_ready(self) -> None:
        """Say that clients are served."""
        write_atomic(self.ready, b"")

    def remove(self) -> None:
        """Remove all of them, readiness first so that nobody new comes.

        Raises:
            ConfigError: `daemon.socket`: one of them is something else. The others are removed.
        """
        problem: ConfigError | None = None
        for path in (self.ready, self.socket, self.token):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                problem = _in_the_way(error, path, "removed")
                problem.__cause__ = error
        if problem is not None:
            raise problem


def _in_the_way(error: OSError, path: Path, what: str) -> ConfigError:
    """The file that the system names is the one, if it names one."""
    return ConfigError(
        f"{error.filename or path} cannot be {what}: {error.strerror or error}",
        code="daemon.socket",
        hint="look at what is there; it is not removed, because it does not look stale",
    )
