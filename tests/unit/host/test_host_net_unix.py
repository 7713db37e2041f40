"""Local sockets of capsules with real clients. Numbers are those of the reference's vectors."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from astrid_core.domain.framing import encode_frame
from astrid_core.host.http_network import Network, connection_counts
from astrid_hookspecs.cancel import CancelToken
from tests.support.daemon import Client, short_directory
from tests.support.local_place import LocalPlace

NET = "astrid:net/host@1.0.0"
LISTENER = "[method]unix-listener"
DENIED = ("capability-denied", None)
NOT_TCP = ("not-tcp", None)
NOBODY = ("ok", None)


class Place(LocalPlace):
    """Where instances with the right to it have sockets."""

    def __init__(self, run: Path, world: Any) -> None:
        super().__init__(run, world.decisions)
        self._world = world

    def open(self, **more: Any) -> Any:
        services = {"local_sockets": self.sockets, **more.pop("services", {})}
        return self._world.open(net_bind=True, services=services, **more)


@pytest.fixture
def place(world: Any) -> Iterator[Place]:
    with short_directory() as directory:
        made = Place(directory, world)
        yield made
        made.sockets.close()


@pytest.fixture
def do(call: Any) -> Callable[..., Any]:
    return partial(call, interface=NET)


def bound(do: Any, instance: Any) -> Any:
    case, listener = do(instance, "bind-unix")
    assert case == "ok"
    return listener


def test_71_a_local_socket_needs_a_right_and_a_place(do: Any, world: Any, place: Place) -> None:
    assert do(world.open(services={"local_sockets": place.sockets}), "bind-unix") == DENIED
    assert not place.directory.exists()
    assert do(world.open(net_bind=True), "bind-unix")[0] == "unknown"
    noted = [(e.action, e.resource, e.outcome) for e in world.audited]
    assert noted == [("net.bind", "unix", "allowed"), ("net.bind", "unix", "failed")]
    assert [(e.rule, e.resource) for e in world.decisions] == [("net_bind", "unix")]


def test_a_capsule_that_asks_twice_has_one_socket(do: Any, place: Place) -> None:
    instance = place.open()
    one, other = bound(do, instance), bound(do, instance)
    path = place.path()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.directory.stat().st_mode) == 0o700
    one.drop()
    with place.client() as client:
        stream = do(instance, f"{LISTENER}.accept", other)[1]
        client.send_body(b"hi")
        assert do(instance, "[method]tcp-stream.read", stream) == ("ok", ("data", b"hi"))
    other.drop()
    assert not path.exists()
    assert do(instance, f"{LISTENER}.accept", other) == ("closed", None)


def test_frames_go_both_ways(do: Any, place: Place, world: Any) -> None:
    instance = place.open()
    listener = bound(do, instance)
    with place.client() as client:
        client.send_body(b"early")  # before anybody took the client
        stream = do(instance, f"{LISTENER}.poll-accept", listener, 5000)[1]
        method = "[method]tcp-stream"
        assert do(instance, f"{method}.read", stream) == ("ok", ("data", b"early"))
        assert do(instance, f"{method}.write", stream, b"answer") == NOBODY
        assert client.receive_body() == b"answer"
        assert do(instance, f"{method}.write-bytes", stream, b"\0\0\0\1x") == ("ok", 5)
        assert client.receive_body() == b"x"
        assert do(instance, f"{method}.set-read-timeout", stream, 20) == NOBODY
        assert do(instance, f"{method}.read-bytes", stream, 1) == ("would-block", None)
        client.send_bytes(b"raw")
        assert do(instance, f"{method}.read-bytes", stream, 9) == ("ok", b"raw")
        assert do(instance, f"{method}.shutdown", stream, "send") == NOBODY
        assert client.receive_body() is None
    assert do(instance, f"{method}.read", stream) == ("ok", ("closed", None))
    taken = [(e.resource, e.outcome, dict(e.detail)) for e in world.audited]
    assert taken[-1] == ("unix", "allowed", {"host": "unix", "port": "", "verdict": "allowed"})
    assert place.token.read_text() not in repr(world.audited)


def test_what_comes_with_the_handshake_is_the_capsules(do: Any, place: Place) -> None:
    instance = place.open()
    listener = bound(do, instance)
    hello = {"token": place.token.read_text(), "protocol_version": 1, "client_version": "1"}
    with place.stranger() as client:
        body = json.dumps({**hello, "principal": "alice"}).encode()
        client.send_bytes(encode_frame(body) + encode_frame(b"at once"))
        stream = do(instance, f"{LISTENER}.accept", listener)[1]
        assert do(instance, "[method]tcp-stream.read", stream) == ("ok", ("data", b"at once"))


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        pytest.param(name, arguments, id=f"76-{name}")
        for name, arguments in {
            "set-nodelay": (True,),
            "nodelay": (),
            "peer-addr": (),
            "local-addr": (),
            "set-keepalive": (30,),
            "keepalive": (),
            "set-hop-limit": (9,),
            "hop-limit": (),
            "set-linger": (1000,),
            "linger": (),
            "set-reuseaddr": (True,),
            "reuseaddr": (),
            "peek": (1,),
        }.items()
    ],
)
def test_what_only_tcp_has(
    do: Any, place: Place, method: str, arguments: tuple[object, ...]
) -> None:
    instance = place.open()
    listener = bound(do, instance)
    with place.client() as client:
        client.send_bytes(b"x")
        stream = do(instance, f"{LISTENER}.accept", listener)[1]
        assert do(instance, f"[method]tcp-stream.{method}", stream, *arguments) == NOT_TCP


@pytest.mark.parametrize("who", ["78-nobody", "78-wrong-token", "78-another-user", "78-unknown"])
def test_nobody_comes_in(do: Any, place: Place, world: Any, who: str) -> None:
    instance = place.open()
    listener = bound(do, instance)
    ready = do(instance, f"{LISTENER}.subscribe-readiness", listener)[1]
    if who == "78-wrong-token":
        assert place.refused(token="f" * 64) == "authentication failed"
    elif who != "78-nobody":
        place.uid = os.geteuid() + 1 if who == "78-another-user" else None
        with place.stranger() as client:
            assert client.receive_body() is None  # without a byte
    assert do(instance, f"{LISTENER}.poll-accept", listener, 0) == NOBODY
    assert not ready.source.is_ready()
    rules = {"78-nobody": [], "78-wrong-token": ["net_bind.token"]}
    assert [e.rule for e in world.decisions] == rules.get(who, ["net_bind.user"])


def test_a_client_waits_for_the_principal_it_names(do: Any, place: Place, world: Any) -> None:
    alice, bob = place.open(), place.open(principal="bob")
    listeners = {one: bound(do, one) for one in (alice, bob)}
    with place.client(principal="bob") as client:
        assert do(alice, f"{LISTENER}.poll-accept", listeners[alice], 0) == NOBODY
        stream = do(bob, f"{LISTENER}.accept", listeners[bob])[1]
        assert do(bob, "[method]tcp-stream.write", stream, b"bob's") == NOBODY
        assert client.receive_body() == b"bob's"
    bob.close()
    assert place.path().exists()
    assert place.refused(principal="bob") == "the capsule listens for nobody called 'bob'"
    assert [(e.principal, e.rule) for e in world.decisions] == [("bob", "net_bind.principal")]
    alice.close()
    assert not place.path().exists()


def test_who_has_left_is_not_heard_of(do: Any, place: Place) -> None:
    instance = place.open()
    listener = bound(do, instance)
    ready = do(instance, f"{LISTENER}.subscribe-readiness", listener)[1]
    place.client().close()
    assert do(instance, f"{LISTENER}.poll-accept", listener, 50) == NOBODY
    place.client().close()
    with place.client() as there:
        stream = do(instance, f"{LISTENER}.accept", listener)[1]
        assert do(instance, "[method]tcp-stream.write", stream, b"you") == NOBODY
        assert there.receive_body() == b"you"
    with place.client() as talker:
        talker.send_body(b"last words")
    stream = do(instance, f"{LISTENER}.accept", listener)[1]
    assert do(instance, "[method]tcp-stream.read", stream) == ("ok", ("data", b"last words"))
    place.client().close()
    assert not ready.source.is_ready()


def test_69_there_are_eight_streams_and_sixteen_who_wait(do: Any, place: Place, world: Any) -> None:
    instance = place.open(services={"network": Network(connections=connection_counts(99))})
    listener = bound(do, instance)
    ready = do(instance, f"{LISTENER}.subscribe-readiness", listener)[1]
    clients = []
    for _ in range(8):
        clients.append(place.client())
        assert do(instance, f"{LISTENER}.accept", listener)[0] == "ok"
    assert not ready.source.is_ready()
    clients += [place.client() for _ in range(16)]
    assert ready.source.is_ready()
    assert do(instance, f"{LISTENER}.poll-accept", listener, 0) == NOBODY
    assert do(instance, f"{LISTENER}.accept", listener) == ("quota", None)
    assert place.refused() == "too many clients wait for the capsule"
    assert [e.rule for e in world.decisions] == ["net.stream", "net.waiting"]
    clients.pop().close()  # who leaves makes room
    clients.append(place.client())
    for one in clients:
        one.close()


def test_sockets_of_an_agent_are_counted_together(do: Any, place: Place) -> None:
    instance = place.open(services={"network": Network(connections=connection_counts(2))})
    listener = bound(do, instance)
    with place.client(), place.client():
        assert do(instance, f"{LISTENER}.accept", listener)[0] == "ok"
        assert do(instance, f"{LISTENER}.accept", listener) == ("quota", None)
        assert do(instance, "bind-unix") == ("quota", None)


@pytest.mark.parametrize("ends", ["the call", "the capsule"])
def test_waiting_ends_with(do: Any, place: Place, ends: str) -> None:
    token = CancelToken()
    instance = place.open(cancel=token)
    listener = bound(do, instance)
    end = token.fire if ends == "the call" else instance.cancel.fire
    threading.Timer(0.05, end).start()
    assert do(instance, f"{LISTENER}.accept", listener) == ("closed", None)
    assert do(instance, f"{LISTENER}.poll-accept", listener, 9) == NOBODY


def test_a_client_wakes_who_waits(do: Any, place: Place) -> None:
    instance = place.open()
    listener = bound(do, instance)
    clients: list[Client] = []
    later = threading.Timer(0.05, lambda: clients.append(place.client()))
    later.start()
    assert do(instance, f"{LISTENER}.accept", listener)[0] == "ok"
    later.join()
    clients[0].close()


def test_nobody_is_accepted_who_cannot_be_recorded(do: Any, place: Place, world: Any) -> None:
    instance = place.open()
    listener = bound(do, instance)
    with place.client() as client:
        world.audit_fails = True
        assert do(instance, f"{LISTENER}.accept", listener)[0] == "unknown"
        assert client.receive_body() is None
    assert do(instance, "bind-unix")[0] == "unknown"
