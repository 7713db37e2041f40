"""A real server on loopback that answers as a test wants it to, byte by byte if need be."""

from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

Answer = Callable[["Exchange"], None]
MAX_WAIT_S = 20.0


class Seen(NamedTuple):
    """A request that arrived."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


class Exchange:
    """One connection, for whoever answers it."""

    def __init__(self, sock: socket.socket, server: WebServer, seen: Seen) -> None:
        self.sock = sock
        self.server = server
        self.seen = seen

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def answer(
        self, body: bytes = b"", *, status: int = 200, headers: tuple[str, ...] = ()
    ) -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def redirect(self, location: str, status: int = 302) -> None:
        self.answer(status=status, headers=(f"Location: {location}",))

    def chunk(self, data: bytes) -> None:
        self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def wait_for_the_end(self) -> None:
        """Say nothing until the client or the test goes away."""
        with contextlib.suppress(OSError):
            self.sock.settimeout(MAX_WAIT_S)
            while not self.server.is_over and self.sock.recv(65536):
                pass


class WebServer:
    """Answers on loopback; every connection has a thread."""

    def __init__(
        self,
        routes: dict[str, Answer],
        *,
        tls: ssl.SSLContext | None = None,
        address: str = "127.0.0.1",
        port: int = 0,
        speaks_first: bytes = b"",
    ) -> None:
        self.routes = routes
        self.seen: list[Seen] = []
        self.connections = 0
        self.is_over = False
        self._tls = tls
        self._speaks_first = speaks_first
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, port), family=family, backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.is_over = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in tuple(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        self._open.add(sock)
        try:
            if self._speaks_first:
                sock.sendall(self._speaks_first)
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
            seen = _read(sock)
            self.seen.append(seen)
            answer = self.routes.get(seen.path.partition("?")[0], _missing)
            answer(Exchange(sock, self, seen))
        except (OSError, ValueError):
            pass
        finally:
            self._open.discard(sock)
            sock.close()


def _missing(exchange: Exchange) -> None:
    exchange.answer(b"nothing here", status=404)


def _read(sock: socket.socket) -> Seen:
    sock.settimeout(MAX_WAIT_S)
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            raise ValueError("no request")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    seen = Seen(method, path, headers, b"")
    if seen.values("transfer-encoding"):
        return seen._replace(body=_dechunk(sock, body))
    wanted = int((seen.values("content-length") or ["0"])[0])
    while len(body) < wanted:
        body += sock.recv(65536)
    return seen._replace(body=body)


def _dechunk(sock: socket.socket, data: bytes) -> bytes:
    body = b""
    while True:
        while b"\r\n" not in data:
            data += sock.recv(65536)
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        while len(data) < length + 2:
            data += sock.recv(65536)
        body, data = body + data[:length], data[length + 2 :]
        if not length:
            return body


def drip(exchange: Exchange, *, pause_s: float = 0.02) -> None:
    """A body that never ends and never rests for long."""
    exchange.send(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n")
    end = time.monotonic() + MAX_WAIT_S
    while not exchange.server.is_over and time.monotonic() < end:
        exchange.chunk(b"x")
        time.sleep(pause_s)


def endless(exchange: Exchange) -> None:
    """As much as the client takes."""
    exchange.send(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n")
    piece = b"x" * 65536
    while not exchange.server.is_over:
        exchange.chunk(piece)


def zipped(data: bytes) -> bytes:
    return gzip.compress(data, compresslevel=9, mtime=0)


@contextmanager
def serving(
    routes: dict[str, Answer], *, tls: ssl.SSLContext | None = None, speaks_first: bytes = b""
) -> Iterator[WebServer]:
    """A server for the time of a test."""
    server = WebServer(routes, tls=tls, speaks_first=speaks_first)
    try:
        yield server
    finally:
        server.close()
