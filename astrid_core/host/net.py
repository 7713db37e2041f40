"""Host functions of `astrid:net@1.0.0` that make sockets.

Trusted with the order of checks: the text, the gate, the slots, the addresses, the record, and only
then the wire. Spec: host-abi 12.1, H-28.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Sequence
from typing import Final

from astrid_core.domain.ip_ranges import IpAddress
from astrid_core.host.handlers import handles
from astrid_core.host.net_access import LOOKUP_S, NetPackage
from astrid_core.host.net_datagrams import UdpSocket
from astrid_core.host.net_errors import parse_host, parse_target
from astrid_core.host.net_listener import TcpListener, UnixListener, counted_stream
from astrid_core.host.net_stream import TcpStream
from astrid_core.host.net_watch import WRITE, SocketReady, close_socket
from astrid_core.security.checked import CheckedAddress
from astrid_core.security.local_checks import WHERE
from astrid_core.security.network_checks import endpoint
from astrid_hookspecs.engines import WitError
from astrid_hookspecs.errors import CapabilityDeniedError

CONNECT_S: Final = 10.0
_BACKLOG: Final = 64


class NetHost(NetPackage):
    """`connect-tcp`, `bind-tcp`, `udp-bind`, `bind-unix` and `lookup-host`."""

    @handles("connect-tcp")
    def connect_tcp(self, host: str, port: int) -> TcpStream:
        """Connect to one of a host's addresses, all of which have to be good."""
        host, access, instance = parse_host(host), self._access, self.instance
        grant = instance.services.gate.check_connect(
            instance.grants, instance.principal, host=host, port=port
        )
        access.check_slot("stream")
        deadline = time.monotonic() + CONNECT_S
        with access.recorded("net.connect", host, port):
            found = access.addresses(host, port, timeout_s=CONNECT_S)
            checked = [access.checked(one, port, grant=grant, host=host) for one in found]
            sock = self._connected(checked, deadline)
            return counted_stream(access, sock)

    @handles("lookup-host")
    def lookup_host(self, text: str) -> list[str]:
        """The addresses of a host that may be reached; possibly none."""
        host, port = parse_target(text)
        access, instance = self._access, self.instance
        grant = instance.services.gate.check_connect(
            instance.grants, instance.principal, host=host, port=None
        )
        good = []
        with access.recorded("net.lookup", host, port or 0):
            for address in access.addresses(host, port or 0, timeout_s=LOOKUP_S):
                try:
                    access.checked(address, port or 0, grant=grant, host=host)
                except CapabilityDeniedError:
                    continue
                good.append(str(address) if port is None else endpoint(str(address), port))
        return good

    @handles("bind-tcp")
    def bind_tcp(self, host: str, port: int) -> TcpListener:
        """Listen on an address of this machine."""
        host, access, instance = parse_host(host), self._access, self.instance
        instance.services.gate.check_listen(
            instance.grants, instance.principal, host=host, port=port
        )
        access.check_slot("listener")
        with access.recorded("net.bind", host, port):
            sock = self._bound(host, port, socket.SOCK_STREAM)
            try:
                sock.listen(_BACKLOG)
            except OSError:
                sock.close()
                raise
        listener = TcpListener(sock, dropped=lambda one: access.give_back("listener", one))
        access.take_slot("listener", listener)
        return listener

    @handles("udp-bind")
    def udp_bind(self, host: str, port: int) -> UdpSocket:
        """Open a UDP socket on an address of this machine."""
        host, access, instance = parse_host(host), self._access, self.instance
        instance.services.gate.check_datagrams(
            instance.grants, instance.principal, verb="bind", host=host, port=port
        )
        access.check_slot("udp")
        with access.recorded("net.bind", host, port):
            sock = self._bound(host, port, socket.SOCK_DGRAM)
        made = UdpSocket(sock, dropped=lambda one: access.give_back("udp", one))
        access.take_slot("udp", made)
        return made

    @handles("bind-unix")
    def bind_unix(self) -> UnixListener:
        """Listen at the capsule's own local socket, for clients of the effective principal."""
        access, instance = self._access, self.instance
        services, principal = instance.services, instance.principal
        services.gate.check_local_socket(instance.grants, principal)
        access.check_slot("listener")
        with access.recorded("net.bind", WHERE, None):
            found = services.local_sockets.listen(instance.grants, principal)
        listener = UnixListener(found, dropped=lambda one: access.give_back("listener", one))
        access.take_slot("listener", listener)
        return listener

    def _connected(self, addresses: Sequence[CheckedAddress], deadline: float) -> socket.socket:
        problem = OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        for checked in addresses:
            family = socket.AF_INET if checked.address.version == 4 else socket.AF_INET6  # noqa: PLR2004
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                self._connect(sock, checked, deadline)
            except OSError as error:
                close_socket(sock)
                problem = error
            except WitError:
                close_socket(sock)
                raise
            else:
                return sock
        raise problem

    def _connect(self, sock: socket.socket, checked: CheckedAddress, deadline: float) -> None:
        sock.setblocking(False)
        code = sock.connect_ex((str(checked.address), checked.port))
        if code == errno.EINPROGRESS:
            writable = SocketReady(sock, WRITE)
            left_s = max(0.0, deadline - time.monotonic())
            if self._access.until(lambda: writable.is_ready() or None, writable, timeout_s=left_s):
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            else:
                code = errno.ETIMEDOUT
        if code:
            raise OSError(code, os.strerror(code))

    def _bound(self, host: str, port: int, kind: socket.SocketKind) -> socket.socket:
        try:
            address: IpAddress = self._access.addresses(host, port, timeout_s=LOOKUP_S)[0]
        except WitError as error:
            is_unknown = error.case == "name-unresolvable"
            raise WitError("address-not-available" if is_unknown else error.case) from error
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004
        sock = socket.socket(family, kind)
        try:
            sock.setblocking(False)
            if kind == socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:  # what was granted is this address, and no IPv4 one
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((str(address), port))
        except OSError:
            sock.close()
            raise
        return sock
