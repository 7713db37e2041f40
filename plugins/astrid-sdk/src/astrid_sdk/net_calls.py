"""Calls of the host's socket functions; a refusal says what would allow it.

`net` is what capsules use; it is built on this module. Spec: astrid:net@1.0.0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from astrid_sdk.bindings import guarded, host_call
from astrid_sdk.held import Held
from astrid_sdk.net_errors import NetAirlockRejectedError, NetCapabilityDeniedError, NetClosedError
from astrid_sdk.poll import Pollable


class Address(NamedTuple):
    """Where a socket is.

    Attributes:
        host: IP address, an IPv6 one without brackets.
        port: Its port.
    """

    host: str
    port: int


def call(name: str, host: str, port: int, *, listed: str, verb: str = "") -> Any:
    """Call a function of a host and a port.

    Args:
        name: In snake case.
        host: Name or address.
        port: Port.
        listed: The list of the manifest that is asked.
        verb: What stands before the entry there.

    Raises:
        NetError: The host refused.
    """
    entry = f"{verb}{endpoint(host, port)}"
    return explained(lambda: host_call("net", name, host, port), entry=entry, listed=listed)


def explained(function: Callable[[], Any], *, entry: str, listed: str) -> Any:
    """Call something that is refused without an entry; the refusal names it.

    Raises:
        NetError: The host refused.
    """
    try:
        return function()
    except NetCapabilityDeniedError as error:
        hint = f'needs "{entry}" in {listed} below [capabilities] of Capsule.toml'
        error.helped(hint)
        raise
    except NetAirlockRejectedError as error:
        hint = "an operator can open the address: local_egress below [network] of etc/config.toml"
        error.helped(hint)
        raise


class Socket(Held):
    """What every socket has."""

    def ready(self) -> Pollable:
        """Something to wait for with `poll.wait_any`: ready when the next call need not wait."""
        return Pollable(self._call("subscribe_readable"))

    def _call(self, name: str, *arguments: object) -> Any:
        if self._handle is None:
            raise NetClosedError("net", name.replace("_", "-"), "closed")
        return guarded("net", name, getattr(self._handle, name), *arguments)


def endpoint(host: str, port: int) -> str:
    """Host and port as a manifest has them."""
    bare = host.strip("[]")
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


def parse_address(text: str) -> Address:
    """Read `ip:port` or `[ip]:port`, as the host writes it."""
    host, _, port = text.rpartition(":")
    return Address(host.strip("[]"), int(port))
