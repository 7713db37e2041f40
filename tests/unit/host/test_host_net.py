"""Sockets of guests against real ones. Numbers are those of the reference's vectors."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from astrid_core.domain.egress import parse_egress
from astrid_core.domain.ip_ranges import IpAddress
from astrid_core.host import net, net_transfer
from astrid_core.host.http_network import Network
from astrid_hookspecs.cancel import CancelToken

NET = "astrid:net/host@1.0.0"
POLL = "astrid:io/poll@1.0.0"
STREAMS = "astrid:io/streams@1.0.0"
NAMES = {
    "peer.test": ["127.0.0.1"],
    "api.example": ["8.8.8.8", "10.0.0.1"],
    "mixed.test": ["127.0.0.1", "10.0.0.1"],
    "db.example": ["8.8.4.4"],
}
DENIED = ("capability-denied", None)


def resolve(host: str, port: int) -> list[IpAddress]:
    del port
    if host == "slow.test":
        time.sleep(0.5)
    if host not in NAMES:
        raise OSError("no such name")
    return [ip_address(text) for text in NAMES[host]]


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(5)
        yield made


@pytest.fixture
def do(call: Any) -> Callable[..., Any]:
    return partial(call, interface=NET)


@pytest.fixture
def opened(world: Any, server: socket.socket) -> Callable[..., Any]:
    """An instance that may reach the server, and whatever the test adds."""
    port = server.getsockname()[1]

    def make(**more: Any) -> Any:
        network = Network(resolve=resolve, consent=(parse_egress("127.0.0.1:*"),))
        more.setdefault("net_connect", (f"peer.test:{port}",))
        return world.open(services={"network": network}, **more)

    return make


class Joined:
    """A guest's stream and the other end of it."""

    def __init__(self, do: Callable[..., Any], instance: Any, server: socket.socket) -> None:
        case, stream = do(instance, "connect-tcp", "peer.test", server.getsockname()[1])
        assert case == "ok"
        self.stream = stream
        self.instance = instance
        self.peer = server.accept()[0]
        self.peer.settimeout(5)
        self._do = do

    def do(self, method: str, *arguments: object) -> Any:
        return self._do(self.instance, f"[method]tcp-stream.{method}", self.stream, *arguments)


@pytest.fixture
def joined(do: Any, opened: Any, server: socket.socket) -> Iterator[Joined]:
    made = Joined(do, opened(), server)
    yield made
    made.peer.close()


def cancel_soon(token: CancelToken) -> None:
    threading.Timer(0.05, token.fire).start()


# ---------------------------------------------------------------- connecting


@pytest.mark.parametrize(
    ("host", "port", "passes"),
    [
        pytest.param("db.example", 5432, True, id="65-same"),
        pytest.param("DB.EXAMPLE", 5432, True, id="65-case"),
        pytest.param("db.example", 5433, False, id="65-port"),
        pytest.param("x.db.example", 5432, False, id="65-below"),
        pytest.param("api.example", 1, True, id="65-any-port"),
    ],
)
def test_who_may_be_connected_to(
    do: Any, opened: Any, monkeypatch: pytest.MonkeyPatch, host: str, port: int, *, passes: bool
) -> None:
    monkeypatch.setattr(
        net.NetHost, "_connected", lambda *_: (_ for _ in ()).throw(TimeoutError(110, ""))
    )
    monkeypatch.setitem(NAMES, "api.example", ["8.8.8.8"])
    instance = opened(net_connect=("db.example:5432", "api.example:*"))
    assert do(instance, "connect-tcp", host, port) == (("timeout", None) if passes else DENIED)


def test_66_entries_have_no_wildcard_for_hosts_and_need_a_port(do: Any, opened: Any) -> None:
    instance = opened(net_connect=("*:443", "a.example"))
    assert do(instance, "connect-tcp", "a.example", 443) == DENIED


def test_67_look_ups_need_any_entry_of_the_host_and_leave_out_what_is_inside(
    do: Any, opened: Any, world: Any
) -> None:
    instance = opened(net_connect=("db.example:5432", "api.example:*", "gone.test:1"))
    assert do(instance, "lookup-host", "api.example") == ("ok", ["8.8.8.8"])
    assert do(instance, "lookup-host", "db.example:5432") == ("ok", ["8.8.4.4:5432"])
    assert do(instance, "lookup-host", "peer.test") == DENIED
    assert do(instance, "lookup-host", "gone.test") == ("name-unresolvable", None)
    assert {e.detail["verdict"] for e in world.audited if e.action == "net.lookup"} == {
        "allowed",
        "name-unresolvable",
    }


