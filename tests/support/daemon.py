"""A daemon in its own process, and a client that can also misbehave: sockets and bytes only."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import wasmtime

from astrid_core import Kernel
from astrid_core.kernel.audit.places import AuditPlaces
from astrid_core.kernel.audit.reader import Query, Row, entries
from astrid_hookspecs.values import NIL_SOURCE
from tests.support.capsules import install, install_example, write_capsule

ROOT = Path(__file__).parents[2]
ECHO = ROOT / "tests/benchmarks/guests/echo_tool.wat"
START_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 20.0
STATUS = {"type": "raw_json", "method": "GetStatus"}

ECHO_MANIFEST = """
[package]
name = "echo"
version = "1.0.0"
[[component]]
file = "guest.wasm"
[publish]
"tool.v1.execute.echo.result" = { wit = "opaque" }
[subscribe]
"tool.v1.execute.echo" = { wit = "opaque", handler = "tool_execute_echo" }
"""


@contextlib.contextmanager
def short_directory() -> Iterator[Path]:
    """A directory whose path leaves room for the name of a socket."""
    path = Path(tempfile.mkdtemp(prefix="astrid-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def prepare(home: Path, work: Callable[[Kernel], Coroutine[Any, Any, object]]) -> None:
    """Do something with a kernel on a home, before a daemon has it."""

    async def main() -> None:
        async with Kernel.open(home=home) as kernel:
            await work(kernel)

    asyncio.run(main())


async def install_tools(kernel: Kernel) -> None:
    """`echo.echo`, which answers with its `text`, and `spinner.spin`, which never answers."""
    component = bytes(wasmtime.wat2wasm(ECHO.read_text()))
    with tempfile.TemporaryDirectory() as directory:
        await install(kernel, write_capsule(Path(directory), component, ECHO_MANIFEST))
    await install_example(kernel, "spinner")


class Daemon:
    """Starts and ends daemons on one home, one at a time.

    Args:
        directory: For the home; its path is short.
        environ: Besides the test's own environment.
    """

    def __init__(self, directory: Path, *, environ: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self.home = directory / "h"
        self.socket = self.home / "run/system.sock"
        self.token = self.home / "run/system.token"
        self.ready = self.home / "run/system.ready"
        self.lock = self.home / "run/system.lock"
        self.process: subprocess.Popen[str] | None = None
        self._environ = {**os.environ, "ASTRID_HOME": str(self.home), **(environ or {})}

    def spawn(self, *arguments: str, notify: Path | None = None) -> subprocess.Popen[str]:
        """A daemon process; not waited for."""
        environ = dict(self._environ)
        environ.pop("NOTIFY_SOCKET", None)
        if notify is not None:
            environ["NOTIFY_SOCKET"] = str(notify)
        return subprocess.Popen(
            [sys.executable, "-m", "astrid_core.daemon", *arguments],
            cwd=ROOT,
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def start(self, *arguments: str) -> list[str]:
        """Start one and wait until it says that it is ready; returns what it told its manager."""
        at = self.directory / "notify"
        at.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(at))
            manager.settimeout(0.2)
            self.process = self.spawn(*arguments, notify=at)
            deadline = time.monotonic() + START_TIMEOUT_S
            while time.monotonic() < deadline:
                with contextlib.suppress(TimeoutError):
                    return manager.recv(4096).decode().split("\n")
                if self.process.poll() is not None:
                    break
        raise RuntimeError(f"the daemon did not start: {self.kill()}")

    def signal(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; returns the exit status."""
        process = self.running
        process.send_signal(number)
        return self.wait()

    def wait(self, timeout_s: float = 30.0) -> int:
        """Wait for the end; returns the exit status."""
        process = self.running
        process.communicate(timeout=timeout_s)
        self.process = None
        return process.returncode

    def kill(self) -> str:
        """`kill -9`; returns what it wrote on stderr."""
        if self.process is None:
            return ""
        self.process.kill()
        _, said = self.process.communicate(timeout=30)
        self.process = None
        return said

    @property
    def running(self) -> subprocess.Popen[str]:
        """The process."""
        if self.process is None:
            raise RuntimeError("no daemon was started")
        return self.process

    def rss_bytes(self) -> int:
        """Memory that the daemon's process has resident."""
        pages = int(Path(f"/proc/{self.running.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def open_files(self) -> int:
        """Descriptors of the daemon's process."""
        return len(os.listdir(f"/proc/{self.running.pid}/fd"))  # noqa: PTH208 - counted only

    def connect(self, *, principal: str | None = None, timeout_s: float = 20.0) -> Client:
        """A client whose handshake succeeded."""
        client = Client(self.socket, timeout_s=timeout_s)
        answer = client.hello(self.token.read_text().strip(), principal=principal)
        if answer is None or answer["status"] != "ok":
            client.close()
            raise RuntimeError(f"the handshake failed: {answer}")
        return client

    def records(self, **query: str) -> list[Row]:
        """Entries of its audit log; the arguments are those of `Query`."""
        return [*entries(AuditPlaces(self.home / "var/audit"), Query(**query))]

    def connect_in_a_crowd(self, **more: Any) -> Client:
        """As `connect`, tried again where others were quicker."""
        for _ in range(50):
            with contextlib.suppress(RuntimeError, BrokenPipeError, ConnectionResetError):
                return self.connect(**more)
        raise RuntimeError("an honest client never got in")

    def log(self) -> list[dict[str, Any]]:
        """Lines of the daemon's log."""
        text = (self.home / "log/daemon.log").read_text()
        return [json.loads(line) for line in text.splitlines()]


@contextlib.contextmanager
def daemon_home(*, environ: Mapping[str, str] | None = None) -> Iterator[Daemon]:
    """A home of its own; what runs there at the end is killed."""
    with short_directory() as directory:
        daemon = Daemon(directory, environ=environ)
        try:
            yield daemon
        finally:
            daemon.kill()


class Client:
    """One connection.

    Args:
        path: The socket.
        timeout_s: Of every wait.
    """

    def __init__(self, path: Path, *, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._arrived = bytearray()
        self._requests = 0
        try:
            self.socket.connect(str(path))  # blocking: a full queue is waited for, not an error
            self.socket.settimeout(timeout_s)
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self.socket.close()

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def send_body(self, body: bytes) -> None:
        """Send a frame."""
        self.send_bytes(struct.pack(">I", len(body)) + body)

    def send(self, topic: str, payload: object, **more: object) -> None:
        """Send a message."""
        message = {"topic": topic, "payload": payload, "source_id": NIL_SOURCE, **more}
        self.send_body(json.dumps(message).encode())

    def read_exactly(self, count: int) -> bytes | None:
        """So many bytes; None when the connection ended before."""
        while len(self._arrived) < count:
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._arrived += data
        found = bytes(self._arrived[:count])
        del self._arrived[:count]
        return found

    def receive_body(self) -> bytes | None:
        """The next frame's body; None when the connection has ended."""
        prefix = self.read_exactly(4)
        return None if prefix is None else self.read_exactly(struct.unpack(">I", prefix)[0])

    def receive(self) -> dict[str, Any] | None:
        """The next message; None when the connection has ended."""
        body = self.receive_body()
        return None if body is None else json.loads(body)

    def hello(
        self, token: str, *, version: object = 1, principal: str | None = None
    ) -> dict[str, Any] | None:
        """Send the handshake; returns the answer, None when the connection was closed instead."""
        hello: dict[str, object] = {
            "token": token,
            "protocol_version": version,
            "client_version": "0.7.0",
        }
        if principal is not None:
            hello["principal"] = principal
        self.send_body(json.dumps(hello).encode())
        return self.receive()

    def ask(self, method: str, *, suffix: str = "x", **more: Any) -> dict[str, Any]:
        """Make a kernel request and return the payload of its answer; events are skipped.

        Args:
            method: Of the request.
            suffix: End of the topic.
            more: `params`, and fields of the message such as `principal`.
        """
        self._requests += 1
        request_id = f"r{self._requests}"
        payload = {
            "type": "raw_json",
            "method": method,
            "params": more.pop("params", None),
            "request_id": request_id,
        }
        self.send(f"astrid.v1.request.{suffix}", payload, **more)
        while True:
            message = self.receive()
            if message is None:
                raise ConnectionError(f"the connection ended before {method} was answered")
            if message["payload"].get("request_id") == request_id:
                if message["topic"] != f"astrid.v1.response.{suffix}":
                    raise RuntimeError(f"answered on {message['topic']}")
                answer: dict[str, Any] = message["payload"]
                return answer

    def call(self, name: str, arguments: object = None, **more: Any) -> dict[str, Any]:
        """Call a tool and return the payload of the answer."""
        params = {"name": name, "arguments": arguments or {}, **more.pop("params", {})}
        return self.ask("CallTool", suffix="call", params=params, **more)
