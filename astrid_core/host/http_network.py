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
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from astrid_core.domain.egress import EgressRule
from astrid_core.domain.ip_ranges import IpAddress, parse_address
from astrid_hookspecs.errors import QuotaExceededError
from astrid_hookspecs.values import CapsuleId, Principal

MAX_RUNNING: Final = 16
"""Requests of a capsule for a principal whose threads have not ended; 4 are streams at most."""

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


class Running:
    """Counts the requests whose threads have not ended. Any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[CapsuleId, Principal]] = Counter()

    def begin(self, capsule: CapsuleId, principal: Principal) -> Callable[[], None]:
        """Count one more; what comes back is called once, when its thread has ended.

        Raises:
            QuotaExceededError: There are too many.
        """
        owner = (capsule, principal)
        with self._lock:
            if self._counts[owner] >= MAX_RUNNING:
                raise QuotaExceededError(
                    f"{MAX_RUNNING} requests of capsule {capsule!r} have not ended",
                    rule="http.running",
                )
            self._counts[owner] += 1
        return lambda: self._end(owner)

    def _end(self, owner: tuple[CapsuleId, Principal]) -> None:
        with self._lock:
            self._counts[owner] -= 1
            if not self._counts[owner]:
                del self._counts[owner]


@dataclass(frozen=True, slots=True)
class Network:
    """The network as capsules get it.

    Attributes:
        resolve: Looks names up.
        consent: Local targets that the operator opened.
        tls: Verifies certificates; made at the first use.
        running: Of all capsules.
    """

    resolve: Resolve = system_resolver
    consent: tuple[EgressRule, ...] = ()
    tls: Callable[[], ssl.SSLContext] = field(
        default_factory=lambda: functools.cache(ssl.create_default_context)
    )
    running: Running = field(default_factory=Running)


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
