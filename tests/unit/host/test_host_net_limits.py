"""What strangers and resolvers cannot do to a guest's sockets, against real ones."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from astrid_core.domain.egress import parse_egress
from astrid_core.host.http_network import Network
from astrid_hookspecs.cancel import CancelToken

NET = "astrid:net/host@1.0.0"
FLOOD_S = 3.0
SOON_S = 1.5


@pytest.fixture
def do(call: Any) -> Callable[..., Any]:
    return partial(call, interface=NET)


class Flooded(socket.socket):
    """A socket to which a stranger sends something just before each look: it is never empty."""

    def __init__(self, owned: socket.socket) -> None:
        super().__init__(owned.family, owned.type, fileno=owned.detach())
        self.setblocking(False)
        self._until = time.monotonic() + FLOOD_S

    def recvfrom(self, *arguments: Any) -> Any:
        if time.monotonic() < self._until:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.sendto(b"flood", self.getsockname())
        return super().recvfrom(*arguments)


@pytest.mark.parametrize("ends_by", ["timeout", "cancel", "deadline"])
def test_a_flood_of_strangers_does_not_hold_a_call(do: Any, world: Any, ends_by: str) -> None:
    token = CancelToken()
    instance = world.open(
        net_udp=("bind:127.0.0.1:*", "127.0.0.1:9"),
        services={"network": Network(consent=(parse_egress("127.0.0.1:*"),))},
        cancel=token,
        timeout_s=0.3 if ends_by == "deadline" else None,
    )
    sock = do(instance, "udp-bind", "127.0.0.1", 0)[1]
    assert do(instance, "[method]udp-socket.connect", sock, "127.0.0.1", 9) == ("ok", None)
    sock._socket = Flooded(sock._socket)
    if ends_by == "timeout":
        do(instance, "[method]udp-socket.set-read-timeout", sock, 50)
    if ends_by == "cancel":
        threading.Timer(0.05, token.fire).start()
    begun = time.monotonic()
    answer = do(instance, "[method]udp-socket.recv", sock, 10)
    assert time.monotonic() - begun < SOON_S
    assert answer == (("ok", None) if ends_by == "timeout" else ("closed", None))


@pytest.fixture
def needs_ipv6() -> Iterator[None]:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            yield
    except OSError:
        pytest.skip("this machine has no IPv6")


@pytest.mark.usefixtures("needs_ipv6")
def test_listening_on_every_ipv6_address_is_not_listening_on_ipv4(do: Any, world: Any) -> None:
    instance = world.open(net_tcp_bind=("[::]:*",))
    listener = do(instance, "bind-tcp", "::", 0)[1]
    port = int(listener.local_addr.rpartition(":")[2])
    with socket.create_connection(("::1", port), timeout=5):
        assert do(instance, "[method]tcp-listener.poll-accept", listener, 1000)[1] is not None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5).close()


@pytest.mark.usefixtures("needs_ipv6")
def test_datagrams_for_every_ipv6_address_do_not_come_by_ipv4(do: Any, world: Any) -> None:
    instance = world.open(net_udp=("bind:[::]:*",))
    sock = do(instance, "udp-bind", "::", 0)[1]
    port = int(sock.local_addr.rpartition(":")[2])
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as peer:
            peer.sendto(host.encode(), (host, port))
    found = do(instance, "[method]udp-socket.recv-from", sock, 20)[1]
    assert (found.data, found.peer_host) == (b"::1", "::1")
