"""Sockets and programs of the fake host: limits, and what the kernel refuses.

What both do alike is in `tests/integration/test_sdk_outside.py`. Spec: host-abi 12, 13.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from astrid_sdk import net, poll, process
from astrid_sdk.errors import (
    CapabilityDeniedError,
    HostTimeoutError,
    InvalidInputError,
    ProcessError,
    QuotaError,
    TooLargeError,
    UnavailableError,
)
from astrid_sdk.net_errors import (
    NetAddressError,
    NetConnectionResetError,
    NetNameError,
    NetQuotaError,
    NetUnavailableError,
    NetWouldBlockError,
)
from astrid_sdk.testing import CapsuleHarness, FakeHost, Peer, Ran

pytestmark = pytest.mark.usefixtures("host")
HELLO = ("peer.test", 7)


@pytest.fixture
def wired(host: FakeHost) -> FakeHost:
    host.sockets = {
        "net_connect": ["peer.test:7", "nobody.test:7", "[2606:4700::1]:*", "inside.test:7"],
        "net_tcp_bind": ["127.0.0.1:80"],
        "net_udp": ["bind:127.0.0.1:*", "peer.test:7"],
        "net_bind": ["unix"],
    }
    host.wire.peers = {"peer.test:7": b"hello", "[2606:4700::1]:9": b""}
    host.wire.names = {"inside.test": ["8.8.8.8", "10.0.0.1"]}
    return host


def test_a_peer_speaks_first(wired: FakeHost) -> None:
    with net.connect(*HELLO) as stream:
        assert stream.read(3) == b"hel"
        stream.read_timeout = 1
        assert stream.read() == b"lo"
        with pytest.raises(NetWouldBlockError):
            stream.read()
        stream.write(b"bye")
        wired.wire.connections[0].is_done = True
        with pytest.raises(NetConnectionResetError):
            stream.write(b"?")
        with pytest.raises(EOFError, match="after 0 of 1"):
            stream.read_exactly(1)
    assert wired.wire.connections[0].got == b"bye"
    assert wired.now_ns == 1_000_000_000


def test_names_and_addresses(wired: FakeHost) -> None:
    assert net.connect("[2606:4700::1]", 9).peer == ("2606:4700::1", 9)
    with pytest.raises(NetNameError):
        net.connect("nobody.test", 7)
    with pytest.raises(PermissionError, match="airlock-rejected"):
        net.connect("inside.test", 7)
    assert net.lookup("inside.test") == ["8.8.8.8"]
    with pytest.raises(NetAddressError):
        net.listen("")
    assert wired.wire.connections[0].where == "[2606:4700::1]:9"


@pytest.mark.usefixtures("wired")
@pytest.mark.parametrize(
    ("make", "most"),
    [
        (lambda: net.connect(*HELLO), 8),
        (lambda: net.listen("127.0.0.1", 80), 4),
        (lambda: net.udp("127.0.0.1"), 4),
    ],
)
def test_69_so_many_sockets(make: Callable[[], Any], most: int) -> None:
    made = [make() for _ in range(most)]
    with pytest.raises(NetQuotaError) as caught:
        make()
    assert isinstance(caught.value, QuotaError)
    made[0].close()
    made[0].close()
    assert made[0].is_closed
    make().close()


def test_78_a_listener_at_its_limit_takes_nobody(wired: FakeHost) -> None:
    listener = net.listen("127.0.0.1", 80)
    wired.wire.clients["127.0.0.1:80"] = [Peer(), Peer()]
    assert poll.wait_any([listener.ready()]) == [0]
    stream = listener.accept()
    assert stream is not None
    assert listener.local == ("127.0.0.1", 80)
    held = [net.connect(*HELLO) for _ in range(7)]
    assert listener.accept(timeout=1) is None
    with pytest.raises(NetQuotaError):
        listener.accept()
    held.pop().close()
    assert listener.accept(timeout=1) is not None


def test_clients_of_the_local_socket_are_served_without_a_kernel(wired: FakeHost) -> None:
    wired.sockets["net_bind"] = []
    with pytest.raises(PermissionError):
        net.listen_local()
    wired.sockets["net_bind"] = ["*"]
    client = Peer("", lambda said: b"\0\0\0\x02ok" if said.endswith(b"status") else None)
    client.says += b"\0\0\0\x05hello"
    with net.listen_local() as service:
        assert service.accept(timeout=90) is None
        wired.wire.clients["unix"] = [client]
        assert poll.wait_any([service.ready()]) == [0]
        stream = service.accept()
        assert stream is not None
        with stream:
            assert stream.read_frame() == b"hello"
            stream.write_frame(b"status")
            assert stream.read_frame() == b"ok"
            stream.write_frame(b"bye")
            assert stream.read_frame() is None
        assert not hasattr(service, "local")
    assert client.got.endswith(b"bye")


@pytest.mark.usefixtures("wired")
def test_the_local_socket_takes_the_slot_of_a_listener() -> None:
    held = [net.listen("127.0.0.1", 80) for _ in range(3)]
    local = net.listen_local()
    with pytest.raises(NetQuotaError):
        net.listen_local()
    local.close()
    net.listen_local().close()
    assert held


def test_nobody_is_waited_for_longer_than_a_minute(wired: FakeHost) -> None:
    with net.listen_local() as service:
        before = wired.now_ns
        assert service.accept(timeout=3600) is None
        assert wired.now_ns == before + 60_000_000_000


def test_frames_of_a_peer(wired: FakeHost) -> None:
    wired.wire.peers["peer.test:7"] = b"\0\0\0\x01a\xff\xff\xff\xff"
    with net.connect(*HELLO) as stream:
        assert stream.read_frame() == b"a"
        with pytest.raises(NetUnavailableError):
            stream.read_frame()
        with pytest.raises(AttributeError):
            stream._handle.set_colour(1)


def test_datagrams(wired: FakeHost) -> None:
    sock = net.udp("127.0.0.1")
    assert sock.send_to(b"who", *HELLO) == 3
    assert sock.receive_from(2) == (b"he", ("93.184.215.14", 7))
    sock.read_timeout = 0.5
    assert sock.read_timeout == 0.5
    assert sock.receive_from() is None
    sock.connect(*HELLO)
    assert sock.peer == ("93.184.215.14", 7)
    with pytest.raises(NetUnavailableError):
        sock.send(bytes(65_508))
    assert wired.wire.datagrams == [(b"who", "peer.test:7")]


# ---------------------------------------------------------------- programs


@pytest.fixture
def programs(host: FakeHost) -> FakeHost:
    host.host_process = ["git status", "sleep", "cat"]
    host.programs = {"git": Ran("M file\n"), "sleep": Ran(runs_s=2.0), "cat": Ran(runs_s=None)}
    return host


def test_a_program_is_found_by_its_first_words(programs: FakeHost) -> None:
    assert process.run(["git", "status", "-s"], cwd="src").stdout == "M file\n"
    assert (programs.ran[0].argv, programs.ran[0].cwd) == (("git", "status", "-s"), "src")
    with pytest.raises(ProcessError) as caught:
        process.run(["git", "push"])
    assert isinstance(caught.value, CapabilityDeniedError)


def test_a_program_takes_its_time(programs: FakeHost) -> None:
    assert process.run(["sleep", "2"]).exit == (0, None)
    assert programs.now_ns == 2_000_000_000
    with process.start(["sleep", "2"]) as program:
        with pytest.raises(HostTimeoutError):
            program.wait(1)
        assert program.wait() == (0, None)
        assert not program.kill().was_running
        with pytest.raises(ProcessError, match="closed"):
            program.pid  # noqa: B018 - asking is the test
    with process.start(["cat"]) as endless, pytest.raises(AssertionError, match="for ever"):
        endless.wait()


@pytest.mark.usefixtures("programs")
def test_so_many_programs() -> None:
    running = [process.start(["cat"]) for _ in range(8)]
    with pytest.raises(QuotaError):
        process.start(["cat"])
    running[0].close()
    running[0].close()
    with process.start(["cat"]) as program:
        with pytest.raises(TooLargeError):
            program.write(bytes(1024 * 1024 + 1))
        with pytest.raises(ValueError, match="no signal 'kill'"):
            program.signal("kill")  # type: ignore[arg-type]
        program.write(bytes(1024 * 1024))
        program.close_stdin()
        with pytest.raises(ProcessError, match="closed"):
            program.write(b"x")


def test_programs_are_kept_by_those_who_may(programs: FakeHost) -> None:
    with pytest.raises(UnavailableError):
        process.keep(["cat"])
    programs.capabilities = {"allow_persistent"}
    made = process.keep(["cat"], options=process.Options(limits=process.Limits(open_files=9)))
    with made.attach() as attached, pytest.raises(InvalidInputError):
        attached.wait()
    with pytest.raises(TooLargeError):
        made.read_since(max_bytes=5 * 1024 * 1024)
    with pytest.raises(InvalidInputError):
        made.read_since("nowhere")
    programs.principal = "bob"
    assert process.kept() == []
    made.release()
    programs.principal = "default"
    made.signal("int")
    assert made.stop() == (None, 2)


def test_the_harness_grants_what_the_manifest_says(
    capsule: Callable[..., CapsuleHarness],
) -> None:
    source = "from astrid_sdk import net, process, tool\n\n@tool\ndef run() -> str:\n"
    source += "    process.run(['ls'])\n    return net.connect('peer.test', 7).read().decode()\n"
    listed = {"host_process": ["ls"], "net_connect": ["peer.test:7"]}
    harness = capsule(source, manifest={"capabilities": listed})
    harness.host.programs["ls"] = Ran()
    harness.host.wire.peers["peer.test:7"] = b"hi"
    assert harness.call_tool("run").content == "hi"
