"""The network around the fake host, as a test says it is, and what sockets hand out.

Spec: host-abi 12.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol, TypeAlias

Answer: TypeAlias = bytes | Callable[[bytes], bytes | None]
"""What a peer says at first, or to each thing that it gets; None ends the connection."""
LOCAL: Final = "unix"
"""Where clients of the capsule's local socket are listed in `Wire.clients`."""


class Peer:
    """The other end of a connection.

    Args:
        where: `host:port`, its own.
        answer: What it says.

    Attributes:
        got: What the capsule sent.
        says: What the capsule has not read yet.
        is_done: Whether it says nothing more.
    """

    def __init__(self, where: str = "198.51.100.7:50000", answer: Answer = b"") -> None:
        self.where = where
        self.got = bytearray()
        self.says = bytearray(answer if isinstance(answer, bytes) else b"")
        self.is_done = False
        self._answer = None if isinstance(answer, bytes) else answer

    def take(self, data: bytes) -> None:
        """The capsule sent something."""
        self.got += data
        if self._answer is not None:
            said = self._answer(data)
            self.is_done = self.is_done or said is None
            self.says += said or b""


@dataclass
class Wire:
    """What a test says about the network.

    Attributes:
        peers: What answers at `host:port`, over TCP and UDP; nobody else is there.
        names: Addresses by name; a name without is public, if something answers there.
        opened: `address:port` inside that the operator agreed to.
        connections: Peers that the capsule connected to, in order.
        clients: Peers that connect to the capsule, by the `host:port` it asked to listen on; by
            `unix` those of its local socket, past the handshake.
        datagrams: What was sent, and to whom.
    """

    peers: dict[str, Answer] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)
    opened: set[str] = field(default_factory=set)
    connections: list[Peer] = field(default_factory=list)
    clients: dict[str, list[Peer]] = field(default_factory=dict)
    datagrams: list[tuple[bytes, str]] = field(default_factory=list)


class Clock(Protocol):
    """Waits, on the fake clock."""

    def wait(self, duration_ns: int, *, until: Callable[[], bool]) -> None:
        """For so long at most."""
        ...

    def wait_forever(self, *, until: Callable[[], bool]) -> None:
        """Until something happens."""
        ...


class Host(Clock, Protocol):
    """What is needed of the fake host."""

    wire: Wire
    sockets: dict[str, list[str]]


class ShutdownHow(enum.Enum):
    """As the generated enum."""

    RECEIVE = 0
    SEND = 1
    BOTH = 2


class NetReadStatus_Data(NamedTuple):  # noqa: N801 - as generated
    """As the generated case; so are those below."""

    value: bytes


class NetReadStatus_Closed(NamedTuple):  # noqa: N801 - as generated
    """See `NetReadStatus_Data`."""


class NetReadStatus_Pending(NamedTuple):  # noqa: N801 - as generated
    """See `NetReadStatus_Data`."""


class UdpDatagram(NamedTuple):
    """As the generated record."""

    data: bytes
    peer_host: str
    peer_port: int


class Ready:
    """A pollable of a socket or a program."""

    def __init__(self, clock: Clock, is_ready: Callable[[], bool]) -> None:
        self._clock = clock
        self.ready = is_ready

    def block(self) -> None:
        """Wait."""
        self._clock.wait_forever(until=self.ready)

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""
