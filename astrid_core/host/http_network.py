"""What requests of all capsules share: the resolver, certificates, and local targets."""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from astrid_core.domain.egress import EgressRule
from astrid_core.domain.ip_ranges import IpAddress, parse_address

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


@dataclass(frozen=True, slots=True)
class Network:
    """The network as capsules get it.

    Attributes:
        resolve: Looks names up.
        consent: Local targets that the operator opened.
        tls: Verifies certificates; made at the first use.
    """

    resolve: Resolve = system_resolver
    consent: tuple[EgressRule, ...] = ()
    tls: Callable[[], ssl.SSLContext] = field(
        default_factory=lambda: functools.cache(ssl.create_default_context)
    )


class Line:
    """The connection of an exchange, which another thread can cut."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._is_cut = False

    def hold(self, sock: socket.socket) -> None:
        """This is the connection now; cut at once if it was to be."""
        with self._lock:
            self._socket = sock
            if self._is_cut:
                self._cut()

    def cut(self) -> None:
        """End whatever waits on it, now or later."""
        with self._lock:
            self._is_cut = True
            self._cut()

    @property
    def is_cut(self) -> bool:
        """Whether it was."""
        return self._is_cut

    def _cut(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it is not connected any more
                self._socket.shutdown(socket.SHUT_RDWR)
