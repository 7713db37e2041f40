"""Whatever arrives on the socket, the daemon stays up, stays small, and serves honest clients.

`ASTRID_FUZZ_FRAMES` says how many frames are sent; the default is for every run of the tests.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import struct
import sys
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astrid_core.domain.kernel_request import METHODS
from tests.support.daemon import Client, Daemon, daemon_home, install_tools, prepare

FRAMES = int(os.environ.get("ASTRID_FUZZ_FRAMES", "500"))
FRAMES_A_CLIENT = 10
AT_ONCE = 1000
OPEN_ENDS = 100
"""Connections that the fuzzer leaves open in the middle of something."""
MAX_GROWTH_BYTES = 32 * 1024 * 1024
MIB = 1024 * 1024

NIL = "00000000-0000-0000-0000-000000000000"
DEEP = b'{"topic":"a.v1.b","payload":' + b"[" * 200 + b"]" * 200 + b"}"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=12,
)
topics = st.sampled_from(
    [
        "user.v1.prompt",
        "astrid.v1.request.x",
        "astrid.v1.request.",
        "astrid.v1.admin.agent.list",
        "astrid.v1.approval.response.r",
        "astrid.v1.response.x",
        "client.v1.connect",
        "tool.v1.execute.echo",
        "tool.v1.execute.echo.result",
        "a..b",
        "**",
        7,
    ]
) | st.text(max_size=40)
tags = st.sampled_from(
    ["raw_json", "custom", "user_input", "tool_execute_request", "tool_execute_result", "connect"]
)
# The owner may really end the daemon and really start endless calls: not asked for here.
methods = st.sampled_from(sorted({*METHODS} - {"Shutdown"})) | st.text(max_size=12)
params = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["echo", "echo.echo", "nothing", ""]) | json_values,
        "arguments": st.fixed_dictionaries({"text": st.text(max_size=20)}) | json_values,
        "pattern": st.sampled_from(["user.v1.*", "a.b", "**", "*"]) | json_values,
        "timeout_s": st.floats() | json_values,
        "source": json_values,
        "request_id": json_values,
    },
)
requests = st.fixed_dictionaries(
    {"type": st.just("raw_json"), "method": methods},
    optional={"params": params | json_values, "request_id": st.text(max_size=200) | json_values},
)
tagged = st.dictionaries(st.text(max_size=8), json_values, max_size=3).flatmap(
    lambda fields: tags.map(lambda tag: {**fields, "type": tag})
)
messages = st.fixed_dictionaries(
    {"topic": topics, "payload": requests | tagged | json_values},
    optional={
        "source_id": st.just(NIL) | json_values,
        "principal": st.sampled_from(["default", "alice", "../x", "", "A" * 65]) | json_values,
        "timestamp": st.just("2026-01-01T00:00:00Z") | json_values,
        "seq": st.integers(),
        "signature": json_values,
    },
)
proper = messages.map(lambda value: json.dumps(value).encode()) | messages.map(
    lambda value: json.dumps(value, ensure_ascii=False).encode(errors="replace")
)
bodies = (
    proper
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=200)
    | st.just(DEEP)
)


def framed(body: bytes, *, lie: int = 0) -> bytes:
    return struct.pack(">I", max(0, len(body) + lie) & 0xFFFFFFFF) + body


def damaged(frame: bytes, place: int, value: int) -> bytes:
    at = place % len(frame)
    return frame[:at] + bytes([value]) + frame[at + 1 :]


frames = (
    bodies.map(framed)
    | bodies.map(framed)
    | st.builds(lambda body, lie: framed(body, lie=lie), bodies, st.sampled_from([-3, 1, 5, 10**7]))
    | st.builds(damaged, bodies.map(framed), st.integers(min_value=0), st.integers(0, 255))
    | st.binary(min_size=1, max_size=60)
)


def some(what: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[bytes]]:
    return st.lists(what, min_size=FRAMES_A_CLIENT, max_size=FRAMES_A_CLIENT)


beginnings = st.sampled_from(["owner", "owner", "owner", "agent", "wrong", "none"])
endings = st.sampled_from(["read", "read", "close", "leave"])


class Honest:
    """A client that calls a tool again and again while others do what they want."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._ended = threading.Event()
        self.served = 0
        self.problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with self._daemon.connect(principal="honest") as client:
                while not self._ended.wait(0.005):
                    text = str(self.served)
                    answer = client.call("echo", {"text": text})
                    if answer.get("data", {}).get("content") != text:
                        raise RuntimeError(f"answered {answer}")  # noqa: TRY301 - kept below
                    self.served += 1
        except BaseException as error:  # noqa: BLE001 - the test's own thread looks at it
            self.problem = error

    def check(self, served: int) -> int:
        """Fail unless it was served since; returns how often it was."""
        assert self.problem is None
        while self.served <= served:
            assert self._thread.is_alive()
        return self.served


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with daemon_home() as running:
        prepare(running.home, install_tools)
        running.start()
        yield running


