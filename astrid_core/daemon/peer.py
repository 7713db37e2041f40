"""Who is at the other end of a local connection, as the system says."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from typing import Final

_CREDENTIALS: Final = struct.Struct("3i")


def peer_uid(sock: socket.socket) -> int | None:
    """The user id of the process that connected; None when the system does not tell.

    Spec: kernel-and-security 3.2.
    """
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return _getpeereid(sock)
    try:
        data = sock.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size)
    except OSError:
        return None
    uid: int = _CREDENTIALS.unpack(data)[1]
    return uid


def _getpeereid(sock: socket.socket) -> int | None:
    """As the BSDs have it."""
    getpeereid = getattr(ctypes.CDLL(None), "getpeereid", None)
    if getpeereid is None:
        return None
    uid, gid = ctypes.c_uint32(), ctypes.c_uint32()
    failed = getpeereid(sock.fileno(), ctypes.byref(uid), ctypes.byref(gid))
    return None if failed else uid.value


def own_uid() -> int:
    """The user id that peers must have."""
    return os.geteuid()
