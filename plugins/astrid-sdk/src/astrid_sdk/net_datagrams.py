"""A UDP socket. Made by `net`.

Spec: astrid:net@1.0.0 udp-socket.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from astrid_sdk.net_calls import Address, Socket, endpoint, explained, parse_address
from astrid_sdk.times import milliseconds

MAX_DATAGRAM_BYTES: Final = 65_507


class Datagram(NamedTuple):
    """A datagram and who sent it.

    Attributes:
        data: Its content, cut to the length that was asked for.
        sender: Where it came from; UDP cannot prove that.
    """

    data: bytes
    sender: Address


class UdpSocket(Socket):
    """A UDP socket, of everybody or, after `connect`, of one peer."""

    def __init__(self, handle: Any) -> None:
        super().__init__(handle)
        self._read_timeout: float | None = None

    def send_to(self, data: bytes, host: str, port: int) -> int:
        """Send a datagram of at most 65,507 bytes; the number of bytes sent.

        Raises:
            NetError: `PermissionError` without an entry of `net_udp` for the receiver,
                `NetAirlockRejectedError`, `NetNameError`.
        """
        sent: int = self._receiver("send_to", host, port, data)
        return sent

    def receive_from(self, max_bytes: int = MAX_DATAGRAM_BYTES) -> Datagram | None:
        """The next datagram; None when `read_timeout` passes.

        Raises:
            NetError: `NetClosedError`.
        """
        found = self._call("recv_from", max_bytes)
        if found is None:
            return None
        return Datagram(found.data, Address(found.peer_host, found.peer_port))

    def connect(self, host: str, port: int) -> None:
        """Send to one peer, and hear nobody else, from now on; raises as `send_to`."""
        self._receiver("connect", host, port)

    def disconnect(self) -> None:
        """Hear everybody again."""
        self._call("disconnect")

    def send(self, data: bytes) -> int:
        """Send to the peer; raises as `send_to`."""
        sent: int = self._call("send", data)
        return sent

    def receive(self, max_bytes: int = MAX_DATAGRAM_BYTES) -> bytes | None:
        """The next datagram of the peer; None when `read_timeout` passes.

        Raises:
            NetError: `NetUnavailableError` without a peer, `NetClosedError`.
        """
        data: bytes | None = self._call("recv", max_bytes)
        return data

    @property
    def read_timeout(self) -> float | None:
        """Seconds that receiving waits, None for ever."""
        return self._read_timeout

    @read_timeout.setter
    def read_timeout(self, value: float | None) -> None:
        self._call("set_read_timeout", milliseconds(value))
        self._read_timeout = value

    @property
    def peer(self) -> Address | None:
        """Where the peer is, None without one."""
        found = self._call("peer_addr")
        return None if found is None else parse_address(found)

    @property
    def local(self) -> Address:
        """Where this side is, with the port that it got."""
        return parse_address(self._call("local_addr"))

    def _receiver(self, name: str, host: str, port: int, *first: object) -> Any:
        return explained(
            lambda: self._call(name, *first, host, port),
            entry=f"send:{endpoint(host, port)}",
            listed="net_udp",
        )