class Fuzzer:
    """Plays what was generated, on connections of which some stay open."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._token = daemon.token.read_text()
        self._left: deque[Client] = deque()
        self.frames = 0
        self.answers = 0

    def play(self, beginning: str, sent: list[bytes], ending: str, pieces: int) -> None:
        client = Client(self._daemon.socket, timeout_s=10.0)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._begin(client, beginning)
            data = b"".join(sent)
            step = max(1, len(data) // pieces)
            for start in range(0, len(data), step):
                client.send_bytes(data[start : start + step])
        self.frames += len(sent)
        if ending == "read":
            self._read(client)
        if ending == "leave":
            self._left.append(client)
            if len(self._left) > OPEN_ENDS:
                self._left.popleft().close()
        else:
            client.close()

    def close(self) -> None:
        while self._left:
            self._left.popleft().close()

    def _begin(self, client: Client, beginning: str) -> None:
        if beginning == "none":
            return
        client.hello(
            "f" * 64 if beginning == "wrong" else self._token,
            principal="mallory" if beginning == "agent" else None,
        )

    def _read(self, client: Client) -> None:
        """Whatever is answered is a frame with JSON in it."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            client.socket.shutdown(1)  # SHUT_WR: the daemon reads the end
            while (body := client.receive_body()) is not None:
                json.loads(body)
                self.answers += 1


@pytest.mark.slow
def test_garbage_does_not_matter(daemon: Daemon) -> None:
    fuzzer = Fuzzer(daemon)
    settled = 0

    @settings(
        max_examples=max(1, FRAMES // FRAMES_A_CLIENT),
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[*HealthCheck],
    )
    @given(
        beginning=beginnings,
        sent=some(proper.map(framed)) | some(bodies.map(framed)) | some(frames),
        ending=endings,
        pieces=st.sampled_from([1, 1, 1, 40]),
    )
    def fuzz(beginning: str, sent: list[bytes], ending: str, pieces: int) -> None:
        nonlocal settled
        fuzzer.play(beginning, sent, ending, pieces)
        if not settled and fuzzer.frames >= min(FRAMES // 2, 2000):
            settled = daemon.rss_bytes()

    with Honest(daemon) as honest:
        served = honest.check(0)
        fuzz()
        honest.check(served)
        fuzzer.close()
        served = honest.check(honest.served)
    assert fuzzer.frames >= FRAMES
    assert fuzzer.answers > 0
    assert daemon.running.poll() is None
    growth = daemon.rss_bytes() - settled
    report(
        f"{fuzzer.frames} frames, {fuzzer.answers} answers, {served} honest calls, {growth} B more"
    )
    assert growth < MAX_GROWTH_BYTES
    problems = [line for line in daemon.log() if line["level"] in {"error", "critical"}]
    assert problems == []


@pytest.mark.slow
def test_long_frames_and_many_clients_at_once_do_not_matter(daemon: Daemon) -> None:
    with Honest(daemon) as honest:
        served = honest.check(0)
        before = daemon.rss_bytes()
        for _ in range(3):
            send_long_frames(daemon)
        served = honest.check(served)
        resource_limit()
        clients = crowd(daemon)
        served = honest.check(served)
        with daemon.connect_in_a_crowd() as newcomer:
            assert newcomer.call("echo", {"text": "in"})["data"]["content"] == "in"
        for client in clients:
            client.close()
        served = honest.check(served)
    assert daemon.running.poll() is None
    growth = daemon.rss_bytes() - before
    report(f"{len(clients)} clients at once, {served} honest calls, {growth} B more")
    assert growth < MAX_GROWTH_BYTES
    files = daemon.open_files()
    assert files < 64


def report(text: str) -> None:
    """For whoever runs this with -s and wants the figures."""
    sys.stdout.write(f"\n{text}\n")


def resource_limit() -> None:
    """Room for the crowd's own files in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < 2 * AT_ONCE:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(2 * AT_ONCE, hard), hard))


def send_long_frames(daemon: Daemon) -> None:
    """As long as they may be, whole and cut off, of owner and stranger."""
    lists = b"[" + b"{}," * (3 * MIB) + b"{}]"
    for body in (b"\xff" * (10 * MIB), b'"' + b"x" * (10 * MIB - 2) + b'"', lists):
        with daemon.connect() as client, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.send_body(body)
            client.receive()
    with daemon.connect() as client:
        client.send_bytes(struct.pack(">I", 10 * MIB) + b"x" * (9 * MIB))
    with Client(daemon.socket) as client:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.send_bytes(b"\xff" * MIB)
        assert client.receive() is None


def crowd(daemon: Daemon) -> list[Client]:
    """A thousand connections that are all open at our end: silent, slow, wrong, garbage."""

    def one(number: int) -> Client:
        client = Client(daemon.socket)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            match number % 4:
                case 0:
                    client.send_bytes(b"")
                case 1:
                    client.send_bytes(b"\x00\x00\x00")
                case 2:
                    client.send_body(b'{"token":"' + b"0" * 64 + b'","protocol_version":1}')
                case _:
                    client.send_bytes(os.urandom(64))
        return client

    with ThreadPoolExecutor(64) as threads:
        return [*threads.map(one, range(AT_ONCE))]
