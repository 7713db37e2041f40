"""What a client may meet instead of a daemon: a socket whose other end does as a test says."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support.daemon import short_directory

TOKEN = "ab" * 32
OK = {"status": "ok", "protocol_version": 1, "server_version": "9"}
Serve = Callable[[socket.socket], None]


def frame(value: object) -> bytes:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return struct.pack(">I", len(body)) + body


def exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise ConnectionError("the client left")
        data += more
    return data


def read(sock: socket.socket) -> Any:
    return json.loads(exactly(sock, struct.unpack(">I", exactly(sock, 4))[0]))


def answer(request: Any, **fields: object) -> bytes:
    topic = request["topic"].replace(".request.", ".response.")
    payload = {"request_id": request["payload"]["request_id"], "status": "Success", **fields}
    return frame({"topic": topic, "payload": payload, "source_id": "x"})


@contextlib.contextmanager
def daemon(home: Path, *handlers: Serve) -> Iterator[list[Any]]:
    """Serves as many connections as there are handlers; gives the handshakes it saw."""
    hellos: list[Any] = []
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(home / "run/system.sock"))
    listener.listen()
    listener.settimeout(20)

    def serve() -> None:
        for handler in handlers:
            with contextlib.suppress(OSError), listener.accept()[0] as sock:
                sock.settimeout(20)
                hellos.append(read(sock))
                handler(sock)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield hellos
    finally:
        listener.close()
        thread.join(20)


def accepting(work: Serve) -> Serve:
    def serve(sock: socket.socket) -> None:
        sock.sendall(frame(OK))
        work(sock)

    return serve


def until_gone(sock: socket.socket) -> None:
    while sock.recv(1 << 16):
        pass


@contextlib.contextmanager
def home_with_token() -> Iterator[Path]:
    """A home as a daemon leaves it while it runs, without a socket."""
    with short_directory() as directory:
        run = directory / "run"
        run.mkdir(mode=0o700)
        (run / "system.token").write_text(TOKEN)
        (run / "system.token").chmod(0o600)
        yield directory
