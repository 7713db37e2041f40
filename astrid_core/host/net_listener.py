"""The resource `tcp-listener` and its functions. Spec: host-abi 12.2."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

from astrid_core.host.handlers import handles
from astrid_core.host.net_access import NetAccess, NetPackage
from astrid_core.host.net_errors import shown
from astrid_core.host.net_stream import TcpStream
from astrid_core.host.net_watch import READ, SocketReady, close_socket
from astrid_core.host.pollable import Pollable
from astrid_hookspecs.engines import WitError
from astrid_hookspecs.errors import AuditError

MAX_POLL_S: Final = 60.0


class TcpListener:
    """A listening socket.

    Args:
        sock: Listening, not blocking; owned.
        dropped: Called when its slot is free.
    """

    def __init__(self, sock: socket.socket, *, dropped: Callable[[TcpListener], None]) -> None:
        self._socket = sock
        self._dropped = dropped
        self.local_addr = shown(sock.getsockname())
        self.readable = SocketReady(sock, READ)

    def take(self) -> socket.socket | None:
        """A connection that waits; None when there is none.

        Raises:
            OSError: There are no descriptors left.
        """
        try:
            sock = self._socket.accept()[0]
        except (BlockingIOError, ConnectionAbortedError):
            return None
        try:
            sock.getpeername()
        except OSError:  # it was reset while it waited: nobody is to hear of it
            sock.close()
            return None
        return sock

    def drop(self) -> None:
        """As `HostResource.drop`."""
        close_socket(self._socket)
        self._dropped(self)


class ListenerHost(NetPackage):
    """The methods of `tcp-listener`; those of `unix-listener` cannot be reached."""

    @handles("[method]tcp-listener.accept")
    def accept(self, listener: TcpListener) -> TcpStream:
        """Wait for a connection."""
        self._access.check_slot("stream")
        sock = self._access.until(listener.take, listener.readable, timeout_s=None)
        if sock is None:  # there is no bound that could have passed
            raise WitError("closed")
        return self._accepted(sock)

    @handles("[method]tcp-listener.poll-accept")
    def poll_accept(self, listener: TcpListener, timeout_ms: int) -> TcpStream | None:
        """Wait for a connection, for a minute at most; also none without a slot."""
        if not self._access.has_slot("stream"):
            return None
        timeout_s = min(timeout_ms / 1000, MAX_POLL_S)
        try:
            sock = self._access.until(listener.take, listener.readable, timeout_s=timeout_s)
        except WitError:
            return None
        return None if sock is None else self._accepted(sock)

    @handles("[method]tcp-listener.local-addr")
    def local_addr(self, listener: TcpListener) -> str:
        """Where it listens."""
        return listener.local_addr

    @handles("[method]tcp-listener.subscribe-readiness")
    def subscribe_readiness(self, listener: TcpListener) -> Pollable:
        """Ready when a connection waits."""
        return Pollable(listener.readable)

    def _accepted(self, sock: socket.socket) -> TcpStream:
        stream = counted_stream(self._access, sock)
        try:
            host, _, port = stream.peer_addr.rpartition(":")
            self._access.note("net.accept", host.strip("[]"), int(port), "allowed")
        except AuditError:
            stream.drop()
            raise
        return stream


def counted_stream(access: NetAccess, sock: socket.socket) -> TcpStream:
    """A stream over a connection, in a slot.

    Raises:
        OSError: The peer is gone already.
    """
    try:
        stream = TcpStream(sock, dropped=lambda one: access.give_back("stream", one))
    except OSError:
        close_socket(sock)
        raise
    access.take_slot("stream", stream)
    return stream
