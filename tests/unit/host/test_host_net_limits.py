"""How much of the network there is for whom, and what strangers and resolvers cannot do to it.

Real sockets; `tests/security/test_silent_dns.py` has a DNS server that never answers.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from astrid_core.domain.egress import parse_egress
from astrid_core.domain.ip_ranges import IpAddress
from astrid_core.host import net
from astrid_core.host.http_network import (
    MAX_ALL_LOOKUPS,
    MAX_LOOKUPS,
    MAX_RUNNING,
    Network,
    connection_counts,
)
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


# ---------------------------------------------------------------- how many


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


class Agents:
    """Instances of capsules for principals, on one network with few connections."""

    def __init__(self, do: Any, world: Any, server: socket.socket) -> None:
        self.port = server.getsockname()[1]
        self._do, self._world = do, world
        self._network = Network(
            consent=(parse_egress("127.0.0.1:*"),), connections=connection_counts(3)
        )

    def of(self, principal: str, capsule: str) -> Any:
        return self._world.open(
            principal=principal,
            capsule=capsule,
            net=("*",),
            net_connect=("127.0.0.1:*",),
            net_tcp_bind=("127.0.0.1:*",),
            net_udp=("bind:127.0.0.1:*",),
            services={"network": self._network},
        )

    def connect(self, instance: Any) -> Any:
        return self._do(instance, "connect-tcp", "127.0.0.1", self.port)


@pytest.fixture
def agents(do: Any, world: Any, server: socket.socket) -> Agents:
    return Agents(do, world, server)


def test_sockets_denied_when_an_agent_has_them_in_other_capsules(
    do: Any, world: Any, agents: Agents
) -> None:
    one, other = agents.of("alice", "one"), agents.of("alice", "other")
    assert agents.connect(one)[0] == "ok"
    listener = do(other, "bind-tcp", "127.0.0.1", 0)[1]
    assert do(other, "udp-bind", "127.0.0.1", 0)[0] == "ok"
    for instance in (one, other):
        assert agents.connect(instance) == ("quota", None)
        assert do(instance, "udp-bind", "127.0.0.1", 0) == ("quota", None)
    assert {event.rule for event in world.decisions} == {"network.connections"}
    with socket.create_connection(("127.0.0.1", int(listener.local_addr.rpartition(":")[2]))):
        assert do(other, "[method]tcp-listener.accept", listener) == ("quota", None)
        assert do(other, "[method]tcp-listener.poll-accept", listener, 50) == ("ok", None)
        assert agents.connect(agents.of("bob", "one"))[0] == "ok"
        one.close()  # as after a trap, a time-out, an unload
        assert do(other, "[method]tcp-listener.accept", listener)[0] == "ok"
    assert agents.connect(other) == ("quota", None)
    listener.drop()
    stream = agents.connect(other)[1]
    stream.drop()
    stream.drop()
    assert agents.connect(agents.of("alice", "third"))[0] == "ok"
    assert agents.connect(other) == ("quota", None)


def test_requests_and_sockets_are_counted_together(call: Any, agents: Agents) -> None:
    instance = agents.of("alice", "one")
    streams = [agents.connect(instance)[1] for _ in range(3)]
    request = (f"http://127.0.0.1:{agents.port}/", ("get", None), [], None)
    http = partial(call, instance, interface="astrid:http/host@1.1.0")
    for _ in range(MAX_RUNNING + 1):  # what was refused does not count
        assert http("http-request", request)[0] == "quota"
    streams[0].drop()
    case, sink = http("http-upload-start", request, None)
    assert case == "ok"
    assert agents.connect(instance) == ("quota", None)
    sink.drop()
    deadline = time.monotonic() + 10
    while (case := agents.connect(instance)[0]) == "quota" and time.monotonic() < deadline:
        time.sleep(0.01)  # its thread ends soon
    assert case == "ok"


def test_two_who_are_fast_do_not_get_the_last_one_both(agents: Agents) -> None:
    instances = [agents.of("alice", f"c{number}") for number in range(6)]
    answers: list[str] = []
    start = threading.Barrier(len(instances))

    def connect(instance: Any) -> None:
        start.wait()
        answers.append(agents.connect(instance)[0])

    threads = [threading.Thread(target=connect, args=(one,)) for one in instances]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["ok"] * 3 + ["quota"] * 3


# ---------------------------------------------------------------- look-ups


@pytest.fixture
def stuck(world: Any) -> Iterator[Callable[..., Any]]:
    """Makes instances whose look-ups end when the test does."""
    release = threading.Event()

    def resolve(_host: str, _port: int) -> list[IpAddress]:
        release.wait(20)
        return []

    network = Network(resolve=resolve)

    def opened(principal: str, capsule: str = "one") -> Any:
        return world.open(
            principal=principal,
            capsule=capsule,
            net=("*",),
            net_connect=("slow.test:1",),
            services={"network": network},
        )

    yield opened
    release.set()


def test_look_ups_denied_when_those_of_an_agent_hang(
    do: Any, call: Any, world: Any, stuck: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "LOOKUP_S", 0.001)
    one, other = stuck("alice"), stuck("alice", "other")
    answers = [do(one, "lookup-host", "slow.test")[0] for _ in range(MAX_LOOKUPS)]
    assert answers == ["timeout"] * MAX_LOOKUPS
    for instance in (one, other):
        assert do(instance, "lookup-host", "slow.test") == ("quota", None)
        assert do(instance, "connect-tcp", "slow.test", 1) == ("quota", None)
    one.close()
    assert do(other, "lookup-host", "slow.test") == ("quota", None)
    assert {event.rule for event in world.decisions} == {"network.lookups"}
    request = ("http://slow.test/", ("get", None), [], None)
    http = "astrid:http/host@1.1.0"
    assert call(other, "http-request", request, interface=http)[0] == "quota"
    assert do(stuck("bob"), "lookup-host", "slow.test") == ("timeout", None)


def test_look_ups_denied_when_those_of_everybody_hang(
    do: Any, stuck: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "LOOKUP_S", 0.001)
    before = set(threading.enumerate())
    for number in range(MAX_ALL_LOOKUPS):
        instance = stuck(f"agent{number // MAX_LOOKUPS}")
        assert do(instance, "lookup-host", "slow.test") == ("timeout", None)
    assert do(stuck("nobody-yet"), "lookup-host", "slow.test") == ("quota", None)
    assert len(set(threading.enumerate()) - before) == MAX_ALL_LOOKUPS
