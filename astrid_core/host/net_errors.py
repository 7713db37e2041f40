"""Error cases of `astrid:net@1.0.0`, and texts of its arguments. Spec: host-abi 12.1."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from astrid_core.domain.egress import bare_host
from astrid_core.domain.ip_ranges import parse_address
from astrid_core.security.network_checks import LOCAL_EGRESS, endpoint
from astrid_hookspecs.engines import WitError
from astrid_hookspecs.errors import CapabilityDeniedError

MAX_HOST_BYTES: Final = 255
_MAX_PORT: Final = 65_535
_CASES: Final[Mapping[int, str]] = MappingProxyType(
    {
        errno.EAGAIN: "would-block",
        errno.ECONNREFUSED: "connection-refused",
        errno.ECONNRESET: "connection-reset",
        errno.ECONNABORTED: "connection-reset",
        errno.EPIPE: "connection-reset",
        errno.ETIMEDOUT: "timeout",
        errno.EADDRINUSE: "address-in-use",
        errno.EADDRNOTAVAIL: "address-not-available",
        errno.EBADF: "closed",
    }
)


def net_answer(error: Exception) -> WitError | None:
    """The error case of an exception; None for what `HostPackage` knows already."""
    if isinstance(error, CapabilityDeniedError) and error.rule == LOCAL_EGRESS:
        return WitError("airlock-rejected")
    if isinstance(error, OSError) and error.errno is not None:
        case = _CASES.get(error.errno)
        return WitError("unknown", "network error") if case is None else WitError(case)
    return None


def parse_host(text: str) -> str:
    """A host as the gate compares it: lower case, an IPv6 address without brackets.

    Raises:
        WitError: `address-not-available`: the text can be no host.
    """
    host = bare_host(text)
    if not host or "\0" in host or len(host.encode()) > MAX_HOST_BYTES:
        raise WitError("address-not-available")
    return host


def parse_target(text: str) -> tuple[str, int | None]:
    """Host and port of `host`, `host:port` or `[address]:port`.

    Raises:
        WitError: As `parse_host`.
    """
    whole = parse_host(text)
    name, colon, port = whole.rpartition(":")
    is_port = port.isascii() and port.isdigit() and int(port) <= _MAX_PORT
    if parse_address(whole) is not None or not colon or not is_port:
        return whole, None
    return parse_host(name), int(port)


def shown(address: tuple[object, ...] | str) -> str:
    """A socket's address as guests see it: `ip:port`, `[ip]:port`; empty for a local one's path."""
    if isinstance(address, str):
        return ""
    return endpoint(str(address[0]), int(str(address[1])))
