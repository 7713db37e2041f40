"""A component that calls every function of `astrid:net`, allowed and denied.

Real engine, gate and sockets.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from astrid_core.domain.egress import parse_egress
from astrid_core.host.abi import load_abi
from astrid_core.host.capsule import CapsuleHost
from astrid_core.host.context import CapsuleContext
from astrid_core.host.http_network import Network, connection_counts
from astrid_core.security.grants import CapsuleGrants
from astrid_engine_wasm.engine import WasmEngine
from astrid_hookspecs.audit import AuditEntry
from astrid_hookspecs.engines import Call, CapsuleSpec, EngineEnvironment, Limits
from astrid_hookspecs.events import DecisionEvent
from astrid_hookspecs.values import CapsuleId, Principal
from tests.support.daemon import short_directory
from tests.support.guest_services import guest_services
from tests.support.local_place import LocalPlace
from tests.support.net_guest import net_guest

pytestmark = pytest.mark.slow
Guest = Callable[..., dict[str, Any]]
DENIED = {"err": "CapabilityDenied"}


class World:
    """Services with a network of which this machine's loopback is open."""

    def __init__(self, base: Path, release: ExitStack) -> None:
        self.audited: list[AuditEntry] = []
        self.decisions: list[DecisionEvent] = []
        self.place = LocalPlace(release.enter_context(short_directory()), self.decisions)
        release.callback(self.place.sockets.close)
        self.services = guest_services(
            base,
            release,
            decisions=self.decisions,
            audit=self,
            local_sockets=self.place.sockets,
            network=Network(
                consent=(parse_egress("127.0.0.1:*"),), connections=connection_counts(5)
            ),
        )

    def append(self, entry: AuditEntry, *, durable: bool = False) -> None:
        del durable
        self.audited.append(entry)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WasmEngine]:
    cache = tmp_path_factory.mktemp("net-cache")
    cache.chmod(0o700)
    made = WasmEngine(EngineEnvironment(cache, b"s" * 32, load_abi()))
    yield made
    made.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as release:
        yield World(tmp_path, release)


@pytest.fixture
def load(
    world: World, engine: WasmEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Guest]]:
    """Loads the guest with rights; what it returns calls a function of the interface."""
    component = net_guest(tmp_path_factory)
    with ExitStack() as unload:

        def loaded(name: str = "probe", **rights: Any) -> Guest:
            spec = CapsuleSpec(
                id=CapsuleId(name),
                version="1.0.0",
                source_id="11111111-2222-4333-8444-555555555555",
                directory=component.parent,
                component=component,
                component_hash=engine.inspect(component).digest,
            )
            context = CapsuleContext(
                spec=spec, grants=CapsuleGrants(spec.id, **rights), owner=Principal("default")
            )
            capsule = engine.load(spec, CapsuleHost(context, services=world.services))
            unload.callback(capsule.unload, grace_s=1.0)

            def call(action: str, *arguments: Any, principal: str = "alice") -> dict[str, Any]:
                made = Call(Principal(principal), Limits())
                answer = capsule.invoke(action, json.dumps(arguments).encode(), made).data
                found: dict[str, Any] = json.loads(answer or "")
                return found

            return call

        yield loaded


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(5)
        yield made


