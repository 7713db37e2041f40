"""Single requests without a guest: the gate, the look-up and the connection are the real ones."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

from astrid_core.builtin.system_clock import SystemClock
from astrid_core.domain.http_message import HttpRequestError, parse_request
from astrid_core.host.http_authorize import Hops
from astrid_core.host.http_bounds import Bounds
from astrid_core.host.http_exchange import Exchange
from astrid_core.host.http_network import Network
from astrid_core.host.instance import Instance
from astrid_core.security.gate import Gate
from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.values import CapsuleId, Principal

BOUNDS = Bounds(total_s=5.0)


class _Silent:
    def append(self, _entry: object, *, durable: bool = False) -> None:
        """Recorded elsewhere."""


def outcome(
    url: str,
    network: Network,
    *,
    net: tuple[str, ...] = ("*",),
    bounds: Bounds = BOUNDS,
    headers: list[tuple[str, str]] | None = None,
) -> str:
    """What a GET of a capsule ends with: `200`, or the case of 1.1 that refused it."""
    services: Any = SimpleNamespace(
        gate=Gate(votes=None, decided=lambda _: None),
        network=network,
        audit=_Silent(),
        clock=SystemClock(),
    )
    instance = SimpleNamespace(
        services=services,
        grants=CapsuleGrants(CapsuleId("web"), net=net),
        principal=Principal("alice"),
        context=SimpleNamespace(id=CapsuleId("web")),
    )
    try:
        request = parse_request(url, ("get", None), headers or [], None)
    except HttpRequestError as error:
        return error.case
    exchange = Exchange(
        request,
        bounds=bounds,
        hops=Hops(cast("Instance", instance)),
        network=network,
        ended=lambda: None,
    )
    answered = threading.Event()
    exchange.answered.add_waiter(answered)
    exchange.start()
    assert answered.wait(10), "neither an answer nor a failure"
    try:
        return exchange.failure.case if exchange.failure else str(exchange.status)
    finally:
        exchange.abort()
