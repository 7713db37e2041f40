"""A component that imports every function of every package links, loads, runs, and is described.

The world has the newer version of `astrid:http`; its own tests have a component for each.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from astrid_core import Kernel
from astrid_core.host.abi import load_abi
from astrid_core.host.registry import all_handlers
from astrid_hookspecs.buses import Attribution, Envelope
from astrid_hookspecs.values import Principal
from tests.support.capsules import install, manifest, write_capsule
from tests.support.commands import run_astrid
from tests.support.every_guest import every_guest

SUBSCRIBES = (
    '[publish]\n"news.*" = { wit = "opaque" }\n[subscribe]\n"news.*" = { wit = "opaque" }\n'
)
RIGHTS = f"""
[capabilities]
uplink = true
fs_read = ["cwd://"]
fs_write = ["cwd://"]
net = ["127.0.0.1"]
net_connect = ["127.0.0.1:*"]
[[uplink]]
name = "bot"
platform = "chat"
profile = "chat"
{SUBSCRIBES}"""


def every_function() -> set[tuple[str, str]]:
    names = (name.partition("#") for name, texts in load_abi().items() if texts)
    return {(interface, function) for interface, _, function in names}


def interfaces() -> set[str]:
    return {interface for interface, _ in every_function()}


def test_every_function_has_a_handler() -> None:
    assert every_function() == set(all_handlers())


@pytest.fixture(scope="module")
def component(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return every_guest(tmp_path_factory)


@pytest.mark.slow
def test_it_is_described_with_what_its_manifest_needs(component: Path, tmp_path: Path) -> None:
    ended = run_astrid(
        "abi",
        "check",
        str(component),
        "--json",
        cwd=tmp_path,
        env={"ASTRID_HOME": str(tmp_path / "h")},
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert interfaces() - {"astrid:http/host@1.0.0"} <= set(found["imports"])
    assert found["class"] == "call-driven"
    assert {"net", "fs_read", "host_process", "uplink", "identity"} <= set(found["manifest"])


class World:
    """A kernel with the component installed twice: with every right it needs, and without any."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def ask(self, action: str, *, capsule: str = "all", **given: object) -> dict[str, Any]:
        (loaded,) = (one for one in self.kernel.capsules() if one.id == capsule)
        envelope = Envelope(
            "ask", b"", principal=Principal("default"), attribution=Attribution.VERIFIED
        )
        answer = loaded.invoke(action, json.dumps(given).encode(), envelope, cancel=None).data
        found: dict[str, Any] = json.loads(answer or "")
        return found

    def source_id(self, capsule: str) -> str:
        (loaded,) = (one for one in self.kernel.capsules() if one.id == capsule)
        return loaded.source_id


@pytest.fixture(scope="module")
def world(component: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    base = tmp_path_factory.mktemp("every")
    (base / "ws").mkdir()
    (base / "ws" / "link").symlink_to("a.txt")
    home = base / "home"
    (home / "etc").mkdir(mode=0o700, parents=True)
    (home / "etc/config.toml").write_text('[network]\nlocal_egress = ["127.0.0.1:*"]\n')
    sources = [
        write_capsule(base / name, component.read_bytes(), manifest(name, body=body))
        for name, body in (("all", RIGHTS), ("bare", SUBSCRIBES))
    ]

    opened: Future[World] = Future()
    over = threading.Event()

    async def main() -> None:
        try:
            async with Kernel.open(home=home, workspace=base / "ws") as kernel:
                for source in sources:
                    await install(kernel, source)
                opened.set_result(World(kernel))
                await asyncio.to_thread(over.wait)
        except Exception as error:
            if not opened.done():
                opened.set_exception(error)
            raise

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(asyncio.run, main())
        try:
            yield opened.result(100)
        finally:
            over.set()
            running.result(60)


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(5)
        yield made


@pytest.mark.slow
def test_files(world: World) -> None:
    allowed = world.ask("files")
    assert {name: answer for name, answer in allowed.items() if answer[0] != "ok"} == {}
    assert allowed["read_file"] == ["ok", "hello there"]
    assert allowed["fs_read_link"] == ["ok", "workspace://a.txt"]
    assert world.ask("handle") == {"sync_data": ["ok", None]}
    denied = world.ask("files", capsule="bare")
    assert denied == {name: ["err", "CapabilityDenied"] for name in allowed}


@pytest.mark.slow
def test_state(world: World) -> None:
    assert world.ask("state") == {
        "kv_set": ["ok", None],
        "kv_cas": ["ok", None],
        "kv_cas again": ["err", "CasMismatch"],
        "kv_get": ["ok", "2"],
        "kv_list_keys": ["ok", ["k"]],
        "kv_delete": ["ok", None],
        "kv_get again": ["ok", None],
    }


@pytest.mark.slow
def test_events(world: World) -> None:
    assert world.ask("events", principal="default") == {
        "before": False,
        "publish_as": ["ok", None],
        "after": True,
        "subscribe": ["err", "CapabilityDenied"],
    }
    denied = world.ask("events", capsule="bare", principal="default")
    assert denied["publish_as"] == ["err", "CapabilityDenied"]


@pytest.mark.slow
def test_rights(world: World) -> None:
    own = world.ask("rights", source=world.source_id("bare"))
    assert {"uplink", "fs_read"} <= set(own["own"])
    assert own["known"] is False
    other = world.ask("rights", capsule="bare", source=world.source_id("all"))
    assert (other["own"], other["known"]) == ([], True)


@pytest.mark.slow
def test_streams(world: World, server: socket.socket) -> None:
    port = server.getsockname()[1]
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(world.ask, "reading", port=port)
        with server.accept()[0] as peer:
            peer.sendall(b"0123456789")
            assert reading.result(30) == {
                "read": ["ok", "01"],
                "skip": ["ok", 2],
                "blocking_skip": ["ok", 2],
                "blocking_read": ["ok", "6789"],
            }
        writing = pool.submit(world.ask, "writing", port=port)
        with server.accept()[0] as peer:
            peer.sendall(b"0123456789")
            assert writing.result(30) == {
                "check_write": True,
                "write": ["ok", None],
                "flush": ["ok", None],
                "blocking_flush": ["ok", None],
                "zeroes": ["ok", None],
                "blocking_splice": ["ok", 5],
                "splice": ["ok", 5],
                "write_zeroes": ["ok", None],
                "end": ["ok", None],
            }
            assert peer.recv(64, socket.MSG_WAITALL) == b"ab\0\x000123456789\0."
        failing = pool.submit(world.ask, "failing", port=port)
        peer = server.accept()[0]
        assert peer.recv(1) == b"."
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        assert "reset" in failing.result(30)["to_debug_string"]