def test_a_guest_connects(load: Callable[..., Guest], server: socket.socket, world: World) -> None:
    port = server.getsockname()[1]
    guest = load(net_connect=(f"127.0.0.1:{port}",))
    stream = guest("connect_tcp", "127.0.0.1", port)["ok"]
    with server.accept()[0] as peer:
        assert guest("handle.write", stream, {"bytes": "hi"}) == {"ok": None}
        assert guest("handle.write_bytes", stream, {"bytes": "raw"}) == {"ok": 3}
        assert guest("handle.write_stream", stream, {"bytes": "-stream"}) == {"ok": None}
        assert peer.recv(16, socket.MSG_WAITALL) == b"\0\0\0\x02hiraw-stream"
        assert guest("handle.read", stream) == {"ok": ["pending"]}
        peer.sendall(b"\0\0\0\x05framerawstream")
        assert guest("handle.subscribe_readable", stream) == {"ok": True}
        assert guest("handle.read", stream) == {"ok": ["data", "frame"]}
        assert guest("handle.peek", stream, 2) == {"ok": "ra"}
        assert guest("handle.read_bytes", stream, 3) == {"ok": "raw"}
        assert guest("handle.read_stream", stream, 100) == {"ok": "stream"}
        options: Mapping[str, Any] = {
            "read_timeout": 10,
            "write_timeout": 10,
            "nodelay": True,
            "hop_limit": 9,
            "keepalive": 30,
            "linger": 1000,
            "reuseaddr": True,
        }
        for name, value in options.items():
            assert guest(f"handle.set_{name}", stream, value) == {"ok": None}
            assert guest(f"handle.{name}", stream) == {"ok": value}
        assert guest("handle.read_bytes", stream, 1) == {"err": "WouldBlock"}
        assert guest("handle.set_hop_limit", stream, 0) == {"err": "Unknown"}
        assert guest("handle.peer_addr", stream) == {"ok": f"127.0.0.1:{port}"}
        own = peer.getpeername()[1]
        assert guest("handle.local_addr", stream) == {"ok": f"127.0.0.1:{own}"}
        assert guest("handle.shutdown", stream, {"how": "SEND"}) == {"ok": None}
        peer.shutdown(socket.SHUT_WR)
        assert guest("handle.read", stream) == {"ok": ["closed"]}
        assert guest("handle.drop", stream) == {"ok": None}
    assert guest("lookup_host", "127.0.0.1") == {"ok": ["127.0.0.1"]}
    assert guest("lookup_host", f"127.0.0.1:{port}") == {"ok": [f"127.0.0.1:{port}"]}
    assert {entry.action for entry in world.audited} == {"net.connect", "net.lookup"}


def test_a_guest_listens(load: Callable[..., Guest]) -> None:
    guest = load(net_tcp_bind=("127.0.0.1:*",))
    listener = guest("bind_tcp", "127.0.0.1", 0)["ok"]
    host, _, port = guest("handle.local_addr", listener)["ok"].rpartition(":")
    assert guest("handle.poll_accept", listener, 0) == {"ok": None}
    with socket.create_connection((host, int(port))), socket.create_connection((host, int(port))):
        assert guest("handle.subscribe_readiness", listener) == {"ok": True}
        assert isinstance(guest("handle.accept", listener)["ok"], int)
        assert isinstance(guest("handle.poll_accept", listener, 1000)["ok"], int)
    # Another principal has another instance: there is no such handle in it.
    with pytest.raises(Exception, match=r"(?i)trap|index|unreachable"):
        guest("handle.accept", listener, principal="bob")


def test_a_guest_serves_clients_of_its_local_socket(
    load: Callable[..., Guest], world: World
) -> None:
    guest, place = load("bridge", net_bind=True), world.place
    listener = guest("bind_unix")["ok"]
    with pytest.raises(RuntimeError, match="nobody called 'bob'"):
        place.client(principal="bob", capsule="bridge")
    assert guest("handle.poll_accept", listener, 0) == {"ok": None}
    with place.client(capsule="bridge") as client, place.client(capsule="bridge"):
        assert guest("handle.subscribe_readiness", listener) == {"ok": True}
        stream = guest("handle.accept", listener)["ok"]
        assert isinstance(guest("handle.poll_accept", listener, 1000)["ok"], int)
        client.send_body(b"hello")
        assert guest("handle.read", stream) == {"ok": ["data", "hello"]}
        assert guest("handle.write", stream, {"bytes": "good day"}) == {"ok": None}
        assert client.receive_body() == b"good day"
        assert guest("handle.peer_addr", stream) == {"err": "NotTcp"}
        assert guest("handle.set_nodelay", stream, True) == {"err": "NotTcp"}
    assert guest("handle.drop", listener) == {"ok": None}
    assert not place.path("bridge").exists()
    actions = [entry.action for entry in world.audited]
    assert actions == ["net.bind", "net.accept", "net.accept"]
    assert place.token.read_text() not in repr(world.audited)


