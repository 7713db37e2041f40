"""Sockets of the fake host: the kernel's answers, from peers that a test makes up.

Spec: host-abi 12.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from typing import Any, Final

from astrid_sdk.net_calls import endpoint
from astrid_sdk.testing.cases import require
from astrid_sdk.testing.wire import (
    LOCAL,
    Host,
    NetReadStatus_Closed,
    NetReadStatus_Data,
    NetReadStatus_Pending,
    Peer,
    Ready,
    ShutdownHow,
    UdpDatagram,
)

MAX_FRAME_BYTES: Final = 10 * 1024 * 1024
MAX_DATAGRAM_BYTES: Final = 65_507
_LIMITS: Final = {"stream": 8, "listener": 4, "udp": 4}
_HEADER_BYTES: Final = 4
_FIRST_PORT: Final = 40_000
_MAX_POLL_MS: Final = 60_000


class _Handle:
    """A resource in a slot."""

    def __init__(self, net: FakeNet, kind: str) -> None:
        self._net = net
        self._kind = kind
        self.is_open = True
        net.take(kind)

    def __exit__(self, *_: object) -> None:
        if self.is_open:
            self.is_open = False
            self._net.live[self._kind] -= 1


class Stream(_Handle):
    """As the generated resource `tcp-stream`. Options are kept and have no effect."""

    _DEFAULTS: Final = {
        **dict.fromkeys(("nodelay", "reuseaddr"), False),
        **dict.fromkeys(("read_timeout", "write_timeout", "keepalive", "linger"), None),
        "hop_limit": 64,
    }

    def __init__(self, net: FakeNet, peer: Peer, local: str) -> None:
        super().__init__(net, "stream")
        self.peer = peer
        self._local = local
        self._options: dict[str, Any] = dict(self._DEFAULTS)
        self._ended: set[str] = set()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """An option: its function, and the one that sets it."""
        option = name.removeprefix("set_")
        if option not in self._DEFAULTS:
            raise AttributeError(name)
        if name == option:
            return lambda: self._options[option]
        return lambda value: self._options.__setitem__(option, value)

    def read_bytes(self, max_bytes: int) -> bytes:
        """As the kernel's."""
        data = self.peek(max_bytes)
        del self.peer.says[: len(data)]
        return data

    def peek(self, max_bytes: int) -> bytes:
        """As the kernel's."""
        self._wait("read_timeout", until=self._readable)
        require(self._readable(), case="would-block")
        return b"" if "RECEIVE" in self._ended else bytes(self.peer.says[:max_bytes])

    def write_bytes(self, data: bytes) -> int:
        """As the kernel's."""
        require(not self.peer.is_done and "SEND" not in self._ended, case="connection-reset")
        self.peer.take(data)
        return len(data)

    def read(self) -> NetReadStatus_Data | NetReadStatus_Closed | NetReadStatus_Pending:
        """As the kernel's."""
        said = self.peer.says
        length = int.from_bytes(said[:_HEADER_BYTES], "big") + _HEADER_BYTES
        require(length <= MAX_FRAME_BYTES + _HEADER_BYTES, case="unknown")
        if len(said) < max(length, _HEADER_BYTES):
            return NetReadStatus_Closed() if self.peer.is_done else NetReadStatus_Pending()
        data = bytes(said[_HEADER_BYTES:length])
        del said[:length]
        return NetReadStatus_Data(data)

    def write(self, data: bytes) -> None:
        """As the kernel's."""
        require(len(data) <= MAX_FRAME_BYTES, case="unknown")
        self.write_bytes(len(data).to_bytes(_HEADER_BYTES, "big") + data)

    def shutdown(self, how: ShutdownHow) -> None:
        """As the kernel's; a peer that hears the end ends as well."""
        self._ended |= {"RECEIVE", "SEND"} if how is ShutdownHow.BOTH else {how.name}
        self.peer.is_done = self.peer.is_done or "SEND" in self._ended

    def peer_addr(self) -> str:
        """Where the peer is."""
        return self.peer.where

    def local_addr(self) -> str:
        """Where this side is."""
        return self._local

    def subscribe_readable(self) -> Ready:
        """Ready when something can be read."""
        return Ready(self._net.host, self._readable)

    def _readable(self) -> bool:
        return bool(self.peer.says) or self.peer.is_done or "RECEIVE" in self._ended

    def _wait(self, timeout: str, *, until: Callable[[], bool]) -> None:
        limit = self._options[timeout]
        if limit is None:
            self._net.host.wait_forever(until=until)
        else:
            self._net.host.wait(limit * 1_000_000, until=until)


