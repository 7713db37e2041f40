"""The client against daemons that misbehave: what it believes, how long it waits, what it keeps."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from astrid_core.daemon import client as client_module
from astrid_core.daemon import client_door
from astrid_core.daemon.client import DaemonClient
from astrid_core.daemon.client_errors import (
    AnswerTimeoutError,
    ConnectionLostError,
    DaemonError,
    ForeignSocketError,
    NotRunningError,
    RefusedError,
    RemoteError,
    SilentDaemonError,
    StaleSocketError,
    VersionMismatchError,
)
from astrid_core.domain.error_fields import error_fields
from astrid_core.domain.framing import MAX_REPLY_BYTES
from astrid_hookspecs.errors import (
    AstridError,
    CapabilityDeniedError,
    IntegrityError,
    LocalProtocolError,
    ManifestError,
    RemoteProtocolError,
)
from tests.support.fake_daemon import (
    OK,
    TOKEN,
    accepting,
    answer,
    daemon,
    frame,
    home_with_token,
    read,
    until_gone,
)


@pytest.fixture
def home() -> Iterator[Path]:
    with home_with_token() as directory:
        yield directory


def connect(home: Path, timeout_s: float = 10.0) -> DaemonClient:
    return DaemonClient.connect(home, timeout_s=timeout_s)


def test_it_says_who_it_is_and_learns_who_answers(home: Path) -> None:
    with daemon(home, accepting(until_gone)) as hellos, connect(home) as client:
        assert client.server_version == "9"
        assert client.pid == os.getpid()
    assert hellos[0]["token"] == TOKEN
    assert hellos[0]["protocol_version"] == 1
    assert "principal" not in hellos[0]


def test_nothing_there_and_nobody_there_are_told_apart(home: Path) -> None:
    with pytest.raises(NotRunningError) as caught:
        connect(home)
    assert caught.value.code == "daemon.not-running"
    assert "astrid start" in str(caught.value.hint)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(home / "run/system.sock"))
    with pytest.raises(StaleSocketError):
        connect(home)
    (home / "run/system.sock").unlink()
    (home / "run/system.sock").write_text("no socket")
    with pytest.raises(StaleSocketError):
        connect(home)
    with pytest.raises(NotRunningError):
        connect(home / "nowhere")


@pytest.mark.parametrize("mode", [0o777, 0o720, 0o702])
def test_no_token_for_a_socket_that_others_could_have_put_there(home: Path, mode: int) -> None:
    with daemon(home) as hellos:
        (home / "run").chmod(mode)
        with pytest.raises(ForeignSocketError, match="other users can write"):
            connect(home)
    assert hellos == []


def test_no_token_for_a_process_of_another_user(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for uid in (os.geteuid() + 1, None):
        with daemon(home) as hellos:
            monkeypatch.setattr(client_door, "peer_uid", lambda _sock, uid=uid: uid)
            with pytest.raises(ForeignSocketError, match="the process behind the socket"):
                connect(home)
        assert hellos == []
        (home / "run/system.sock").unlink()


@pytest.mark.parametrize("spoil", ["readable", "link", "directory"])
def test_no_token_from_a_file_that_is_not_this_users_alone(home: Path, spoil: str) -> None:
    token = home / "run/system.token"
    if spoil == "readable":
        token.chmod(0o640)
    else:
        token.unlink()
        if spoil == "link":
            (home / "other").write_text(TOKEN)
            token.symlink_to(home / "other")
        else:
            token.mkdir()
    with daemon(home) as hellos, pytest.raises(ForeignSocketError):
        connect(home)
    assert hellos == []


def test_a_token_that_changes_while_a_daemon_starts_is_read_again(home: Path) -> None:
    def refuse(sock: socket.socket) -> None:
        (home / "run/system.token").write_text("cd" * 32)
        sock.sendall(frame({**OK, "status": "error", "reason": "authentication failed"}))

    with daemon(home, refuse, accepting(until_gone)) as hellos, connect(home):
        assert [hello["token"] for hello in hellos] == [TOKEN, "cd" * 32]


def test_a_token_that_is_wrong_is_offered_once(home: Path) -> None:
    def refuse(sock: socket.socket) -> None:
        sock.sendall(frame({**OK, "status": "error", "reason": "authentication failed"}))

    def unused(sock: socket.socket) -> None:
        sock.sendall(frame(OK))

    with daemon(home, refuse, unused) as hellos, pytest.raises(RefusedError) as caught:
        connect(home)
    assert caught.value.code == "daemon.refused"
    assert len(hellos) == 1
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ({**OK, "status": "error", "protocol_version": 2, "reason": "v"}, VersionMismatchError),
        ({**OK, "status": "error", "reason": "too many connections"}, RefusedError),
        (b"{", RemoteProtocolError),
        (b"[" * 3000, RemoteProtocolError),
        ([], RemoteProtocolError),
        ({"status": "yes"}, RemoteProtocolError),
        ({**OK, "padding": "x" * 5000}, RemoteProtocolError),
    ],
)
def test_answers_to_a_handshake(home: Path, reply: object, error: type[AstridError]) -> None:
    with (
        daemon(home, lambda sock: sock.sendall(frame(reply))),
        pytest.raises(error) as caught,
    ):
        connect(home)
    assert type(caught.value) is error


def test_who_is_sent_away_from_a_crowd_tries_again(home: Path) -> None:
    def send_away(_sock: socket.socket) -> None:
        """Close it without an answer."""

    with daemon(home, send_away, send_away, accepting(until_gone)) as hellos, connect(home):
        assert [hello["token"] for hello in hellos] == [TOKEN] * 3


def test_a_daemon_that_closes_or_keeps_silent(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_door, "_CROWD_S", 0.05)
    with daemon(home, lambda _sock: None), pytest.raises(RefusedError, match="without an answer"):
        connect(home)
    (home / "run/system.sock").unlink()
    with daemon(home, until_gone), pytest.raises(SilentDaemonError) as caught:
        connect(home, timeout_s=0.05)
    assert caught.value.pid == os.getpid()
    (home / "run/system.sock").unlink()
    (home / "run/system.token").unlink()
    with daemon(home), pytest.raises(SilentDaemonError, match="no token"):
        connect(home, timeout_s=0.05)


def test_each_request_gets_its_own_answer_whatever_the_order(home: Path) -> None:
    def backwards(sock: socket.socket) -> None:
        requests = [read(sock) for _ in range(3)]
        note = {"topic": "a.b", "payload": {"request_id": "other"}, "source_id": "s"}
        forged = {"topic": "a.b", "payload": requests[0]["payload"], "source_id": "s"}
        sock.sendall(frame(note) + frame(forged))
        for request in reversed(requests):
            sock.sendall(answer(request, data=request["payload"]["method"]))
        until_gone(sock)

    with daemon(home, accepting(backwards)), connect(home) as client:
        ids = [client.send(method) for method in ("A", "B", "C")]
        assert [client.wait(request_id).data for request_id in ids] == ["A", "B", "C"]
        # A message that carries the id of a request is no answer to it.
        kept = [message.topic for message in client.messages(timeout_s=0)]
        assert kept == ["a.b", "a.b"]


def nested(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("-inf"), "\ud800", 10**5000, nested(100_000), object()],
    ids=["nan", "infinity", "surrogate", "number", "deep", "object"],
)
def test_what_is_no_json_is_not_sent_and_costs_no_connection(home: Path, value: object) -> None:
    def serve(sock: socket.socket) -> None:
        request = read(sock)
        sock.sendall(answer(request, data=request["payload"]["method"]))
        until_gone(sock)

    with daemon(home, accepting(serve)), connect(home) as client:
        for act in (
            lambda: client.call_tool("echo", {"text": value}),
            lambda: client.publish("user.v1.prompt", {"type": "custom", "data": value}),
        ):
            with pytest.raises(LocalProtocolError) as caught:
                act()
            assert caught.value.code == "protocol.not-json"
        assert client.request("ListCapsules").data == "ListCapsules"


def test_an_answer_that_comes_too_late_belongs_to_nobody(home: Path) -> None:
    gone = threading.Event()

    def late(sock: socket.socket) -> None:
        first = read(sock)
        gone.wait(20)
        second = read(sock)
        sock.sendall(answer(first, data=1) + answer(second, data=2))
        until_gone(sock)

    with daemon(home, accepting(late)), connect(home) as client:
        with pytest.raises(AnswerTimeoutError):
            client.request("A", timeout_s=0.02)
        gone.set()
        assert client.request("B").data == 2
        assert list(client.messages(timeout_s=0)) == []


def test_frames_arrive_in_pieces_of_any_size(home: Path) -> None:
    def slowly(sock: socket.socket) -> None:
        for byte in answer(read(sock), data="ü" * 20):
            sock.sendall(bytes([byte]))
        until_gone(sock)

    with daemon(home, accepting(slowly)), connect(home) as client:
        assert client.request("A").data == "ü" * 20


@pytest.mark.parametrize(
    "garbage",
    [
        frame(b"no json"),
        frame(b"[" * 100_000),
        frame([1]),
        frame({"topic": "a"}),
        struct.pack(">I", MAX_REPLY_BYTES + 1),
    ],
)
def test_garbage_is_an_error_and_no_answer(home: Path, garbage: bytes) -> None:
    def serve(sock: socket.socket) -> None:
        read(sock)
        sock.sendall(garbage)
        until_gone(sock)

    with (
        daemon(home, accepting(serve)),
        connect(home) as client,
        pytest.raises(RemoteProtocolError),
    ):
        client.request("A")


def test_the_end_of_the_connection_is_told_at_once(home: Path) -> None:
    with daemon(home, accepting(lambda sock: (read(sock), None)[1])), connect(home) as client:
        with pytest.raises(ConnectionLostError):
            client.request("A", timeout_s=20)
        with pytest.raises(ConnectionLostError):
            list(client.messages())


def test_both_sides_may_be_full_at_once(home: Path) -> None:
    """A daemon that reads only after its answers were taken would otherwise wait for ever."""
    size, count = 200_000, 30

    def flood(sock: socket.socket) -> None:
        note = frame({"topic": "a.b", "payload": "x" * size, "source_id": "s"})
        for _ in range(count):
            sock.sendall(note)
        requests = [read(sock) for _ in range(count)]
        for request in requests:
            sock.sendall(answer(request))
        until_gone(sock)

    with daemon(home, accepting(flood)), connect(home) as client:
        ids = [client.send("A", {"text": "y" * size}) for _ in range(count)]
        assert all(client.wait(request_id).status == "Success" for request_id in ids)
        assert len(list(client.messages(timeout_s=0))) == count


def test_a_daemon_that_takes_nothing_is_not_waited_for_for_ever(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "REQUEST_TIMEOUT_S", 0.05)
    done = threading.Event()
    with daemon(home, accepting(lambda _sock: (done.wait(20), None)[1])):
        with connect(home) as client, pytest.raises(AnswerTimeoutError):
            client.send("A", {"text": "y" * 5_000_000})
        done.set()


def test_messages_that_nobody_reads_are_bounded_and_counted(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "MAX_KEPT", 3)

    def serve(sock: socket.socket) -> None:
        request = read(sock)
        for number in range(5):
            sock.sendall(frame({"topic": "a.b", "payload": number, "source_id": "s"}))
        sock.sendall(answer(request))
        until_gone(sock)

    with daemon(home, accepting(serve)), connect(home) as client:
        client.subscribe("a.*")
        assert [message.payload for message in client.messages(timeout_s=0)] == [2, 3, 4]
        assert client.lost == 2


@pytest.mark.parametrize(
    "error",
    [
        AstridError("broken", code="some.code", hint="mend it"),
        CapabilityDeniedError("no", rule="r"),
        ManifestError("wrong", rule="E-X", key="a.b"),
        IntegrityError("changed"),
    ],
)
def test_an_error_of_the_daemon_is_shown_as_if_it_were_ours(home: Path, error: AstridError) -> None:
    def serve(sock: socket.socket) -> None:
        sock.sendall(answer(read(sock), **{**error_fields(error), "status": "Error"}))
        until_gone(sock)

    with (
        daemon(home, accepting(serve)),
        connect(home) as client,
        pytest.raises(RemoteError) as caught,
    ):
        client.request("A")
    ours = caught.value
    assert (str(ours), ours.code, ours.hint) == (str(error), error.code, error.hint)
    assert ours.to_json() == error.to_json()
    assert ours.exit_code == error.exit_code


def test_a_tool_answer_of_another_form_is_refused(home: Path) -> None:
    def serve(sock: socket.socket) -> None:
        sock.sendall(answer(read(sock), data="text"))
        until_gone(sock)

    with (
        daemon(home, accepting(serve)),
        connect(home) as client,
        pytest.raises(RemoteProtocolError),
    ):
        client.call_tool("a.b", {})


def test_closing_twice_and_reading_afterwards_are_harmless(home: Path) -> None:
    with daemon(home, accepting(until_gone)):
        client = connect(home)
        client.close()
        client.close()
        with pytest.raises(DaemonError):
            client.request("A")
