"""Sockets: TCP out and in, datagrams, look-ups. Each needs an entry of the manifest.

    with net.connect("db.example.org", 5432) as stream:
        stream.write(b"hello")
        answer = stream.read()

Failures are `NetError`s and the `OSError`s that Python programs catch anyway. A socket belongs to
the instance that made it, and ends with it at the latest.

Spec: astrid:net@1.0.0.
"""

from __future__ import annotations

from astrid_sdk.bindings import host_call
from astrid_sdk.net_calls import Address, call, explained
from astrid_sdk.net_datagrams import Datagram, UdpSocket
from astrid_sdk.net_errors import NetError
from astrid_sdk.net_stream import Listener, TcpListener, TcpStream

__all__ = [
    "Address",
    "Datagram",
    "Listener",
    "NetError",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "connect",
    "listen",
    "listen_local",
    "lookup",
    "udp",
]


def connect(host: str, port: int) -> TcpStream:
    """Connect within 10 seconds. Needs `host:port` in `net_connect`.

    Raises:
        NetError: `PermissionError` without an entry, or for an address that is not public;
            `ConnectionRefusedError`, `TimeoutError`, `NetNameError`, `NetQuotaError`.
    """
    return TcpStream(call("connect_tcp", host, port, listed="net_connect"))


def listen(host: str, port: int = 0) -> TcpListener:
    """Listen for TCP connections; port 0 takes a free one. Needs `host:port` in `net_tcp_bind`.

    Raises:
        NetError: `PermissionError`, `NetAddressInUseError`, `NetAddressError`, `NetQuotaError`.
    """
    return TcpListener(call("bind_tcp", host, port, listed="net_tcp_bind"))


def listen_local() -> Listener:
    """The capsule's local socket, at which programs of this user connect. Needs `net_bind`.

    Raises:
        NetError: `PermissionError`, `NetUnavailableError`.
    """
    found = explained(lambda: host_call("net", "bind_unix"), entry="unix", listed="net_bind")
    return Listener(found)


def udp(host: str, port: int = 0) -> UdpSocket:
    """Open a UDP socket; port 0 takes a free one. Needs `bind:host:port` in `net_udp`.

    Raises:
        NetError: As `listen`.
    """
    return UdpSocket(call("udp_bind", host, port, listed="net_udp", verb="bind:"))


def lookup(host: str) -> list[str]:
    """The public addresses of a host, possibly none. Needs an entry of it in `net_connect`.

    Raises:
        NetError: `PermissionError`, `NetNameError`, `TimeoutError`, `NetQuotaError`.
    """
    found: list[str] = explained(
        lambda: host_call("net", "lookup_host", host), entry=f"{host}:*", listed="net_connect"
    )
    return found