class LocalListener(_Handle):
    """As the generated resource `unix-listener`: who waits has proved that it may talk to it."""

    def __init__(self, net: FakeNet, asked: str = LOCAL, local: str = "") -> None:
        super().__init__(net, "listener")
        self._asked = asked
        self._local = local

    def accept(self) -> Stream:
        """As the kernel's."""
        self._net.check("stream")
        self._net.host.wait_forever(until=self._waits)
        return self._taken()

    def poll_accept(self, timeout_ms: int) -> Stream | None:
        """As the kernel's."""
        if self._net.live["stream"] >= _LIMITS["stream"]:
            return None
        timeout_ns = min(timeout_ms, _MAX_POLL_MS) * 1_000_000
        self._net.host.wait(timeout_ns, until=self._waits)
        return self._taken() if self._waits() else None

    def subscribe_readiness(self) -> Ready:
        """Ready when somebody waits."""
        return Ready(self._net.host, self._waits)

    def _waits(self) -> bool:
        return bool(self._net.host.wire.clients.get(self._asked))

    def _taken(self) -> Stream:
        return Stream(self._net, self._net.host.wire.clients[self._asked].pop(0), self._local)


class Listener(LocalListener):
    """As the generated resource `tcp-listener`, which says where it is as well."""

    def local_addr(self) -> str:
        """Where it listens."""
        return self._local


class Udp(_Handle):
    """As the generated resource `udp-socket`."""

    def __init__(self, net: FakeNet, local: str) -> None:
        super().__init__(net, "udp")
        self._local = local
        self._peer: tuple[str, str] | None = None
        self._timeout_ms: int | None = None
        self._waiting: list[tuple[bytes, str]] = []

    def send_to(self, data: bytes, peer_host: str, peer_port: int) -> int:
        """As the kernel's."""
        return self._sent(data, *self._net.receiver(peer_host, peer_port))

    def connect(self, peer_host: str, peer_port: int) -> None:
        """As the kernel's."""
        self._peer = self._net.receiver(peer_host, peer_port)

    def disconnect(self) -> None:
        """As the kernel's."""
        self._peer = None

    def send(self, data: bytes) -> int:
        """As the kernel's."""
        require(self._peer is not None, case="unknown")
        return self._sent(data, *(self._peer or ("", "")))

    def recv_from(self, max_bytes: int) -> UdpDatagram | None:
        """As the kernel's."""
        if self._timeout_ms is None:
            self._net.host.wait_forever(until=self._has)
        else:
            self._net.host.wait(self._timeout_ms * 1_000_000, until=self._has)
        if not self._has():
            return None
        data, sender = self._waiting.pop(0)
        host, _, port = sender.rpartition(":")
        return UdpDatagram(data[:max_bytes], host.strip("[]"), int(port))

    def recv(self, max_bytes: int) -> bytes | None:
        """As the kernel's."""
        require(self._peer is not None, case="unknown")
        found = self.recv_from(max_bytes)
        return None if found is None else found.data

    def peer_addr(self) -> str | None:
        """Where the peer is."""
        return None if self._peer is None else self._peer[1]

    def local_addr(self) -> str:
        """Where this side is."""
        return self._local

    def set_read_timeout(self, timeout_ms: int | None) -> None:
        """As the kernel's."""
        self._timeout_ms = timeout_ms

    def subscribe_readable(self) -> Ready:
        """Ready when a datagram waits."""
        return Ready(self._net.host, self._has)

    def _has(self) -> bool:
        return bool(self._waiting)

    def _sent(self, data: bytes, named: str, where: str) -> int:
        require(len(data) <= MAX_DATAGRAM_BYTES, case="unknown")
        self._net.host.wire.datagrams.append((data, named))
        answer = self._net.host.wire.peers.get(named, b"")
        said = answer if isinstance(answer, bytes) else answer(data)
        if said:
            self._waiting.append((said, where))
        return len(data)


