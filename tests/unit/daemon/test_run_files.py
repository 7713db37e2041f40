"""Binding the socket: what is in its place, and how long its path may be."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from astrid_core.daemon.run_files import AlreadyRunningError, RunFiles
from astrid_core.kernel.session_token import SessionToken
from astrid_hookspecs.errors import ConfigError
from tests.support.daemon import short_directory


@pytest.fixture
def run() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(os.fspath(path))
        except ConnectionRefusedError:
            return False
        return True


@pytest.mark.parametrize("left", ["nothing", "8-dead-socket", "10-link", "file", "dangling-link"])
def test_what_is_stale_is_replaced(run: Path, left: str) -> None:
    files = RunFiles(run)
    target = run / "target"
    target.write_text("precious")
    files.ready.write_bytes(b"")
    if left == "8-dead-socket":
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
            dead.bind(os.fspath(files.socket))
    elif left == "file":
        files.socket.write_text("rubbish")
    elif left != "nothing":
        files.socket.symlink_to(target if left == "10-link" else run / "nobody")
    with files.bind() as listener:
        assert not listener.getblocking()
        assert stat.S_IMODE(files.socket.lstat().st_mode) == 0o600
        assert answers(files.socket)
    assert not files.ready.exists()
    assert target.read_text() == "precious"
    assert not (run / "nobody").exists()


def test_9_a_living_socket_is_left_alone(run: Path) -> None:
    files = RunFiles(run)
    with files.bind(), pytest.raises(AlreadyRunningError):
        files.bind()
    assert not answers(files.socket)


@pytest.mark.parametrize("name", ["socket", "ready"])
def test_a_directory_in_the_way_is_left_alone(run: Path, name: str) -> None:
    files = RunFiles(run)
    getattr(files, name).mkdir()
    with pytest.raises(ConfigError) as caught:
        files.bind()
    assert caught.value.code == "daemon.socket"
    assert getattr(files, name).is_dir()


@pytest.mark.parametrize("length", [107, 108])
def test_11_the_path_of_the_socket_has_a_longest_length(run: Path, length: int) -> None:
    directory = run / ("d" * (length - len(os.fsencode(run)) - len("//system.sock")))
    directory.mkdir()
    files = RunFiles(directory)
    assert len(os.fsencode(files.socket)) == length
    if length == 107:
        files.bind().close()
        return
    with pytest.raises(ConfigError) as caught:
        files.bind()
    assert caught.value.code == "daemon.socket-path"
    assert not files.socket.exists()


@pytest.mark.parametrize("name", ["system.ready", "system.sock", "system.token"])
def test_what_cannot_be_removed_is_named_and_the_others_go(run: Path, name: str) -> None:
    files = RunFiles(run)
    for path in (files.ready, files.socket, files.token):
        path.write_bytes(b"")
    (run / name).unlink()
    (run / name).mkdir()
    with pytest.raises(ConfigError, match=name) as caught:
        files.remove()
    assert caught.value.code == "daemon.socket"
    assert [path.name for path in run.iterdir()] == [name]


def test_the_files_are_private_and_go_at_the_end(run: Path) -> None:
    files = RunFiles(run)
    files.bind().close()
    first, second = SessionToken(files.token), SessionToken(files.token)
    assert first.value() != second.value()
    assert first.value() == first.value()
    assert bytes.fromhex(files.token.read_text()) == second.value()
    files.write_ready()
    assert {stat.S_IMODE(path.stat().st_mode) for path in run.iterdir()} == {0o600}
    files.remove()
    files.remove()
    assert not any(run.iterdir())
