"""Where a capsule may connect to, and to which local targets the operator consented.

Spec: kernel-and-security 11; capsules-and-bus 1.7.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from typing import Final

from astrid_core.domain.ip_ranges import IpAddress, parse_address

MAX_PORT: Final = 65_535


def host_matches(host: str, entry: str) -> bool:
    """Whether an entry of `capabilities.net` covers a host: itself, names below it, or `*`.

    Args:
        host: Lower case, as a URL has it; IPv6 addresses without brackets.
        entry: As the manifest has it, any case. Spec: kernel-and-security D-67.
    """
    entry = entry.lower()
    if entry in ("*", host):
        return True
    # Names have parents, addresses do not: `0.0.1` is no parent of `127.0.0.1`.
    return bool(entry) and host.endswith("." + entry) and parse_address(host) is None


def endpoint_matches(host: str, port: int | None, entry: str) -> bool:
    """Whether an entry `host:port` or `host:*` of `capabilities.net_connect` covers a target.

    Args:
        host: Compared without case, and without brackets; `*` in an entry is no wildcard for it.
        port: None asks whether the entry covers the name at all, for look-ups.
        entry: As the manifest has it.
    """
    name, colon, wanted = entry.rpartition(":")
    if not colon or not name or bare_host(name) != bare_host(host):
        return False
    return port is None or wanted == "*" or wanted == str(port)


def datagram_matches(host: str, port: int, entry: str, *, verb: str) -> bool:
    """Whether an entry of `capabilities.net_udp` covers what a socket does.

    Args:
        host: As in `endpoint_matches`.
        port: Of the socket or of the receiver.
        entry: `bind:host:port`, `send:host:port`, or `host:port`, which is the same as `send:`.
        verb: `bind` or `send`.
    """
    kind, _, endpoint = entry.partition(":")
    if kind == verb:
        return endpoint_matches(host, port, endpoint)
    return verb == "send" and kind != "bind" and endpoint_matches(host, port, entry)


def bare_host(host: str) -> str:
    """In lower case, and an IPv6 address without its brackets."""
    host = host.lower()
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


@dataclass(frozen=True, slots=True)
class EgressRule:
    """Local targets that the operator consented to.

    Attributes:
        network: Which addresses.
        port: Which port; None for every one.
    """

    network: IPv4Network | IPv6Network
    port: int | None

    def covers(self, address: IpAddress, port: int) -> bool:
        """Whether the consent is about this target."""
        mapped = None if isinstance(address, IPv4Address) else address.ipv4_mapped
        return (mapped or address) in self.network and self.port in (None, port)

    def __str__(self) -> str:
        return f"{self.network}:{'*' if self.port is None else self.port}"


def parse_egress(text: str) -> EgressRule:
    """Read `127.0.0.1:8080`, `10.0.0.0/8:*` or `[fd00::/8]:443`.

    Raises:
        ValueError: It is none of these; the message says what is wrong.
    """
    place, colon, port = text.rpartition(":")
    if not colon or not place:
        raise ValueError("it needs a port: ADDRESS:PORT, or :* for every port")
    if place.startswith("[") and place.endswith("]"):
        place = place[1:-1]
    elif ":" in place:
        raise ValueError("an IPv6 address stands in brackets: [fd00::1]:443")
    if port != "*" and not (port.isascii() and port.isdigit() and 0 < int(port) <= MAX_PORT):
        raise ValueError(f"a port is a number from 1 to {MAX_PORT}, or *")
    try:
        network = ip_network(place)
    except ValueError as error:
        raise ValueError(f"{place!r} is no address and no network ({error})") from error
    return EgressRule(network, None if port == "*" else int(port))