class FakeNet:
    """Functions and types of `astrid:net/host`."""

    ShutdownHow = ShutdownHow

    def __init__(self, host: Host) -> None:
        self.host = host
        self.live = dict.fromkeys(_LIMITS, 0)
        self._ports: Iterator[int] = iter(range(_FIRST_PORT, 65_536))

    def connect_tcp(self, host: str, port: int) -> Stream:
        """To a peer of the test."""
        self._require("net_connect", host, port)
        self.check("stream")
        where, named = endpoint(self._address(host, port), port), endpoint(host, port)
        require(named in self.host.wire.peers, case="connection-refused")
        peer = Peer(where, self.host.wire.peers[named])
        self.host.wire.connections.append(peer)
        return Stream(self, peer, f"192.0.2.1:{next(self._ports)}")

    def bind_tcp(self, host: str, port: int) -> Listener:
        """Where clients of the test connect to."""
        self._require("net_tcp_bind", host, port)
        return Listener(self, endpoint(host, port), self._local(host, port))

    def udp_bind(self, host: str, port: int) -> Udp:
        """A socket whose datagrams peers of the test answer."""
        self._require("net_udp", host, port, verb="bind:")
        return Udp(self, self._local(host, port))

    def bind_unix(self) -> LocalListener:
        """The capsule's local socket, where clients of the test connect to."""
        require(bool(self.host.sockets.get("net_bind")), case="capability-denied")
        return LocalListener(self)

    def lookup_host(self, text: str) -> list[str]:
        """What the test says about the name, without what is inside."""
        listed = self.host.sockets.get("net_connect", [])
        known = any(entry.lower().rpartition(":")[0] == text.lower() for entry in listed)
        require(known, case="capability-denied")
        opened = {one.rpartition(":")[0] for one in self.host.wire.opened}
        found = self._addresses(text)
        return [one for one in found if self._is_public(one) or one in opened]

    def receiver(self, host: str, port: int) -> tuple[str, str]:
        """Name and address of somebody who may be sent to."""
        self._require("net_udp", host, port, verb="send:")
        return endpoint(host, port), endpoint(self._address(host, port), port)

    def check(self, kind: str) -> None:
        """Whether there may be one more of a kind."""
        require(self.live[kind] < _LIMITS[kind], case="quota")

    def take(self, kind: str) -> None:
        """There is one more."""
        self.check(kind)
        self.live[kind] += 1

    def _require(self, listed: str, host: str, port: int, *, verb: str = "") -> None:
        require(bool(host) and "\0" not in host, case="address-not-available")
        name = endpoint(host, port).rpartition(":")[0].lower()
        wanted = {f"{verb}{name}:{port}", f"{verb}{name}:*"}
        entries = {entry.lower() for entry in self.host.sockets.get(listed, [])}
        if verb == "send:":
            wanted |= {one.removeprefix("send:") for one in wanted}
        require(bool(wanted & entries), case="capability-denied")

    def _address(self, host: str, port: int) -> str:
        found = self._addresses(host)
        opened = self.host.wire.opened
        good = all(self._is_public(one) or endpoint(one, port) in opened for one in found)
        require(good, case="airlock-rejected")
        return found[0]

    def _addresses(self, host: str) -> list[str]:
        names, bare = self.host.wire.names, host.strip("[]")
        if bare in names:
            return names[bare]
        try:
            return [str(ipaddress.ip_address(bare))]
        except ValueError:
            starts = f"{host}:"
            is_known = any(name.startswith(starts) for name in self.host.wire.peers)
            require(is_known, case="name-unresolvable")
            return ["93.184.215.14"]

    def _is_public(self, address: str) -> bool:
        return ipaddress.ip_address(address).is_global

    def _local(self, host: str, port: int) -> str:
        return endpoint(host, port or next(self._ports))
