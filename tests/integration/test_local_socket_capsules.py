"""A capsule that listens, installed in a kernel: served, upgraded, removed, killed, replaced.

The guest calls what its events say; see `tests/support/net_guest`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from astrid_core import Kernel
from astrid_hookspecs.buses import Attribution, Envelope
from astrid_hookspecs.values import Principal
from tests.support.capsules import eventually, install, manifest, write_capsule
from tests.support.daemon import Client, Daemon, daemon_home, prepare
from tests.support.net_guest import net_guest

pytestmark = pytest.mark.slow
EVENTS = {"bind": "bind_unix", "accept": "handle.accept", "write": "handle.write"}


def bridge(directory: Path, component: Path, *, rights: str = 'net_bind = ["*"]') -> Any:
    body = f"[capabilities]\n{rights}\n[subscribe]\n"
    for event, action in EVENTS.items():
        body += f'"user.v1.{event}" = {{ wit = "opaque", handler = "{action}" }}\n'
    return write_capsule(directory, component.read_bytes(), manifest("bridge", body=body))


def event(name: str, *arguments: Any, principal: str = "default") -> Envelope:
    return Envelope(
        f"user.v1.{name}",
        json.dumps(arguments).encode(),
        principal=Principal(principal),
        attribution=Attribution.VERIFIED,
    )


@pytest.fixture(scope="module")
def component(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return net_guest(tmp_path_factory)


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with daemon_home() as made:
        yield made


def greet(home: Path, *, principal: str | None = None) -> Client:
    client = Client(home / "run/net/bridge.sock", timeout_s=20)
    answer = client.hello((home / "run/system.token").read_text(), principal=principal)
    assert answer is not None
    assert answer["status"] == "ok", answer
    return client


def test_a_socket_comes_and_goes_with_its_capsule(
    daemon: Daemon, component: Path, tmp_path: Path
) -> None:
    path, token = daemon.home / "run/net/bridge.sock", daemon.home / "run/system.token"

    async def main() -> None:
        async with Kernel.open(home=daemon.home) as kernel:
            await install(kernel, bridge(tmp_path / "one", component))
            assert not token.exists()
            kernel.publish(event("bind"))
            await eventually(path.exists, timeout_s=20)
            client = await asyncio.to_thread(greet, daemon.home)
            kernel.publish(event("accept", 0))
            kernel.publish(event("write", 1, {"bytes": "welcome"}))
            assert await asyncio.to_thread(client.receive_body) == b"welcome"
            # An upgrade that has no right to it: the socket ends with the load that had.
            await install(kernel, bridge(tmp_path / "two", component, rights='net_bind = [""]'))
            await eventually(lambda: not path.exists())
            assert await asyncio.to_thread(client.receive_body) is None
            client.close()
            kernel.publish(event("bind"))
            await eventually(lambda: bool(kernel.denials()), timeout_s=20)
            found = [(one.action, one.rule) for one in kernel.denials()]
            assert found == [("net.bind", "net_bind")]
            assert not path.exists()
        assert {one.name for one in (daemon.home / "run").iterdir()} == {"system.lock"}

    asyncio.run(main())


def test_a_killed_daemon_leaves_nothing_that_matters(
    daemon: Daemon, component: Path, tmp_path: Path
) -> None:
    async def setup(kernel: Kernel) -> None:
        await install(kernel, bridge(tmp_path / "one", component))

    prepare(daemon.home, setup)
    path = daemon.home / "run/net/bridge.sock"
    tokens = set()
    for _ in range(2):
        daemon.start()
        assert not path.exists()
        tokens.add(daemon.token.read_text())
        with daemon.connect() as owner:
            owner.send("user.v1.bind", {"type": "custom", "data": []})
            asyncio.run(eventually(path.exists, timeout_s=20))
            with greet(daemon.home) as client:
                owner.send("user.v1.accept", {"type": "custom", "data": [0]})
                hello = {"type": "custom", "data": [1, {"bytes": "welcome"}]}
                owner.send("user.v1.write", hello)
                assert client.receive_body() == b"welcome"
            with Client(path) as thief:
                answer = thief.hello("0" * 64)
                assert answer is not None
                assert answer["reason"] == "authentication failed"
        daemon.kill()
        assert path.exists()
    assert len(tokens) == 2
    found = [(row["principal"], row["authorization"]["reason"]) for row in denials(daemon)]
    assert found == [("default", "net_bind.token")] * 2


def denials(daemon: Daemon) -> list[Any]:
    return [row for row in daemon.records(action="net.*") if row["outcome"] == "denied"]