def test_a_guest_sends_datagrams(load: Callable[..., Guest]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(5)
        where = peer.getsockname()
        guest = load(net_udp=("bind:127.0.0.1:*", f"127.0.0.1:{where[1]}"))
        sock = guest("udp_bind", "127.0.0.1", 0)["ok"]
        assert guest("handle.send_to", sock, {"bytes": "ping"}, *where) == {"ok": 4}
        data, sender = peer.recvfrom(10)
        assert (data, guest("handle.local_addr", sock)["ok"]) == (b"ping", f"127.0.0.1:{sender[1]}")
        peer.sendto(b"pong", sender)
        assert guest("handle.subscribe_readable", sock) == {"ok": True}
        assert guest("handle.recv_from", sock, 10) == {"ok": ["pong", *where]}
        assert guest("handle.send_to", sock, {"bytes": "x"}, where[0], 9) == DENIED
        assert guest("handle.recv", sock, 10) == {"err": "Unknown"}
        assert guest("handle.connect", sock, *where) == {"ok": None}
        assert guest("handle.peer_addr", sock) == {"ok": f"127.0.0.1:{where[1]}"}
        assert guest("handle.send", sock, {"bytes": "more"}) == {"ok": 4}
        peer.sendto(b"yes", sender)
        assert guest("handle.recv", sock, 10) == {"ok": "yes"}
        assert guest("handle.set_read_timeout", sock, 1) == {"ok": None}
        assert guest("handle.recv", sock, 10) == {"ok": None}
        assert guest("handle.disconnect", sock) == {"ok": None}


def test_a_guest_denied_when_its_manifest_lists_nothing(
    load: Callable[..., Guest], world: World
) -> None:
    guest = load()
    assert guest("connect_tcp", "127.0.0.1", 1) == DENIED
    assert guest("lookup_host", "127.0.0.1") == DENIED
    assert guest("bind_tcp", "127.0.0.1", 0) == DENIED
    assert guest("udp_bind", "127.0.0.1", 0) == DENIED
    assert guest("bind_unix") == DENIED
    rules = ["net_connect", "net_connect", "net_tcp_bind", "net_udp", "net_bind"]
    assert [event.rule for event in world.decisions] == rules
    assert not world.place.directory.exists()


def test_a_guest_denied_when_the_address_is_inside(load: Callable[..., Guest]) -> None:
    guest = load(net_connect=("10.0.0.1:*", "169.254.169.254:*", "[::1]:*", "2130706433:*"))
    for host in ("10.0.0.1", "169.254.169.254", "::1"):
        assert guest("connect_tcp", host, 80) == {"err": "AirlockRejected"}
        assert guest("lookup_host", host) == {"ok": []}


def test_guests_of_an_agent_share_what_it_may_have(
    load: Callable[..., Guest], server: socket.socket, world: World
) -> None:
    port = server.getsockname()[1]
    one, other = (load(name, net_connect=("127.0.0.1:*",)) for name in ("one", "other"))
    for guest in (one, one, one, other, other):
        assert isinstance(guest("connect_tcp", "127.0.0.1", port)["ok"], int)
    for guest in (one, other):
        assert guest("connect_tcp", "127.0.0.1", port) == {"err": "Quota"}
    assert {event.rule for event in world.decisions} == {"network.connections"}
    assert isinstance(one("connect_tcp", "127.0.0.1", port, principal="bob")["ok"], int)
    with pytest.raises(Exception, match=r"(?i)trap|index|unreachable"):
        one("handle.read", 99)  # which ends the instance, and what it had
    for guest in (other, other, other):
        assert isinstance(guest("connect_tcp", "127.0.0.1", port)["ok"], int)
    assert one("connect_tcp", "127.0.0.1", port) == {"err": "Quota"}


def test_every_function_of_the_interface_is_called_here() -> None:
    text = Path(__file__).read_text()
    lock = "astrid:net/host@1.0.0#"
    names = [
        name.removeprefix(lock) for name, texts in load_abi().items() if lock in name and texts
    ]
    functions = {re.sub(r"^\[method\][a-z-]+\.", "", name) for name in names}
    assert len(functions) > 30
    for name in functions:
        function = name.removeprefix("set-").replace("-", "_")
        assert f'"{function}"' in text or f"handle.{function}" in text, name
