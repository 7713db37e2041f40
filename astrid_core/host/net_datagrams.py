"""The resource `udp-socket` and its functions: each receiver is judged. Spec: host-abi 12.3."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final, NamedTuple

from astrid_core.host.handlers import handles
from astrid_core.host.net_access import LOOKUP_S, NetPackage
from astrid_core.host.net_errors import parse_host, shown
from astrid_core.host.net_watch import READ, WRITE, SocketReady, close_socket
from astrid_core.host.pollable import Pollable
from astrid_core.security.checked import CheckedAddress
from astrid_hookspecs.engines import WitError

MAX_DATAGRAM_BYTES: Final = 65_507
_STRANGERS: Final = 64
"""Datagrams of others that are thrown away before the clock is looked at again."""
_VERSIONS: Final = {socket.AF_INET: 4, socket.AF_INET6: 6}


class UdpDatagram(NamedTuple):
    """The record `udp-datagram`."""

    data: bytes
    peer_host: str
    peer_port: int


class UdpSocket:
    """A UDP socket, of one peer or of everybody.

    Args:
        sock: Bound, not blocking; owned.
        dropped: Called when its slot is free.
    """

    def __init__(self, sock: socket.socket, *, dropped: Callable[[UdpSocket], None]) -> None:
        self._socket = sock
        self._dropped = dropped
        self.version = _VERSIONS[sock.family]
        self.local_addr = shown(sock.getsockname())
        self.readable = SocketReady(sock, READ)
        self.writable = SocketReady(sock, WRITE)
        self.peer: CheckedAddress | None = None
        self.read_timeout_ms: int | None = None

    def send(self, data: bytes, to: CheckedAddress) -> int | None:
        """Send; None when the system takes nothing now.

        Raises:
            OSError: It cannot be sent.
        """
        try:
            return self._socket.sendto(data, (str(to.address), to.port))
        except BlockingIOError:
            return None

    def take(self, max_bytes: int) -> UdpDatagram | None:
        """A datagram that waits, of the peer where there is one.

        None when there is none, or when strangers have sent so many that somebody has to see
        whether there is still time.
        """
        for _ in range(_STRANGERS):
            try:
                data, sender = self._socket.recvfrom(min(max_bytes, MAX_DATAGRAM_BYTES))
            except BlockingIOError:
                return None
            host, port = str(sender[0]), int(sender[1])
            if self.peer is None or (host, port) == (str(self.peer.address), self.peer.port):
                return UdpDatagram(data, host, port)
        return None

    def drop(self) -> None:
        """As `HostResource.drop`."""
        close_socket(self._socket)
        self._dropped(self)


class DatagramHost(NetPackage):
    """The methods of `udp-socket`."""

    @handles("[method]udp-socket.send-to")
    def send_to(self, sock: UdpSocket, data: bytes, peer_host: str, peer_port: int) -> int:
        """Send to somebody."""
        _check_size(data)
        return self._sent(sock, data, self._receiver(sock, peer_host, peer_port, "net.send"))

    @handles("[method]udp-socket.connect")
    def connect(self, sock: UdpSocket, peer_host: str, peer_port: int) -> None:
        """Send to one peer, and hear nobody else, from now on."""
        sock.peer = self._receiver(sock, peer_host, peer_port, "net.connect")

    @handles("[method]udp-socket.disconnect")
    def disconnect(self, sock: UdpSocket) -> None:
        """Hear everybody again."""
        sock.peer = None

    @handles("[method]udp-socket.send")
    def send(self, sock: UdpSocket, data: bytes) -> int:
        """Send to the peer."""
        _check_size(data)
        return self._sent(sock, data, _peer(sock))

    @handles("[method]udp-socket.recv-from")
    def recv_from(self, sock: UdpSocket, max_bytes: int) -> UdpDatagram | None:
        """The next datagram, cut where it is longer."""
        timeout_s = None if sock.read_timeout_ms is None else sock.read_timeout_ms / 1000
        return self._access.until(lambda: sock.take(max_bytes), sock.readable, timeout_s=timeout_s)

    @handles("[method]udp-socket.recv")
    def recv(self, sock: UdpSocket, max_bytes: int) -> bytes | None:
        """The next datagram of the peer."""
        _peer(sock)
        found = self.recv_from(sock, max_bytes)
        return None if found is None else found.data

    @handles("[method]udp-socket.peer-addr")
    def peer_addr(self, sock: UdpSocket) -> str | None:
        """Where the peer is."""
        return None if sock.peer is None else shown((sock.peer.address, sock.peer.port))

    @handles("[method]udp-socket.set-read-timeout")
    def set_read_timeout(self, sock: UdpSocket, timeout_ms: int | None) -> None:
        """For how long receiving waits."""
        sock.read_timeout_ms = timeout_ms

    @handles("[method]udp-socket.local-addr")
    def local_addr(self, sock: UdpSocket) -> str:
        """Where it is."""
        return sock.local_addr

    @handles("[method]udp-socket.subscribe-readable")
    def subscribe_readable(self, sock: UdpSocket) -> Pollable:
        """Ready when a datagram waits."""
        return Pollable(sock.readable)

    def _receiver(self, sock: UdpSocket, text: str, port: int, action: str) -> CheckedAddress:
        host, access, instance = parse_host(text), self._access, self.instance
        grant = instance.services.gate.check_datagrams(
            instance.grants, instance.principal, verb="send", host=host, port=port
        )
        with access.recorded(action, host, port):
            checked = [
                access.checked(address, port, grant=grant, host=host)
                for address in access.addresses(host, port, timeout_s=LOOKUP_S)
            ]
            for one in checked:
                if one.address.version == sock.version:
                    return one
            raise WitError("address-not-available")

    def _sent(self, sock: UdpSocket, data: bytes, to: CheckedAddress) -> int:
        sent = self._access.until(lambda: sock.send(data, to), sock.writable, timeout_s=None)
        if sent is None:  # there is no bound that could have passed
            raise WitError("closed")
        return sent


def _check_size(data: bytes) -> None:
    if len(data) > MAX_DATAGRAM_BYTES:
        raise WitError("unknown", f"a datagram has at most {MAX_DATAGRAM_BYTES} bytes")


def _peer(sock: UdpSocket) -> CheckedAddress:
    if sock.peer is None:
        raise WitError("unknown", "the socket is not connected")
    return sock.peer
