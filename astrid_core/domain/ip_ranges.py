"""Which addresses belong to the open internet, and which a guest may not reach without consent.

Trusted with unwrapping: an address that carries another one inside (mapped, translated, compatible,
NAT64, 6to4, Teredo) is judged by what it leads to. Spec: host-abi 12.4; kernel-and-security 11.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, TypeAlias

IpAddress: TypeAlias = IPv4Address | IPv6Address

_V4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "168.63.129.16/32",  # a cloud's host answers its guests there, as 169.254.169.254 does
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
_V6: Final = tuple(
    map(
        IPv6Network,
        (
            "::/128",
            "::1/128",
            "64:ff9b:1::/48",
            "100::/64",
            "2001::/23",
            "2001:db8::/32",
            "3fff::/20",
            "5f00::/16",
            "fc00::/7",
            "fe80::/10",
            "fec0::/10",
            "ff00::/8",
        ),
    )
)
_ASSIGNED: Final = IPv6Network("2000::/3")
"""The only addresses handed out; elsewhere are overlay networks, and what is not yet known."""
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_TRANSLATED: Final = IPv6Network("::ffff:0:0:0/96")
_COMPATIBLE: Final = IPv6Network("::/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_6TO4: Final = IPv6Network("2002::/16")
_TEREDO: Final = IPv6Network("2001::/32")
_MASK32: Final = 0xFFFFFFFF


def parse_address(text: str) -> IpAddress | None:
    """An address in its usual notation; None for a name. Zones are kept, brackets are not read."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def blocked_range(address: IpAddress) -> str | None:
    """The range that keeps an address from being reached without consent; None for a public one.

    Args:
        address: As the resolver gave it; a zone makes it local.
    """
    for inner in _unwrapped(address):
        if isinstance(inner, IPv4Address):
            found = next((str(net) for net in _V4 if inner in net), None)
        elif inner.scope_id is not None:
            found = "scoped"
        else:
            found = next((str(net) for net in _V6 if inner in net), None)
            if found is None and inner not in _ASSIGNED:
                found = f"outside {_ASSIGNED}"
        if found is not None:
            return found
    return None


def _unwrapped(address: IpAddress) -> Iterator[IpAddress]:
    """The addresses that decide: what is carried inside, or the address itself."""
    if isinstance(address, IPv4Address):
        yield address
        return
    number = int(address)
    # `::` and `::1` look like compatible ones and are addresses of their own.
    carries = any(address in net for net in (_MAPPED, _TRANSLATED, _NAT64))
    if carries or (address in _COMPATIBLE and number > 1):
        yield IPv4Address(number & _MASK32)
    elif address in _6TO4:
        yield IPv4Address(number >> 80 & _MASK32)
    elif address in _TEREDO:
        yield IPv4Address(number >> 64 & _MASK32)
        yield IPv4Address(~number & _MASK32)
    else:
        yield address
