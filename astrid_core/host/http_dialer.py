"""The connection step: to an address that the gate has checked, and to no other.

Trusted with not looking anything up: whatever name the client library has, what it gets is a
connection to the address that was judged. Spec: host-abi H-22, 12.4.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import httpcore2

from astrid_core.host.http_bounds import LEAST_S
from astrid_core.host.http_network import Line
from astrid_core.security.checked import CheckedAddress


class CheckedDialer(httpcore2.NetworkBackend):
    """Connects to checked addresses, whatever the client library asks for.

    Args:
        addresses: Where to, best first.
        line: Told of the connection.
    """

    def __init__(self, addresses: Sequence[CheckedAddress], line: Line) -> None:
        self._addresses = addresses
        self._line = line
        self._system = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - a name; what was checked are the addresses
        port: int,  # noqa: ARG002 - the same
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 - not used by guests
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """As the base class says; one address after the other within the time."""
        deadline = None if timeout is None else time.monotonic() + timeout
        problem: Exception = httpcore2.ConnectError("there is no address")
        for checked in self._addresses:
            if self._line.is_cut:
                raise httpcore2.ConnectError("given up")
            left = None if deadline is None else max(LEAST_S, deadline - time.monotonic())
            try:
                stream = self._system.connect_tcp(
                    str(checked.address), checked.port, timeout=left, socket_options=socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                problem = error
                continue
            self._line.hold(stream.get_extra_info("socket"))
            return stream
        raise problem

    def connect_unix_socket(
        self,
        path: str,  # noqa: ARG002 - refused whatever it is
        timeout: float | None = None,  # noqa: ARG002 - the same
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002 - the same
    ) -> httpcore2.NetworkStream:
        """Never: there is no unchecked way.

        Raises:
            ConnectError: Always.
        """
        raise httpcore2.ConnectError("no unchecked connections")
