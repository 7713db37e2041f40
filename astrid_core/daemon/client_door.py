"""How a client gets in: the daemon's socket, found, examined, connected, and the handshake.

Trusted with whom the token is given to: only to a socket in a directory of this user, made by a
process of this user. Starts nothing and changes nothing.
Spec: kernel-and-security 3.1, 3.4; cli-and-ux 1.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from astrid_core.daemon.client_errors import (
    AnswerTimeoutError,
    ConnectionLostError,
    DaemonError,
    ForeignSocketError,
    NotRunningError,
    RefusedError,
    SilentDaemonError,
    StaleSocketError,
    VersionMismatchError,
)
from astrid_core.daemon.client_stream import FrameStream
from astrid_core.daemon.run_paths import RunPaths
from astrid_core.domain.framing import PROTOCOL_VERSION
from astrid_core.domain.version import VERSION
from astrid_core.kernel.peer import own_uid, peer_pid, peer_uid
from astrid_hookspecs.errors import RemoteProtocolError
from astrid_hookspecs.values import Principal

_RETRY_S: Final = 0.02
_NEW_TOKEN_S: Final = 0.2
_CROWD_S: Final = 2.0
"""How long it is tried again to get in where others wait in line: who takes more than a moment for
the handshake is sent away there without an answer."""
_MAX_TOKEN_FILE: Final = 256
_FOREIGN_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class _SentAwayError(RefusedError):
    """Nobody said why."""


class Entered(NamedTuple):
    """A connection that the daemon accepted.

    Attributes:
        stream: Authenticated.
        server_version: As the daemon says.
        pid: The process that made the socket; None when the system does not tell.
    """

    stream: FrameStream
    server_version: str
    pid: int | None


def enter(run: Path, *, principal: Principal | None, timeout_s: float) -> Entered:
    """Connect and authenticate.

    A daemon that has bound its socket and not written its token yet is waited for, and so is, for a
    while, one that sends clients away because too many come.

    Args:
        run: The `run/` of the home.
        principal: For whom the connection acts; None for the owner's own.
        timeout_s: For all of it.

    Raises:
        NotRunningError: There is no socket; or, as StaleSocketError, nobody listens on it.
        ForeignSocketError: Another user could be behind it.
        SilentDaemonError: Nobody answered in time.
        RefusedError: The daemon said no; VersionMismatchError where the protocol is the reason.
    """
    paths = RunPaths(run)
    deadline = time.monotonic() + timeout_s
    _check_owner(paths)
    tried: bytes | None = None
    sent_away: _SentAwayError | None = None
    while True:
        sock = _connect(paths, deadline)
        try:
            pid = peer_pid(sock)
            _check_peer(sock)
            token = _read_token(paths.token)
            if token is not None and token != tried:
                found = _shake_hands(FrameStream(sock), token, principal, pid, deadline)
                if found is not None:
                    return found
                # A daemon that starts binds first: this may be the token of the one before.
                tried = token
                deadline = min(deadline, time.monotonic() + _NEW_TOKEN_S)
        except _SentAwayError as error:
            if sent_away is None:
                deadline = min(deadline, time.monotonic() + _CROWD_S)
            sent_away = error
        except SilentDaemonError as error:
            sock.close()
            raise sent_away or error from error
        except BaseException:
            sock.close()
            raise
        sock.close()
        if time.monotonic() >= deadline:
            raise sent_away or _no_entry(token, pid)
        time.sleep(_RETRY_S)


def _no_entry(token: bytes | None, pid: int | None) -> DaemonError:
    if token is None:
        return SilentDaemonError("the daemon listens but has written no token", pid=pid)
    return RefusedError(
        "the daemon refused this client: authentication failed",
        hint="run/system.token is not the token of the daemon that runs; restart it",
    )


def _check_owner(paths: RunPaths) -> None:
    """Refuse a socket that somebody else could have put there."""
    try:
        directory = paths.directory.lstat()
        status = paths.socket.lstat()
    except FileNotFoundError as error:
        raise NotRunningError from error
    except OSError as error:
        raise ForeignSocketError(
            f"{paths.socket} cannot be looked at: {error.strerror}",
            hint="the runtime home has to belong to you; see: astrid doctor",
        ) from error
    for path, found in ((paths.directory, directory), (paths.socket, status)):
        if found.st_uid != own_uid():
            raise ForeignSocketError(
                f"{path} belongs to another user (uid {found.st_uid})",
                hint="set ASTRID_HOME to a directory that you own",
            )
    if not stat.S_ISDIR(directory.st_mode) or directory.st_mode & _FOREIGN_WRITE:
        raise ForeignSocketError(
            f"other users can write to {paths.directory}",
            hint=f"check what is inside, then run: chmod 700 {paths.directory}",
        )
    if not stat.S_ISSOCK(status.st_mode):
        raise StaleSocketError(f"{paths.socket} is no socket, so no daemon is running")


def _connect(paths: RunPaths, deadline: float) -> socket.socket:
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(max(0.001, deadline - time.monotonic()))
            sock.connect(os.fspath(paths.socket))
        except FileNotFoundError as error:
            sock.close()
            raise NotRunningError from error
        except ConnectionRefusedError as error:
            sock.close()
            raise StaleSocketError(
                "no daemon is running; one that was killed left its socket behind"
            ) from error
        except (BlockingIOError, TimeoutError) as error:  # its queue of new connections is full
            sock.close()
            if time.monotonic() >= deadline:
                raise SilentDaemonError("the daemon accepts no connections", pid=None) from error
            time.sleep(_RETRY_S)
        except OSError as error:
            sock.close()
            raise DaemonError(
                f"the socket cannot be connected: {error.strerror or error}",
                hint="see: astrid doctor",
            ) from error
        else:
            return sock


def _check_peer(sock: socket.socket) -> None:
    uid = peer_uid(sock)
    if uid != own_uid():
        who = "nobody knows which user" if uid is None else f"uid {uid}"
        raise ForeignSocketError(
            f"the process behind the socket belongs to another user ({who})",
            hint="set ASTRID_HOME to a directory that only you can write to",
        )


def _read_token(path: Path) -> bytes | None:
    """The token's text; None while there is none.

    Raises:
        ForeignSocketError: The file is not this user's alone.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ForeignSocketError(f"{path} cannot be read: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != own_uid():
            raise ForeignSocketError(f"{path} is no regular file of this user")
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ForeignSocketError(
                f"other users can read {path} (mode {stat.S_IMODE(status.st_mode):04o})",
                hint="restart the daemon, which makes a new token: astrid restart",
            )
        return os.read(descriptor, _MAX_TOKEN_FILE).strip()
    finally:
        os.close(descriptor)


