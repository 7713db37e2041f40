"""Sockets and programs through the SDK: the same tools against the fake host and, in a component,
the kernel with real peers and real programs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from astrid_core import Kernel
from astrid_sdk.testing import CapsuleHarness, Peer, Ran, Run
from tests.support import outside_cases
from tests.support.capsules import install
from tests.support.outside_cases import MANIFEST
from tests.support.probe import probe_home, probe_project
from tests.support.sandboxes import sandbox_or_skip

PATIENCE_S = 20.0
DENIED = "capability-denied"


class Echo:
    """Peers that say what they hear, over TCP and UDP, on one port."""

    def __init__(self) -> None:
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        for target in (self._streams, self._datagrams):
            threading.Thread(target=target, daemon=True).start()

    def close(self) -> None:
        self.tcp.shutdown(socket.SHUT_RDWR)
        self.tcp.close()
        self.udp.close()

    def _streams(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(
                    target=self._talk, args=(self.tcp.accept()[0],), daemon=True
                ).start()

    def _talk(self, peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            while data := peer.recv(65536):
                peer.sendall(data)

    def _datagrams(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, sender = self.udp.recvfrom(65536)
                self.udp.sendto(data, sender)


def knock(port: int) -> None:
    """A client of the capsule, once it listens."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"knock")
            client.settimeout(PATIENCE_S)
            assert client.recv(4) == b"KNOC"
            return
        time.sleep(0.01)


def shell(run: Run) -> Ran:
    """As the script in the cases."""
    return Ran(run.stdin.decode() + run.files["FILE"].decode(), run.env["MORE"] + "\n", code=3)


def cat(run: Run) -> Ran:
    return Ran(run.stdin.decode(), runs_s=None if run.is_stdin_open else 0.0)


def calls(port: int, there: int) -> dict[str, dict[str, int]]:
    """Every tool, with the port of who echoes or the one to listen on."""
    return {
        "tcp_out": {"port": port},
        "tcp_large": {"port": port},
        "tcp_in": {"port": there},
        "datagrams": {"port": port},
        "sockets_refused": {},
        "programs_run": {},
        "programs_kept": {},
        "programs_refused": {},
    }


def fake() -> dict[str, Any]:
    harness = CapsuleHarness(outside_cases, manifest=tomllib.loads(MANIFEST))
    here, there = 7, 8080
    harness.host.wire.peers[f"127.0.0.1:{here}"] = lambda data: data
    harness.host.wire.opened = {f"127.0.0.1:{port}" for port in (1, here)}
    harness.host.wire.clients[f"127.0.0.1:{there}"] = [Peer(answer=b"knock")]
    harness.host.programs = {"sh -c": shell, "cat": cat, "sleep": Ran(runs_s=None)}
    found = {}
    for name, arguments in calls(here, there).items():
        result = harness.call_tool(name, arguments)
        found[name] = result.content if result.is_error else json.loads(result.content)
    return found


def in_kernel(factory: pytest.TempPathFactory) -> dict[str, Any]:
    sandbox_or_skip()
    base = factory.mktemp("outside")
    workspace, home = base / "workspace", probe_home(factory, base / "home")
    workspace.mkdir()
    write_settings(home)
    project = probe_project(base / "outside-cases", MANIFEST)
    with socket.create_server(("127.0.0.1", 0)) as free:
        there = free.getsockname()[1]
    echo, found = Echo(), {}

    async def main() -> None:
        async with Kernel.open(home=home, workspace=workspace) as kernel:
            with kernel.build(project) as built:
                await install(kernel, built.directory)
            for name, arguments in calls(echo.port, there).items():
                client = threading.Thread(target=knock, args=(there,), daemon=True)
                if name == "tcp_in":
                    client.start()
                result = await kernel.call_tool(name, arguments)
                found[name] = result.content if result.is_error else result.json()

    try:
        asyncio.run(main())
    finally:
        echo.close()
    return found


def write_settings(home: Path) -> None:
    (home / "etc").mkdir(mode=0o700, exist_ok=True)
    settings = home / "etc/config.toml"
    settings.write_text('[network]\nlocal_egress = ["127.0.0.1:*"]\n')
    settings.chmod(0o600)


@pytest.fixture(scope="module", params=["fake", pytest.param("kernel", marks=pytest.mark.slow)])
def answers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What all tools came to; one build serves them all."""
    return fake() if request.param == "fake" else in_kernel(tmp_path_factory)


def test_a_connection(answers: dict[str, Any]) -> None:
    assert answers["tcp_out"] == {
        "options": [True, 9, 30, 5.5, 2.0, None],
        "ready": [0],
        "read": ["he", "hello", "in a frame"],
        "idle": ["BlockingIOError", "would-block", ""],
        "is_peer": True,
        "end": ["", None],
        "closed": ["", "closed", ""],
    }
    assert answers["tcp_large"] is True


def test_a_listener(answers: dict[str, Any]) -> None:
    assert answers["tcp_in"] == ["knoc", "127.0.0.1", "True", "None"]


def test_datagrams(answers: dict[str, Any]) -> None:
    heard = [4, ["ping", True], None, "to", True, None, ["", "unknown"], True]
    assert answers["datagrams"] == heard


def test_sockets_denied_when_nobody_agreed(answers: dict[str, Any]) -> None:
    def needs(entry: str, listed: str) -> list[str]:
        hint = f'needs "{entry}" in {listed} below [capabilities] of Capsule.toml'
        return ["PermissionError", DENIED, hint]

    egress = "an operator can open the address: local_egress below [network] of etc/config.toml"
    assert answers["sockets_refused"] == [
        needs("127.0.0.2:1", "net_connect"),
        ["PermissionError", "airlock-rejected", egress],
        ["ConnectionRefusedError", "connection-refused", ""],
        needs("0.0.0.0:0", "net_tcp_bind"),
        needs("bind:[::1]:53", "net_udp"),
        needs("send:127.0.0.2:53", "net_udp"),
        ["", "address-not-available", ""],
        needs("unix", "net_bind"),
        ["127.0.0.1"],
        [],
        needs("example.org:*", "net_connect"),
    ]


def test_programs(answers: dict[str, Any]) -> None:
    assert answers["programs_run"] == [
        ["in file", "err\n", [3, None]],
        False,
        ["hello", "", True, None],
        ["", "wait-timeout", ""],
        True,
        ["more", "", [0, None]],
        [None, 15],
        ["", "closed", ""],
        [True, [None, 9]],
        ["", "closed"],
    ]


def test_programs_that_are_kept(answers: dict[str, Any]) -> None:
    assert answers["programs_kept"] == [
        ["mine", "cat", True, None, True],
        ["kept", False, "", "kept", True],
        [True],
        [],
        ["", "invalid-input", ""],
        [0, None],
        True,
        ["", "invalid-input", ""],
        ["astrid.process.v1.exited.mine", True, {"exit_code": 0, "signal": None}],
        ["", "no-such-process", ""],
        [None, 15],
        "no-such-process",
    ]


def test_programs_denied_when_nobody_agreed(answers: dict[str, Any]) -> None:
    usage = "a command is a sequence of a program and its arguments"

    def needs(entry: str) -> list[str]:
        return ["", DENIED, f'needs "{entry}" in host_process below [capabilities] of Capsule.toml']

    assert answers["programs_refused"] == [
        needs("true"),
        needs("sh"),
        ["", "boundary-escape", ""],
        ["", "invalid-input", ""],
        ["", "too-large", ""],
        ["", "unknown", ""],
        [usage],
        [usage],
    ]
