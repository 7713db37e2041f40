"""Lets clients in at the local socket of a capsule: by user, by token, in time.

Trusted with how long a client may take between connecting and the token, in all. Handshakes go on
side by side, so that nobody waits for one who says nothing. Who is let in is the gate's decision; a
client of another user is closed without a byte.
Spec: kernel-and-security 3.2, 3.4, 16 D-11; host-abi 12.2.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable
from typing import Final, Protocol

from astrid_core.domain.framing import MAX_HANDSHAKE_BYTES, FrameReader, encode_frame
from astrid_core.domain.handshake import Hello, Verdict, parse_hello, reply
from astrid_core.domain.version import VERSION
from astrid_core.kernel.entrance import Entrance
from astrid_core.kernel.peer import peer_uid
from astrid_core.kernel.reactor import Reactor
from astrid_hookspecs.errors import DeniedError, RemoteProtocolError
from astrid_hookspecs.values import Principal

HANDSHAKE_S: Final = 5.0
"""From being accepted to the last byte of the handshake."""
UidOf = Callable[[socket.socket], int | None]


class House(Protocol):
    """Whose clients are received, and who decides about them. Called on the reactor's thread."""

    def check_peer(self, uid: int | None) -> None:
        """May a process of this user talk to the capsule?

        Raises:
            DeniedError: It may not, or the system does not tell whose it is.
        """
        ...

    def check_hello(self, hello: Hello) -> Verdict:
        """May who said this come in?"""
        ...

    def report_silence(self) -> None:
        """Somebody said no handshake, or none in time."""
        ...

    def take_in(self, sock: socket.socket, principal: Principal) -> None:
        """Here is a client, who knows that it was let in; the socket is the house's now."""
        ...


class _Stranger:
    """Who is between connecting and the token.

    Args:
        sock: Connected and not blocking.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._reader = FrameReader(limit=MAX_HANDSHAKE_BYTES)

    def hello(self) -> Hello | None:
        """What it says, once it is complete; what follows is left for the capsule.

        Raises:
            OSError: It has gone.
            RemoteProtocolError: That is no handshake.
        """
        body: bytes | None = None
        with contextlib.suppress(BlockingIOError):
            while body is None:
                data = self.sock.recv(self._reader.missing)
                if not data:
                    raise ConnectionResetError
                self._reader.feed(data)
                body = self._reader.next_frame()
        return None if body is None else parse_hello(body)


class Reception(Entrance[_Stranger]):
    """Receives clients at one socket. On the reactor's thread only, except for making it.

    Args:
        listener: Listening and not blocking; owned.
        house: Whose clients they are.
        reactor: Serves the sockets.
        uid_of: Who is at the other end.
    """

    def __init__(
        self,
        listener: socket.socket,
        house: House,
        *,
        reactor: Reactor,
        uid_of: UidOf = peer_uid,
    ) -> None:
        super().__init__(listener, now=time.monotonic)
        self._house = house
        self._reactor = reactor
        self._uid_of = uid_of
        self._is_closed = False

    def open(self) -> None:
        """Receive, until `close`."""
        if not self._is_closed:
            self._reactor.watch(self.listener.fileno(), selectors.EVENT_READ, self.accept)

    def close(self) -> None:
        """Let nobody in any more, and send away who has not said the token yet."""
        if self._is_closed:
            return
        self._is_closed = True
        self._reactor.watch(self.listener.fileno(), 0, self.accept)
        self.listener.close()
        for stranger in [*self.half_open]:
            self._part_with(stranger)

    def take(self, sock: socket.socket) -> None:
        """As `Entrance.take`."""
        try:
            self._house.check_peer(self._uid_of(sock))
            sock.setblocking(False)
            stranger = _Stranger(sock)
            self._reactor.watch(
                sock.fileno(), selectors.EVENT_READ, lambda: self._listen_to(stranger)
            )
        except (DeniedError, OSError):
            sock.close()
            return
        self.came(stranger)
        self._reactor.after(HANDSHAKE_S, lambda: self.send_away(stranger))

    def _listen_to(self, stranger: _Stranger) -> None:
        if stranger not in self.half_open:  # it was sent away in this very round
            return
        try:
            hello = stranger.hello()
        except OSError:  # it has gone, which is no attempt at anything
            self._part_with(stranger)
            return
        except RemoteProtocolError:
            self.send_away(stranger)
            return
        if hello is not None:
            self._answer(stranger, self._house.check_hello(hello))

    def _answer(self, stranger: _Stranger, verdict: Verdict) -> None:
        sock = self._let_go(stranger)
        frame = encode_frame(reply(verdict, server_version=VERSION))
        try:
            is_sent = sock.send(frame) == len(frame)
        except OSError:
            is_sent = False
        if is_sent and verdict.principal is not None:
            self._house.take_in(sock, verdict.principal)
        else:
            sock.close()

    def send_away(self, client: _Stranger) -> None:
        """As `Entrance.send_away`; who is half open no more stays."""
        if client in self.half_open:
            self._house.report_silence()
            self._part_with(client)

    def _part_with(self, stranger: _Stranger) -> None:
        self._let_go(stranger).close()

    def _let_go(self, stranger: _Stranger) -> socket.socket:
        del self.half_open[stranger]
        self._reactor.watch(stranger.sock.fileno(), 0, self.accept)
        return stranger.sock

    def pause(self, seconds: float) -> None:
        """As `Entrance.pause`."""
        self._reactor.watch(self.listener.fileno(), 0, self.accept)
        self._reactor.after(seconds, self.open)