@pytest.mark.parametrize(
    "host", ["", "a" * 256, "a\0b", "[]"], ids=["68", "68-long", "68-nul", "-"]
)
def test_68_a_text_that_is_no_host_is_refused_before_the_gate(
    do: Any, opened: Any, world: Any, host: str
) -> None:
    instance = opened(net_udp=("bind:127.0.0.1:*",))
    for function in ("connect-tcp", "bind-tcp", "udp-bind"):
        assert do(instance, function, host, 1) == ("address-not-available", None)
    assert do(instance, "lookup-host", host) == ("address-not-available", None)
    assert world.decisions == []


def test_69_there_are_eight_streams(do: Any, opened: Any, server: socket.socket) -> None:
    instance, port = opened(), server.getsockname()[1]
    streams = [do(instance, "connect-tcp", "peer.test", port)[1] for _ in range(8)]
    assert do(instance, "connect-tcp", "peer.test", port) == ("quota", None)
    streams[0].drop()
    assert do(instance, "connect-tcp", "peer.test", port)[0] == "ok"


def test_70_nobody_who_answers_is_waited_for_without_end(
    do: Any, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "CONNECT_S", 0.1)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        instance = opened(net_connect=(f"peer.test:{port}", "slow.test:1"))
        with socket.create_connection(("127.0.0.1", port)):
            assert do(instance, "connect-tcp", "peer.test", port) == ("timeout", None)
    assert do(instance, "connect-tcp", "slow.test", 1) == ("timeout", None)


def test_169_one_address_inside_is_enough_to_refuse(
    do: Any, opened: Any, server: socket.socket, world: Any
) -> None:
    port = server.getsockname()[1]
    instance = opened(net_connect=(f"mixed.test:{port}", "169.254.169.254:80", "127.1:*"))
    assert do(instance, "connect-tcp", "mixed.test", port) == ("airlock-rejected", None)
    assert do(instance, "connect-tcp", "169.254.169.254", 80) == ("airlock-rejected", None)
    assert [e.rule for e in world.decisions] == ["network.local-egress"] * 2
    server.setblocking(False)
    with pytest.raises(BlockingIOError):
        server.accept()


def test_a_name_whose_answers_change_is_looked_up_once(
    do: Any, world: Any, server: socket.socket
) -> None:
    answers = [["127.0.0.1"], ["10.0.0.1"], ["10.0.0.1"]]
    network = Network(
        resolve=lambda _host, _port: [ip_address(text) for text in answers.pop(0)],
        consent=(parse_egress("127.0.0.1:*"),),
    )
    port = server.getsockname()[1]
    instance = world.open(net_connect=(f"peer.test:{port}",), services={"network": network})
    stream = do(instance, "connect-tcp", "peer.test", port)[1]
    assert stream.peer_addr == f"127.0.0.1:{port}"
    assert len(answers) == 2
    assert do(instance, "connect-tcp", "peer.test", port) == ("airlock-rejected", None)


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1", "017700000001", "localhost"])
def test_odd_notations_of_this_machine_lead_inside(
    do: Any, world: Any, server: socket.socket, host: str
) -> None:
    """The resolver of the system reads them; what they lead to is judged."""
    port = server.getsockname()[1]
    instance = world.open(net_connect=(f"{host}:*",), services={"network": Network()})
    assert do(instance, "connect-tcp", host, port) == ("airlock-rejected", None)
    assert do(instance, "lookup-host", host) == ("ok", [])


