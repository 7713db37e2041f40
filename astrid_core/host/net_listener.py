"""The resources `tcp-listener` and `unix-listener`, and their functions. Spec: host-abi 12.2."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

from astrid_core.host.handlers import handles
from astrid_core.host.local_socket import LocalListener
from astrid_core.host.net_access import NetAccess, NetPackage
from astrid_core.host.net_errors import shown
from astrid_core.host.net_stream import TcpStream
from astrid_core.host.net_watch import READ, SocketReady, close_socket
from astrid_core.host.pollable import Pollable
from astrid_core.security.local_checks import WHERE
from astrid_hookspecs.cancel import WaitSource
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


class UnixListener:
    """Clients of the capsule's local socket, which have proved that they may talk to it.

    Args:
        found: The kernel's side of it.
        dropped: Called when its slot is free.
    """

    def __init__(self, found: LocalListener, *, dropped: Callable[[UnixListener], None]) -> None:
        self._dropped = dropped
        self._close = found.close
        self.take = found.take
        self.readable: WaitSource = found

    def drop(self) -> None:
        """As `HostResource.drop`."""
        self._close()
        self._dropped(self)


class ListenerHost(NetPackage):
    """The methods of `tcp-listener` and `unix-listener`, which differ in who is let in."""

    @handles("[method]unix-listener.accept")
    def accept_client(self, listener: UnixListener) -> TcpStream:
        """Wait for a client that was let in."""
        return self._wait(listener)

    @handles("[method]unix-listener.poll-accept")
    def poll_client(self, listener: UnixListener, timeout_ms: int) -> TcpStream | None:
        """Wait for a client, for a minute at most; also none without a slot."""
        return self._poll(listener, timeout_ms)

    @handles("[method]unix-listener.subscribe-readiness")
    def subscribe_client(self, listener: UnixListener) -> Pollable:
        """Ready when a client waits that was let in."""
        return Pollable(listener.readable)

    @handles("[method]tcp-listener.accept")
    def accept(self, listener: TcpListener) -> TcpStream:
        """Wait for a connection."""
        return self._wait(listener)

    @handles("[method]tcp-listener.poll-accept")
    def poll_accept(self, listener: TcpListener, timeout_ms: int) -> TcpStream | None:
        """Wait for a connection, for a minute at most; also none without a slot."""
        return self._poll(listener, timeout_ms)

    @handles("[method]tcp-listener.local-addr")
    def local_addr(self, listener: TcpListener) -> str:
        """Where it listens."""
        return listener.local_addr

    @handles("[method]tcp-listener.subscribe-readiness")
    def subscribe_readiness(self, listener: TcpListener) -> Pollable:
        """Ready when a connection waits."""
        return Pollable(listener.readable)

    def _wait(self, listener: TcpListener | UnixListener) -> TcpStream:
        self._access.check_slot("stream")
        sock = self._access.until(listener.take, listener.readable, timeout_s=None)
        if sock is None:  # there is no bound that could have passed
            raise WitError("closed")
        return self._accepted(sock)

    def _poll(self, listener: TcpListener | UnixListener, timeout_ms: int) -> TcpStream | None:
        if not self._access.has_slot("stream"):
            return None
        timeout_s = min(timeout_ms / 1000, MAX_POLL_S)
        try:
            sock = self._access.until(listener.take, listener.readable, timeout_s=timeout_s)
        except WitError:
            return None
        return None if sock is None else self._accepted(sock)

    def _accepted(self, sock: socket.socket) -> TcpStream:
        stream = counted_stream(self._access, sock)
        try:
            if stream.is_local:
                self._access.note("net.accept", WHERE, None, "allowed")
            else:
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
