"""What requests of all capsules share: the resolver, certificates, local targets, and threads.

Trusted with ends: a connection can be cut from outside whatever it is wrapped in, and requests that
were given up while the system still looks names up or connects count until it has stopped.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from astrid_core.domain.egress import EgressRule
from astrid_core.domain.ip_ranges import IpAddress, parse_address
from astrid_core.host.counts import Counts
from astrid_hookspecs.errors import QuotaExceededError
from astrid_hookspecs.values import CapsuleId, Principal

MAX_RUNNING: Final = 16
"""Requests of a capsule for a principal whose threads have not ended; 4 are streams at most."""
MAX_CONNECTIONS: Final = 64
"""Sockets and requests of a principal, unless the operator says otherwise."""
MAX_LOOKUPS: Final = 16
"""Look-ups of a principal that the system has not ended, also those that nobody waits for."""
MAX_ALL_LOOKUPS: Final = 64
"""The same for everybody together: each of them holds a thread."""

Resolve = Callable[[str, int], Sequence[IpAddress]]
"""The addresses of a name, best first; raises OSError."""


def system_resolver(host: str, port: int) -> list[IpAddress]:
    """As the system resolves names, once.

    Raises:
        OSError: There is no such name, or nobody answers.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # labels that no name can have
        raise OSError("not a name") from error
    addresses = (parse_address(str(entry[4][0])) for entry in found)
    return [address for address in dict.fromkeys(addresses) if address is not None]


def _running() -> Counts[tuple[CapsuleId, Principal]]:
    return Counts(what="requests that have not ended", rule="http.running", most=MAX_RUNNING)


def connection_counts(most: int = MAX_CONNECTIONS) -> Counts[Principal]:
    """Counts sockets and requests of principals, over all their capsules."""
    return Counts(what="sockets and requests", rule="network.connections", most=most)


def _lookups() -> Counts[Principal]:
    return Counts(
        what="look-ups of names that have not ended",
        rule="network.lookups",
        most=MAX_LOOKUPS,
        total=MAX_ALL_LOOKUPS,
    )


@dataclass(frozen=True, slots=True)
class Network:
    """The network as capsules get it.

    Attributes:
        resolve: Looks names up.
        consent: Local targets that the operator opened.
        tls: Verifies certificates; made at the first use.
        running: Requests, by capsule and principal.
        connections: Sockets and requests, by principal.
        lookups: Look-ups that have not ended, by principal.
    """

    resolve: Resolve = system_resolver
    consent: tuple[EgressRule, ...] = ()
    tls: Callable[[], ssl.SSLContext] = field(
        default_factory=lambda: functools.cache(ssl.create_default_context)
    )
    running: Counts[tuple[CapsuleId, Principal]] = field(default_factory=_running)
    connections: Counts[Principal] = field(default_factory=connection_counts)
    lookups: Counts[Principal] = field(default_factory=_lookups)

    def begin_request(self, capsule: CapsuleId, principal: Principal) -> Callable[[], None]:
        """Count a request; what comes back is called once its thread has ended.

        Raises:
            QuotaExceededError: There are too many.
        """
        ended = self.running.take((capsule, principal))
        try:
            closed = self.connections.take(principal)
        except QuotaExceededError:
            ended()
            raise

        def both() -> None:
            ended()
            closed()

        return both

    def look_up(self, principal: Principal, host: str, port: int) -> list[IpAddress]:
        """The addresses of a name, best first; counted until the system has answered.

        Raises:
            OSError: There is no such name, or nobody answers.
            QuotaExceededError: Too many look-ups have not ended.
        """
        over = self.lookups.take(principal)
        try:
            return list(self.resolve(host, port))
        finally:
            over()


class Line:
    """The connection of an exchange, which another thread can cut."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._is_cut = False

    def hold(self, sock: socket.socket) -> None:
        """This is the connection now; cut at once if it was to be."""
        # A handle of its own: TLS takes the socket's away, and a number may be used again.
        own = sock.dup()
        with self._lock:
            self._let_go()
            self._socket = own
            if self._is_cut:
                self._cut()

    def release(self) -> None:
        """The connection is over."""
        with self._lock:
            self._let_go()

    def cut(self) -> None:
        """End whatever waits on it, now or later."""
        with self._lock:
            self._is_cut = True
            self._cut()

    @property
    def is_cut(self) -> bool:
        """Whether it was."""
        return self._is_cut

    def _let_go(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _cut(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it is not connected any more
                self._socket.shutdown(socket.SHUT_RDWR)
