"""Attacks on the local sockets of capsules: by clients, other users, capsules, and what is left."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from astrid_core.kernel import local_sockets, reception
from astrid_core.kernel.entrance import MAX_HALF_OPEN
from astrid_core.kernel.local_queue import MAX_WAITING, ClientQueue, QueueListener
from astrid_core.kernel.peer import peer_uid
from astrid_hookspecs.values import CapsuleId
from tests.support.daemon import ROOT, Client, short_directory
from tests.support.local_place import LocalPlace

SOON_S = 2.0
NOBODY = 65_534


@pytest.fixture
def run() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory


@pytest.fixture
def place(run: Path) -> Iterator[LocalPlace]:
    made = LocalPlace(run, [])
    yield made
    made.sockets.close()


@pytest.fixture
def listener(place: LocalPlace) -> QueueListener:
    return place.listen()


def taken(listener: QueueListener) -> socket.socket:
    """The client that was let in just now."""
    deadline = time.monotonic() + SOON_S
    while (found := listener.take()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return found


@contextlib.contextmanager
def many(place: LocalPlace, count: int) -> Iterator[list[Client]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(place.stranger()) for _ in range(count)]


@pytest.mark.parametrize("token", ["f" * 64, "0" * 64, "", "x" * 64, "\u0660" * 64])
def test_a_client_denied_when_its_token_is_wrong(
    place: LocalPlace, listener: QueueListener, token: str
) -> None:
    assert place.refused(token=token) == "authentication failed"
    assert listener.take() is None
    assert place.rules() == ["net_bind.token"]
    assert place.token.read_text() not in repr(place.decisions)


def test_a_client_denied_when_its_token_is_of_another_boot(
    place: LocalPlace, listener: QueueListener
) -> None:
    old = place.token.read_text()
    listener.close()
    place.sockets.close()
    place.session.remove()
    again = LocalPlace(place.token.parent, [])
    try:
        again.listen()
        assert again.refused(token=old) == "authentication failed"
        again.client().close()
    finally:
        again.sockets.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">I", 4097) + b"{" * 4097,
        struct.pack(">I", 0),
        struct.pack(">I", 2) + b"{}",
        struct.pack(">I", 4000) + b"[" * 4000,
    ],
    ids=["http", "too long", "empty", "no keys", "deep"],
)
def test_a_client_denied_when_it_says_no_handshake(
    place: LocalPlace, listener: QueueListener, sent: bytes
) -> None:
    with place.stranger() as client:
        client.send_bytes(sent)
        assert client.read_exactly(1) is None
    assert listener.take() is None
    assert place.rules() == ["net_bind.handshake"]


@pytest.mark.parametrize("length", [4096, 4097])
def test_a_handshake_has_a_longest_length(
    place: LocalPlace, listener: QueueListener, length: int
) -> None:
    body = f'{{"token":"{place.token.read_text()}","protocol_version":1,"client_version":"1"'
    body += ',"principal":"alice"}'
    with place.stranger() as client:
        client.send_body(body.ljust(length).encode())
        if length == 4096:
            taken(listener).close()
        else:
            assert client.read_exactly(1) is None
            assert place.rules() == ["net_bind.handshake"]


def test_who_says_nothing_holds_up_nobody(place: LocalPlace, listener: QueueListener) -> None:
    with many(place, MAX_HALF_OPEN - 1):
        begun = time.monotonic()
        with place.client():
            taken(listener).close()
        assert time.monotonic() - begun < SOON_S
    assert place.rules() == []


@pytest.mark.parametrize("drips", [False, True], ids=["silent", "one byte after the other"])
def test_the_time_is_for_all_of_the_handshake(
    place: LocalPlace, listener: QueueListener, monkeypatch: pytest.MonkeyPatch, *, drips: bool
) -> None:
    assert reception.HANDSHAKE_S == 5.0
    monkeypatch.setattr(reception, "HANDSHAKE_S", 0.25)
    with place.stranger() as client:
        begun = time.monotonic()
        client.socket.settimeout(0.02)
        for byte in struct.pack(">I", 4096) + b" " * 200:
            with contextlib.suppress(TimeoutError):
                if drips:
                    with contextlib.suppress(BrokenPipeError):
                        client.send_bytes(bytes([byte]))
                if client.socket.recv(1) == b"":
                    break
        assert 0.2 < time.monotonic() - begun < SOON_S
    assert listener.take() is None
    assert place.rules() == ["net_bind.handshake"]


def test_a_flood_of_silent_clients_keeps_nobody_out(
    place: LocalPlace, listener: QueueListener
) -> None:
    threads = set(threading.enumerate())
    files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counted only
    with many(place, 3 * MAX_HALF_OPEN):
        begun = time.monotonic()
        with place.client():
            taken(listener).close()
        assert time.monotonic() - begun < 2 * SOON_S
        assert set(threading.enumerate()) <= threads
        ours = len(os.listdir("/proc/self/fd")) - files - 3 * MAX_HALF_OPEN  # noqa: PTH208
        assert ours <= MAX_HALF_OPEN + 2
    assert set(place.rules()) == {"net_bind.handshake"}


def test_the_first_client_is_not_too_early(
    place: LocalPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SlowQueue(ClientQueue):
        def __init__(self) -> None:
            time.sleep(0.1)
            super().__init__()

    monkeypatch.setattr(local_sockets, "ClientQueue", SlowQueue)
    thread = threading.Thread(target=place.listen)
    thread.start()
    while not place.path().exists() or not place.token.exists():
        time.sleep(0.001)
    time.sleep(0.01)  # from being bound to listening
    place.client().close()
    thread.join()


def test_who_was_sent_away_is_not_listened_to_in_the_same_round(place: LocalPlace) -> None:
    place.listen()
    found, reactor = place.sockets._doors[CapsuleId("t")].reception, place.sockets._reactor
    assert reactor is not None
    with place.stranger() as client:
        while not found.half_open:
            time.sleep(0.001)
        (stranger,) = found.half_open

        def late_news() -> None:
            found.send_away(stranger)
            found.send_away(stranger)
            found._listen_to(stranger)

        reactor.call(late_news)
        assert client.read_exactly(1) is None
    assert place.rules() == ["net_bind.handshake"]


def test_a_capsule_that_takes_nobody_is_not_buried(place: LocalPlace) -> None:
    place.listen()
    with contextlib.ExitStack() as stack:
        for _ in range(MAX_WAITING):
            stack.enter_context(place.client())
        assert place.refused() == "too many clients wait for the capsule"
        assert place.rules() == ["net.waiting"]
        other = place.listen(capsule="other")
        with place.stranger("other") as client:
            assert client.hello(place.token.read_text(), principal="alice") is not None
            taken(other).close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_22_another_user_denied_also_when_the_token_is_known(run: Path) -> None:
    place = LocalPlace(run, [])
    place.sockets._uid_of = peer_uid
    listener = place.listen()
    connect = (
        "import os, socket, sys\n"
        f"os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM); client.settimeout(5)\n"
        "try:\n"
        "    client.connect(sys.argv[1])\n"
        "    print('closed' if client.recv(1) == b'' else 'answered')\n"
        "except PermissionError:\n"
        "    print('kept out')\n"
    )

    def foreign() -> str:
        return subprocess.run(
            [sys.executable, "-c", connect, str(place.path())],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    try:
        assert foreign() == "kept out"
        for path, mode in ((run, 0o755), (place.directory, 0o755), (place.path(), 0o666)):
            path.chmod(mode)  # nobody does that; the second wall has to stand alone
        assert foreign() == "closed"
        assert listener.take() is None
        assert place.rules() == ["net_bind.user"]
        place.client().close()
    finally:
        place.sockets.close()


def test_a_capsule_cannot_have_the_daemons_socket(place: LocalPlace, run: Path) -> None:
    daemons = run / "system.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as daemon:
        daemon.bind(str(daemons))
        daemon.listen()
        inode = daemons.stat().st_ino
        place.listen(capsule="system").close()
        assert daemons.stat().st_ino == inode
    assert not place.path("system").exists()


@pytest.mark.parametrize("in_the_way", ["link", "directory", "living"])
def test_what_lies_in_the_place_of_a_socket(place: LocalPlace, in_the_way: str, run: Path) -> None:
    place.directory.mkdir(mode=0o700)
    target = run / "precious"
    target.write_text("precious")
    with contextlib.ExitStack() as stack:
        if in_the_way == "link":
            place.path().symlink_to(target)
            place.listen()
            assert not place.path().is_symlink()
        else:
            if in_the_way == "directory":
                place.path().mkdir()
            else:
                other = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                stack.enter_context(other)
                other.bind(str(place.path()))
                other.listen()
            with pytest.raises(OSError, match=r"directory|listens"):
                place.listen()
            assert place.path().exists()
    assert target.read_text() == "precious"


@pytest.mark.parametrize("danger", ["link", "open to others"])
def test_no_socket_in_a_directory_that_others_could_have_made(run: Path, danger: str) -> None:
    elsewhere, directory = run / "elsewhere", run / "net"
    elsewhere.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(elsewhere / "other.sock"))
    if danger == "link":
        directory.symlink_to(elsewhere)
    else:
        directory.mkdir()
        directory.chmod(0o777)
        (directory / "kept").touch()
    place = LocalPlace(run, [])
    with pytest.raises(OSError, match="directory"):
        place.listen()
    assert {*run.rglob("*.sock")} == {elsewhere / "other.sock"}
    place.sockets.close()


def test_a_path_that_is_too_long_is_refused(place: LocalPlace) -> None:
    with pytest.raises(OSError, match="too long"):
        place.listen(capsule="c" * 100)


KILLED = """
import sys, time
from pathlib import Path
from tests.support.local_place import LocalPlace
place = LocalPlace(Path(sys.argv[1]), [])
place.listen()
print("listening", flush=True)
time.sleep(60)
"""


@pytest.mark.slow
def test_what_a_killed_kernel_left_is_removed_and_bound_again(run: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(run)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "listening\n"
        child.kill()
    place = LocalPlace(run, [])
    old = place.token.read_text()
    assert not place.directory.exists()
    listener = place.listen()
    assert place.token.read_text() != old
    with place.client():
        taken(listener).close()
    assert place.refused(token=old) == "authentication failed"
    place.sockets.close()
    assert not place.directory.exists()


def test_closing_ends_everybody_and_every_thread(run: Path) -> None:
    threads = set(threading.enumerate())
    place = LocalPlace(run, [])
    listener = place.listen()
    with place.stranger() as silent, place.client() as waiting:
        place.sockets.close()
        assert silent.read_exactly(1) is None
        assert waiting.read_exactly(1) is None
        assert set(threading.enumerate()) <= threads
        with pytest.raises(OSError, match="descriptor"):
            listener.take()
        with pytest.raises(OSError, match="closing"):
            place.listen()
        listener.close()
