"""Who is at the other end of a local connection, as the system says."""

from __future__ import annotations

import os
import socket
import struct
from typing import Final

_CREDENTIALS: Final = struct.Struct("3i")


def peer_uid(sock: socket.socket) -> int | None:
    """The user id of the process at the other end; None when the system does not tell.

    Spec: kernel-and-security 3.2.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        return _getpeereid(sock)
    found = _credentials(sock)
    return None if found is None else found[1]


def peer_pid(sock: socket.socket) -> int | None:
    """The process at the other end: who connected, or who made the listening socket.

    None when the system does not tell, or that process is out of sight.
    """
    found = _credentials(sock)
    return found[0] or None if found is not None else None


def _credentials(sock: socket.socket) -> tuple[int, int, int] | None:
    """Process, user and group, as Linux has them."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    try:
        data = sock.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size)
    except OSError:
        return None
    pid, uid, gid = _CREDENTIALS.unpack(data)
    return pid, uid, gid


def _getpeereid(sock: socket.socket) -> int | None:
    """As the BSDs have it."""
    import ctypes  # noqa: PLC0415 - not where clients have to be quick

    getpeereid = getattr(ctypes.CDLL(None), "getpeereid", None)
    if getpeereid is None:
        return None
    uid, gid = ctypes.c_uint32(), ctypes.c_uint32()
    failed = getpeereid(sock.fileno(), ctypes.byref(uid), ctypes.byref(gid))
    return None if failed else uid.value


def own_uid() -> int:
    """The user id that peers must have."""
    return os.geteuid()