def test_a_port_where_nobody_listens_refuses(do: Any, opened: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    instance = opened(net_connect=(f"peer.test:{port}",))
    assert do(instance, "connect-tcp", "peer.test", port) == ("connection-refused", None)


def test_nothing_is_connected_that_cannot_be_recorded(
    do: Any, opened: Any, server: socket.socket, world: Any
) -> None:
    world.audit_fails = True
    port = server.getsockname()[1]
    assert do(opened(), "connect-tcp", "peer.test", port)[0] == "unknown"
    server.setblocking(False)
    with pytest.raises(BlockingIOError):
        server.accept()


def test_a_look_up_that_hangs_is_left_when_the_call_ends(do: Any, opened: Any) -> None:
    token = CancelToken()
    instance = opened(net_connect=("slow.test:1",), cancel=token)
    cancel_soon(token)
    begun = time.monotonic()
    assert do(instance, "connect-tcp", "slow.test", 1) == ("closed", None)
    assert time.monotonic() - begun < 0.4


# ---------------------------------------------------------------- frames and bytes


def test_73_a_header_that_comes_in_two_pieces_is_kept(joined: Joined) -> None:
    joined.peer.sendall(b"\0\0")
    assert joined.do("read") == ("ok", ("pending", None))
    joined.peer.sendall(b"\0\x02hi\0\0\0\0")
    assert joined.do("read") == ("ok", ("data", b"hi"))
    assert joined.do("read") == ("ok", ("data", b""))


def test_74_a_frame_that_is_too_long_or_late_ends_the_stream(
    joined: Joined, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net_transfer, "BODY_S", 0.05)
    joined.peer.sendall(struct.pack(">I", 100))
    assert joined.do("read")[0] == "unknown"
    assert joined.do("read") == ("ok", ("closed", None))
    assert joined.peer.recv(1) == b""


def test_74_a_frame_of_more_than_ten_mib(joined: Joined) -> None:
    joined.peer.sendall(struct.pack(">I", 10 * 1024 * 1024 + 1))
    assert joined.do("read")[0] == "unknown"


def test_75_what_is_left_after_the_peer_closed(joined: Joined) -> None:
    joined.peer.close()
    assert joined.do("read") == ("ok", ("closed", None))
    assert joined.do("read-bytes", 10) == ("ok", b"")
    answers = []
    for _ in range(3):  # the first one makes the peer's system say that nobody is there
        answers.append(joined.do("write", b"x")[0])
        time.sleep(0.01)
    assert answers[-1] == "connection-reset"


def test_77_reading_waits_as_long_as_was_set(joined: Joined) -> None:
    joined.do("set-read-timeout", 50)
    assert joined.do("read-bytes", 1) == ("would-block", None)
    joined.do("set-read-timeout", 0)
    assert joined.do("peek", 1) == ("would-block", None)
    assert joined.do("read-timeout") == ("ok", 0)
    joined.do("set-read-timeout", None)
    threading.Timer(0.02, joined.peer.sendall, (b"late",)).start()
    assert joined.do("peek", 2) == ("ok", b"la")
    assert joined.do("read-bytes", 10) == ("ok", b"late")
    assert joined.do("read-bytes", 0) == ("ok", b"")


def test_writing_waits_as_long_as_was_set(joined: Joined) -> None:
    joined.do("set-write-timeout", 20)
    assert joined.do("write-timeout") == ("ok", 20)
    chunk = bytes(1024 * 1024)
    assert joined.do("write-bytes", chunk)[0] == "ok"
    while (answer := joined.do("write-bytes", chunk))[0] == "ok":
        pass
    assert answer == ("would-block", None)
    assert joined.do("write-bytes", b"") == ("ok", 0)
    assert joined.do("write", b"x") == ("would-block", None)


def test_half_a_frame_ends_the_stream(joined: Joined) -> None:
    joined.do("set-write-timeout", 20)
    assert joined.do("write", bytes(10 * 1024 * 1024)) == ("would-block", None)
    assert joined.do("write", b"x") == ("closed", None)
    assert joined.do("write", bytes(10 * 1024 * 1024 + 1))[0] == "unknown"


def test_frames_go_both_ways(joined: Joined) -> None:
    assert joined.do("write", b"hello") == ("ok", None)
    assert joined.peer.recv(100) == b"\0\0\0\x05hello"


def test_the_end_of_the_call_ends_waiting(do: Any, opened: Any, server: socket.socket) -> None:
    token = CancelToken()
    made = Joined(do, opened(cancel=token), server)
    cancel_soon(token)
    assert made.do("read-bytes", 1) == ("closed", None)
    assert made.do("read") == ("ok", ("closed", None))
    made.peer.close()


def test_a_stream_closes_with_its_instance_and_when_it_is_dropped(joined: Joined) -> None:
    joined.do("set-linger", 1)
    joined.instance.close()
    assert joined.peer.recv(1) == b""
    assert joined.do("read-bytes", 1) == ("closed", None)
    assert joined.do("nodelay") == ("closed", None)
    joined.stream.close()


def test_bytes_as_streams(joined: Joined, call: Any) -> None:
    instance = joined.instance
    incoming, outgoing = joined.do("read-stream")[1], joined.do("write-stream")[1]
    write = "[method]output-stream.blocking-write-and-flush"
    read = "[method]input-stream.blocking-read"
    sent = bytes(range(256)) * 4096
    received = bytearray()

    def drain() -> None:
        while len(received) < len(sent):
            received.extend(joined.peer.recv(65536))

    reader = threading.Thread(target=drain)
    reader.start()
    assert call(instance, write, outgoing, sent, interface=STREAMS) == ("ok", None)
    reader.join()
    assert received == sent
    joined.peer.sendall(b"answer")
    assert call(instance, read, incoming, 100, interface=STREAMS) == ("ok", b"answer")
    joined.peer.close()
    assert call(instance, read, incoming, 100, interface=STREAMS) == ("closed", None)
    joined.stream.close()
    assert call(instance, write, outgoing, b"x", interface=STREAMS) == ("closed", None)


def test_a_pollable_is_ready_when_something_came(joined: Joined, call: Any) -> None:
    pollable = joined.do("subscribe-readable")[1]
    assert not pollable.source.is_ready()
    threading.Timer(0.02, joined.peer.sendall, (b"x",)).start()
    assert call(joined.instance, "[method]pollable.block", pollable, interface=POLL)[0] == "ok"
    joined.do("peek", 1)
    assert pollable.source.is_ready()  # it lies in the stream now
    joined.stream.close()
    assert pollable.source.is_ready()


def test_what_came_before_a_reset_is_read_first(joined: Joined) -> None:
    joined.peer.sendall(b"last words")
    assert joined.do("peek", 4) == ("ok", b"last")
    joined.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    joined.peer.close()
    assert joined.do("read-bytes", 100)[1].startswith(b"last")
    assert joined.do("read-bytes", 100)[0] in ("connection-reset", "ok")


def test_nothing_is_left_open(do: Any, opened: Any, server: socket.socket) -> None:
    def used() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    port = server.getsockname()[1]
    Joined(do, opened(), server).peer.close()  # whatever is made once is made now
    world_of = [opened() for _ in range(5)]
    before = used()
    for instance in world_of:
        for _ in range(8):
            assert do(instance, "connect-tcp", "peer.test", port)[0] == "ok"
            server.accept()[0].close()
        assert used() == before + 8
        instance.close()
        assert used() == before


# ---------------------------------------------------------------- options


def test_options_are_kept(joined: Joined) -> None:
    for name, value in (("nodelay", True), ("hop-limit", 7), ("reuseaddr", True)):
        assert joined.do(f"set-{name}", value) == ("ok", None)
        assert joined.do(name) == ("ok", value)
    assert joined.do("set-linger", 1500) == ("ok", None)
    assert joined.do("linger") == ("ok", 2000)
    assert joined.do("set-linger", None) == ("ok", None)
    assert joined.do("linger") == ("ok", None)


def test_79_keepalive_says_after_how_long(joined: Joined) -> None:
    assert joined.do("keepalive") == ("ok", None)
    assert joined.do("set-keepalive", 30) == ("ok", None)
    assert joined.do("keepalive") == ("ok", 30)
    assert joined.do("set-keepalive", None) == ("ok", None)
    assert joined.do("keepalive") == ("ok", None)


@pytest.mark.parametrize(
    ("method", "value"),
    [("set-hop-limit", 0), ("set-hop-limit", 256), ("set-keepalive", 0), ("set-linger", 10**15)],
)
def test_values_that_make_no_sense(joined: Joined, method: str, value: int) -> None:
    assert joined.do(method, value)[0] == "unknown"


def test_addresses_and_ends(joined: Joined) -> None:
    peer, own = joined.peer.getsockname(), joined.peer.getpeername()
    assert joined.do("shutdown", "send") == ("ok", None)
    assert joined.do("shutdown", "send") == ("ok", None)
    assert joined.peer.recv(1) == b""
    joined.peer.close()
    assert joined.do("shutdown", "both") == ("ok", None)
    assert joined.do("peer-addr") == ("ok", f"127.0.0.1:{peer[1]}")
    assert joined.do("local-addr") == ("ok", f"127.0.0.1:{own[1]}")


# ---------------------------------------------------------------- listening


def test_72_listening_and_datagrams_need_an_entry(do: Any, opened: Any) -> None:
    instance = opened()
    assert do(instance, "bind-tcp", "127.0.0.1", 0) == DENIED
    assert do(instance, "udp-bind", "127.0.0.1", 0) == DENIED


def test_78_a_listener_takes_who_connects_and_waits_no_longer_than_told(
    do: Any, opened: Any, world: Any
) -> None:
    instance = opened(net_tcp_bind=("127.0.0.1:*",))
    listener = do(instance, "bind-tcp", "127.0.0.1", 0)[1]
    poll = partial(do, instance, "[method]tcp-listener.poll-accept", listener)
    assert poll(0) == ("ok", None)
    where = do(instance, "[method]tcp-listener.local-addr", listener)[1]
    host, _, port = where.rpartition(":")
    ready = do(instance, "[method]tcp-listener.subscribe-readiness", listener)[1]
    assert not ready.source.is_ready()
    clients = [socket.create_connection((host, int(port))) for _ in range(9)]
    assert ready.source.is_ready()
    streams = [do(instance, "[method]tcp-listener.accept", listener)[1]]
    streams += [poll(1000)[1] for _ in range(7)]
    assert poll(0) == ("ok", None)  # no slot is free
    assert do(instance, "[method]tcp-listener.accept", listener) == ("quota", None)
    assert do(instance, "[method]tcp-stream.write-bytes", streams[0], b"hi") == ("ok", 2)
    assert clients[0].recv(2) == b"hi"
    accepted = [e for e in world.audited if e.action == "net.accept"]
    assert [e.detail["host"] for e in accepted] == ["127.0.0.1"] * 8
    for one in clients:
        one.close()


@pytest.mark.parametrize("how", ["accept", "poll-accept"])
def test_who_is_gone_before_being_taken_is_not_heard_of(do: Any, opened: Any, how: str) -> None:
    instance = opened(net_tcp_bind=("127.0.0.1:*",))
    listener = do(instance, "bind-tcp", "127.0.0.1", 0)[1]
    address = ("127.0.0.1", int(listener.local_addr.rpartition(":")[2]))
    gone = socket.create_connection(address)
    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone.close()  # a reset, as a stranger can send it
    with socket.create_connection(address) as client:
        waits = (1000,) if how == "poll-accept" else ()
        case, stream = do(instance, f"[method]tcp-listener.{how}", listener, *waits)
        assert case == "ok"
        host, port = client.getsockname()
        assert stream.peer_addr == f"{host}:{port}"


def test_closing_waits_for_nobody_and_leaves_no_thread(
    do: Any, opened: Any, server: socket.socket
) -> None:
    instance = opened()
    do(instance, "udp-bind", "127.0.0.1", 0)  # what watches sockets has started
    before = set(threading.enumerate())
    peers = []
    for _ in range(12):  # more than there are slots: each is free again
        joined = Joined(do, instance, server)
        peers.append(joined.peer)  # which never reads
        joined.do("set-linger", 60_000)
        joined.do("set-write-timeout", 20)
        while joined.do("write-bytes", bytes(1 << 20)) == ("ok", 1 << 20):
            pass
        started = time.monotonic()
        joined.stream.drop()
        assert time.monotonic() - started < 5
    assert len(set(threading.enumerate()) - before) <= 1
    for peer in peers:
        peer.close()


def test_a_listener_ends_with_the_call_and_is_one_of_four(do: Any, opened: Any) -> None:
    token = CancelToken()
    instance = opened(net_tcp_bind=("127.0.0.1:*", "192.0.2.1:*", "gone.test:*"), cancel=token)
    listeners = [do(instance, "bind-tcp", "127.0.0.1", 0)[1] for _ in range(4)]
    assert do(instance, "bind-tcp", "127.0.0.1", 0) == ("quota", None)
    port = int(listeners[0].local_addr.rpartition(":")[2])
    listeners[1].drop()
    assert do(instance, "bind-tcp", "127.0.0.1", port) == ("address-in-use", None)
    assert do(instance, "bind-tcp", "192.0.2.1", 0) == ("address-not-available", None)
    assert do(instance, "bind-tcp", "gone.test", 0) == ("address-not-available", None)
    cancel_soon(token)
    assert do(instance, "[method]tcp-listener.accept", listeners[0]) == ("closed", None)
    assert do(instance, "[method]tcp-listener.poll-accept", listeners[0], 9) == ("ok", None)


def test_nobody_is_accepted_who_cannot_be_recorded(do: Any, opened: Any, world: Any) -> None:
    instance = opened(net_tcp_bind=("127.0.0.1:*",))
    listener = do(instance, "bind-tcp", "127.0.0.1", 0)[1]
    port = int(listener.local_addr.rpartition(":")[2])
    world.audit_fails = True
    with socket.create_connection(("127.0.0.1", port)) as client:
        assert do(instance, "[method]tcp-listener.accept", listener)[0] == "unknown"
        client.settimeout(5)
        assert client.recv(1) == b""


# ---------------------------------------------------------------- datagrams


class Datagrams:
    def __init__(self, do: Callable[..., Any], instance: Any) -> None:
        self._do, self._instance = do, instance
        self.socket = do(instance, "udp-bind", "127.0.0.1", 0)[1]
        self.address = ("127.0.0.1", int(self.socket.local_addr.rpartition(":")[2]))

    def do(self, method: str, *arguments: object) -> Any:
        return self._do(self._instance, f"[method]udp-socket.{method}", self.socket, *arguments)


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(5)
        yield made


@pytest.fixture
def datagrams(do: Any, opened: Any, peer: socket.socket) -> Datagrams:
    entries = ("bind:127.0.0.1:*", f"send:peer.test:{peer.getsockname()[1]}", "10.0.0.1:53")
    return Datagrams(do, opened(net_udp=entries))


def test_datagrams_go_both_ways(datagrams: Datagrams, peer: socket.socket, world: Any) -> None:
    port = peer.getsockname()[1]
    assert datagrams.do("send-to", b"ping", "peer.test", port) == ("ok", 4)
    assert peer.recvfrom(10) == (b"ping", datagrams.address)
    pollable = datagrams.do("subscribe-readable")[1]
    peer.sendto(b"a long answer", datagrams.address)
    assert datagrams.do("recv-from", 6) == ("ok", (b"a long", "127.0.0.1", port))
    assert not pollable.source.is_ready()
    datagrams.do("set-read-timeout", 20)
    assert datagrams.do("recv-from", 6) == ("ok", None)
    assert datagrams.do("local-addr") == ("ok", f"127.0.0.1:{datagrams.address[1]}")
    assert [e.action for e in world.audited] == ["net.bind", "net.send"]


def test_a_datagram_denied_when_the_receiver_is_not_named_or_inside(
    datagrams: Datagrams, peer: socket.socket
) -> None:
    port = peer.getsockname()[1]
    for method, first in (("send-to", (b"x",)), ("connect", ())):
        assert datagrams.do(method, *first, "127.0.0.1", port) == DENIED
        assert datagrams.do(method, *first, "peer.test", port + 1) == DENIED
        assert datagrams.do(method, *first, "10.0.0.1", 53) == ("airlock-rejected", None)
    assert datagrams.do("send-to", bytes(65_508), "peer.test", port)[0] == "unknown"


def test_a_connected_socket_hears_its_peer_alone(datagrams: Datagrams, peer: socket.socket) -> None:
    assert datagrams.do("send", b"x")[0] == "unknown"
    assert datagrams.do("recv", 10)[0] == "unknown"
    assert datagrams.do("peer-addr") == ("ok", None)
    port = peer.getsockname()[1]
    assert datagrams.do("connect", "peer.test", port) == ("ok", None)
    assert datagrams.do("peer-addr") == ("ok", f"127.0.0.1:{port}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"forged", datagrams.address)
    peer.sendto(b"real", datagrams.address)
    assert datagrams.do("recv", 10) == ("ok", b"real")
    assert datagrams.do("send", b"back") == ("ok", 4)
    assert peer.recv(10) == b"back"
    datagrams.do("set-read-timeout", 0)
    assert datagrams.do("recv", 10) == ("ok", None)
    assert datagrams.do("disconnect") == ("ok", None)
    assert datagrams.do("disconnect") == ("ok", None)
    assert datagrams.do("peer-addr") == ("ok", None)


def test_there_are_four_datagram_sockets(do: Any, opened: Any) -> None:
    instance = opened(net_udp=("bind:127.0.0.1:*",))
    sockets = [do(instance, "udp-bind", "127.0.0.1", 0)[1] for _ in range(4)]
    assert do(instance, "udp-bind", "127.0.0.1", 0) == ("quota", None)
    sockets[0].drop()
    assert do(instance, "udp-bind", "127.0.0.1", 0)[0] == "ok"


def test_a_receiver_of_the_other_family_cannot_be_reached(
    datagrams: Datagrams, peer: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NAMES, "peer.test", ["2606:4700::1111"])
    port = peer.getsockname()[1]
    answer = datagrams.do("send-to", b"x", "peer.test", port)
    assert answer == ("address-not-available", None)
