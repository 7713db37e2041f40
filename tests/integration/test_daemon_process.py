"""Starting and ending the daemon process: files, locks, signals, what a killed one leaves."""

from __future__ import annotations

import contextlib
import fcntl
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from astrid_core import Kernel
from astrid_hookspecs.values import NIL_SOURCE
from tests.support.daemon import Client, Daemon, daemon_home, install_tools, prepare


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with daemon_home() as made:
        yield made


@pytest.fixture(scope="module")
def shared() -> Iterator[Daemon]:
    """One that runs, for tests that do not end it."""
    with daemon_home() as running:
        running.start()
        yield running


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def run_files(daemon: Daemon) -> dict[str, bytes | int]:
    """What is in `run/`: content of files, inode numbers of sockets."""
    return {
        path.name: path.stat().st_ino if path.is_socket() else path.read_bytes()
        for path in (daemon.home / "run").iterdir()
    }


def test_a_ready_daemon_says_so_and_its_files_are_private(shared: Daemon) -> None:
    assert {path.name for path in (shared.home / "run").iterdir()} == {
        "system.lock",
        "system.ready",
        "system.sock",
        "system.token",
    }
    assert mode(shared.home / "run") == 0o700
    assert shared.ready.read_bytes() == b""
    assert {mode(p) for p in (shared.ready, shared.token, shared.socket, shared.lock)} == {0o600}
    token = shared.token.read_text()
    assert len(token) == 64
    assert token == token.lower()


@pytest.mark.slow
def test_9_a_second_daemon_is_refused_and_changes_nothing(shared: Daemon) -> None:
    before = run_files(shared)
    log = shared.log()
    second = shared.spawn()
    _, said = second.communicate(timeout=30)
    assert second.returncode != 0
    assert str(shared.running.pid) in said
    assert "Traceback" not in said
    assert run_files(shared) == before
    assert shared.log() == log
    with shared.connect() as client:
        assert client.ask("GetStatus")["data"]["pid"] == shared.running.pid


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_leaves_only_the_lock(daemon: Daemon, number: signal.Signals) -> None:
    assert daemon.start() == ["READY=1"]
    first_token = daemon.token.read_text()
    with daemon.connect() as client:
        assert daemon.signal(number) == 0
        assert client.receive() is None
    assert [path.name for path in (daemon.home / "run").iterdir()] == ["system.lock"]
    assert daemon.log()[-1]["message"] == "stopped"
    daemon.start()
    assert daemon.token.read_text() != first_token


@pytest.mark.slow
def test_a_signal_during_the_boot_ends_it_in_order(daemon: Daemon) -> None:
    daemon.process = daemon.spawn()
    while not _is_held(daemon.lock):  # the boot is under way
        if daemon.process.poll() is not None:
            pytest.fail("it ended by itself")
    assert daemon.signal() == 0
    assert [path.name for path in (daemon.home / "run").iterdir()] == ["system.lock"]


def _is_held(path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.mark.slow
def test_what_is_under_way_is_answered_before_it_ends(daemon: Daemon) -> None:
    prepare(daemon.home, install_tools)
    daemon.start()
    with daemon.connect() as client, daemon.connect() as late:
        client.send(
            "astrid.v1.request.x",
            {
                "type": "raw_json",
                "method": "CallTool",
                "params": {"name": "spin", "timeout_s": 0.5},
            },
        )
        client.ask("GetStatus")  # the call has begun
        daemon.running.send_signal(signal.SIGTERM)
        while daemon.ready.exists():
            pass
        late.send("astrid.v1.request.x", {"type": "raw_json", "method": "GetStatus"})
        message = client.receive()
        assert message is not None
        assert message["payload"]["code"] == "tool.timeout"
        assert client.receive() is None
        assert late.receive() is None
    assert daemon.wait() == 0


@pytest.mark.slow
def test_69_a_request_ends_it_after_it_was_answered(daemon: Daemon) -> None:
    daemon.start()
    with daemon.connect(principal="alice") as agent:
        assert agent.ask("Shutdown")["rule"] == "system:shutdown"
    with daemon.connect() as client:
        answer = client.ask("Shutdown", params={"reason": "done"})
        assert answer == {
            "status": "Success",
            "data": {"status": "shutting_down"},
            "request_id": "r1",
        }
    assert daemon.wait() == 0
    assert not daemon.socket.exists()
    assert "stopping: request" in [line["message"] for line in daemon.log()]


@pytest.mark.slow
def test_8_a_killed_daemon_is_in_nobodys_way(daemon: Daemon) -> None:
    daemon.start()
    with daemon.connect():
        daemon.kill()
    assert {p.name for p in (daemon.home / "run").iterdir()} >= {
        "system.ready",
        "system.sock",
        "system.token",
    }
    with pytest.raises(ConnectionRefusedError):
        Client(daemon.socket)
    daemon.start()
    with daemon.connect() as client:
        assert client.ask("ListCapsules")["data"] == []


@pytest.mark.slow
def test_a_daemon_without_a_token_takes_its_socket_away(daemon: Daemon) -> None:
    prepare(daemon.home, _nothing)
    daemon.token.mkdir()
    process = daemon.spawn()
    _, said = process.communicate(timeout=60)
    assert "token" in said
    assert process.returncode == 1
    assert not daemon.socket.exists()


async def _nothing(_kernel: Kernel) -> None:
    """Opening it is enough."""


@pytest.mark.slow
def test_13_chains_go_on_over_restarts(daemon: Daemon) -> None:
    for _ in range(2):
        daemon.start()
        with daemon.connect() as client:
            client.ask("ListCapsules")
        assert daemon.signal() == 0
    lines = [
        line
        for path in sorted((daemon.home / "var/audit").rglob("*.jsonl"))
        for line in path.read_text().splitlines()
        if '"admin_request"' in line
    ]
    assert len(lines) == 2


@pytest.mark.slow
def test_an_ephemeral_daemon_says_so(daemon: Daemon) -> None:
    daemon.start("--ephemeral", "--session", NIL_SOURCE, "--verbose")
    with daemon.connect() as client:
        assert client.ask("GetStatus")["data"]["ephemeral"] is True


@pytest.mark.slow
def test_a_manager_hears_of_the_start_and_of_the_end(daemon: Daemon) -> None:
    heard: list[str] = []
    at = daemon.directory / "manager"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(at))
        manager.settimeout(30)
        daemon.process = daemon.spawn(notify=at)
        heard.append(manager.recv(100).decode())
        threading.Thread(target=daemon.process.terminate).start()
        heard.append(manager.recv(100).decode())
    assert daemon.wait() == 0
    assert heard == ["READY=1", "STOPPING=1"]