def _shake_hands(
    stream: FrameStream,
    token: bytes,
    principal: Principal | None,
    pid: int | None,
    deadline: float,
) -> Entered | None:
    """The first exchange; None when the token was wrong.

    Raises:
        As `enter`.
    """
    hello = {
        "token": token.decode("ascii", "replace"),
        "protocol_version": PROTOCOL_VERSION,
        "client_version": VERSION,
    }
    if principal is not None:
        hello["principal"] = principal
    try:
        stream.send(json.dumps(hello).encode(), deadline=deadline)
        answer = _parse(stream.receive(deadline=deadline))
    except AnswerTimeoutError as error:
        where = "" if pid is None else f" (process {pid})"
        raise SilentDaemonError(f"the daemon{where} does not answer", pid=pid) from error
    except ConnectionLostError as error:
        raise _SentAwayError(
            "the daemon closed the connection without an answer",
            hint="it may be stopping, or have too many clients; see: astrid logs",
        ) from error
    if answer["status"] == "ok":
        stream.authenticated()
        return Entered(stream, str(answer.get("server_version")), pid)
    stream.close()
    if answer.get("protocol_version") != PROTOCOL_VERSION:
        raise VersionMismatchError(
            f"the daemon speaks protocol version {answer.get('protocol_version')} "
            f"(Astrid {answer.get('server_version')}), this client version {PROTOCOL_VERSION}",
            hint="restart it with this Astrid: astrid restart",
        )
    reason = str(answer.get("reason"))
    if reason == "authentication failed":
        return None
    raise RefusedError(f"the daemon refused this client: {reason}")


def _parse(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError("the daemon's first frame is no JSON") from error
    if not isinstance(answer, dict) or answer.get("status") not in ("ok", "error"):
        raise RemoteProtocolError("the daemon's first frame answers no handshake")
    return answer
