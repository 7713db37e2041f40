"""Functions that look at a `tcp-stream` and set how it behaves. Spec: host-abi 12.3."""

from __future__ import annotations

import socket
import struct
from typing import Final

from astrid_core.host.handlers import handles
from astrid_core.host.net_access import NetPackage
from astrid_core.host.net_stream import TcpStream
from astrid_hookspecs.engines import WitError

_IDLE: Final[int] = getattr(socket, "TCP_KEEPIDLE", 0x10)  # 0x10: what macOS calls it
_MAX_HOPS: Final = 255
_MAX_IDLE_S: Final = 32_767
_MAX_LINGER_S: Final = 60
_LINGER: Final = struct.Struct("ii")


class OptionsHost(NetPackage):
    """The methods of `tcp-stream` that move no bytes."""

    @handles("[method]tcp-stream.shutdown")
    def shutdown(self, stream: TcpStream, how: str) -> None:
        """End one or both directions; again is no error."""
        stream.shutdown(how)

    @handles("[method]tcp-stream.peer-addr")
    def peer_addr(self, stream: TcpStream) -> str:
        """Of the peer, also when it is gone."""
        _tcp(stream)
        return stream.peer_addr

    @handles("[method]tcp-stream.local-addr")
    def local_addr(self, stream: TcpStream) -> str:
        """Of this side."""
        _tcp(stream)
        return stream.local_addr

    @handles("[method]tcp-stream.set-nodelay")
    def set_nodelay(self, stream: TcpStream, nodelay: bool) -> None:  # noqa: FBT001 - the ABI
        """Whether small pieces are sent at once."""
        _tcp(stream).setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, nodelay)

    @handles("[method]tcp-stream.nodelay")
    def nodelay(self, stream: TcpStream) -> bool:
        """Whether small pieces are sent at once."""
        return bool(_tcp(stream).getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    @handles("[method]tcp-stream.set-read-timeout")
    def set_read_timeout(self, stream: TcpStream, timeout_ms: int | None) -> None:
        """For how long reading waits."""
        stream.read_timeout_ms = timeout_ms

    @handles("[method]tcp-stream.read-timeout")
    def read_timeout(self, stream: TcpStream) -> int | None:
        """For how long reading waits."""
        return stream.read_timeout_ms

    @handles("[method]tcp-stream.set-write-timeout")
    def set_write_timeout(self, stream: TcpStream, timeout_ms: int | None) -> None:
        """For how long writing waits."""
        stream.write_timeout_ms = timeout_ms

    @handles("[method]tcp-stream.write-timeout")
    def write_timeout(self, stream: TcpStream) -> int | None:
        """For how long writing waits."""
        return stream.write_timeout_ms

    @handles("[method]tcp-stream.set-hop-limit")
    def set_hop_limit(self, stream: TcpStream, hops: int) -> None:
        """How many routers a packet may pass."""
        sock = _tcp(stream)
        _check(1 <= hops <= _MAX_HOPS, f"a hop limit is from 1 to {_MAX_HOPS}")
        sock.setsockopt(*_hops(stream), hops)

    @handles("[method]tcp-stream.hop-limit")
    def hop_limit(self, stream: TcpStream) -> int:
        """How many routers a packet may pass."""
        return _tcp(stream).getsockopt(*_hops(stream))

    @handles("[method]tcp-stream.set-keepalive")
    def set_keepalive(self, stream: TcpStream, keepalive_secs: int | None) -> None:
        """After how many seconds an idle connection is probed; none for never."""
        sock = _tcp(stream)
        if keepalive_secs is not None:
            _check(1 <= keepalive_secs <= _MAX_IDLE_S, f"from 1 to {_MAX_IDLE_S} seconds")
            sock.setsockopt(socket.IPPROTO_TCP, _IDLE, keepalive_secs)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, keepalive_secs is not None)

    @handles("[method]tcp-stream.keepalive")
    def keepalive(self, stream: TcpStream) -> int | None:
        """After how many seconds an idle connection is probed."""
        sock = _tcp(stream)
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE):
            return None
        return sock.getsockopt(socket.IPPROTO_TCP, _IDLE)

    @handles("[method]tcp-stream.set-linger")
    def set_linger(self, stream: TcpStream, linger_ms: int | None) -> None:
        """For how long the system keeps a closed connection for unsent bytes; whole seconds."""
        sock, seconds = _tcp(stream), -(-(linger_ms or 0) // 1000)
        _check(seconds <= _MAX_LINGER_S, f"at most {_MAX_LINGER_S} seconds")
        value = _LINGER.pack(linger_ms is not None, seconds)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, value)
        stream.lingers = seconds > 0

    @handles("[method]tcp-stream.linger")
    def linger(self, stream: TcpStream) -> int | None:
        """For how long the system keeps a closed connection for unsent bytes."""
        data = _tcp(stream).getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER.size)
        is_on, seconds = _LINGER.unpack(data)
        return seconds * 1000 if is_on else None

    @handles("[method]tcp-stream.set-reuseaddr")
    def set_reuseaddr(self, stream: TcpStream, reuse: bool) -> None:  # noqa: FBT001 - the ABI
        """Whether the local address may be used again soon."""
        _tcp(stream).setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)

    @handles("[method]tcp-stream.reuseaddr")
    def reuseaddr(self, stream: TcpStream) -> bool:
        """Whether the local address may be used again soon."""
        return bool(_tcp(stream).getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR))


def _tcp(stream: TcpStream) -> socket.socket:
    """The socket of a TCP connection; a client of a local socket has nothing to set.

    Raises:
        WitError: `not-tcp`.
    """
    if stream.is_local:
        raise WitError("not-tcp")
    return stream.socket


def _check(is_good: bool, what: str) -> None:  # noqa: FBT001 - the condition itself
    if not is_good:
        raise WitError("unknown", what)


def _hops(stream: TcpStream) -> tuple[int, int]:
    if stream.socket.family == socket.AF_INET:
        return (socket.IPPROTO_IP, socket.IP_TTL)
    return (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)
