"""Accepts clients on the local socket, within bounds.

Trusted with the bounds that keep one client from shutting out another: how many may be
authenticated, for one principal and together; how many may be between connecting and their token,
and for how long; how much all of them may have sent of frames that are not complete. A connection
of another user is closed without a byte. Runs on the event loop.
Spec: kernel-and-security 3.2, 16 D-11, D-74.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from typing import Final

from loguru import logger

from astrid_core.daemon.connection import Connection
from astrid_core.daemon.turns import Turns
from astrid_core.kernel.entrance import ACCEPT_PAUSE_S, Entrance
from astrid_core.kernel.peer import own_uid, peer_uid
from astrid_hookspecs.errors import QuotaExceededError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, Principal

MAX_CONNECTIONS: Final = 256
MAX_OF_ONE: Final = 64
"""Connections for one principal, except the owner's own: nobody shuts the owner out."""
MAX_HELD_BYTES: Final = 64 * 1024 * 1024
"""What all clients together may have sent without it being acted on yet."""
_LONG_BYTES: Final = 1024 * 1024

Handler = Callable[[Connection, bytes], None]


class SocketServer(Entrance[Connection]):
    """Implements the connections' `Host`.

    Args:
        listener: Listening and non-blocking; owned.
        token: What clients must know, 32 bytes.
        version: Told to clients.
        handler: Acts on the frames of authenticated clients.
        left: Told of a principal whose last connection has ended.
        meet: Told of a principal that somebody connects for; raises `QuotaExceededError` if it is
            one too many.
        uid_of: Who is at the other end.
    """

    def __init__(
        self,
        listener: socket.socket,
        *,
        token: bytes,
        version: str,
        handler: Handler,
        left: Callable[[Principal], None] = lambda _principal: None,
        meet: Callable[[Principal], None] = lambda _principal: None,
        uid_of: Callable[[socket.socket], int | None] = peer_uid,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        super().__init__(listener, now=self._loop.time)
        self.token = token
        self.version = version
        self.turns = Turns(self._loop)
        self._handler = handler
        self._left = left
        self._meet = meet
        self._uid_of = uid_of
        self._open: set[Connection] = set()
        self._setting_up: set[asyncio.Task[object]] = set()
        self._resuming: asyncio.TimerHandle | None = None
        self._is_closed = False

    def start(self) -> None:
        """Begin to accept."""
        self._loop.add_reader(self.listener.fileno(), self.accept)

    def connected(self) -> Counter[Principal]:
        """How many authenticated connections each principal has."""
        return Counter(connection.principal for connection in self._open)

    def clients(self) -> list[dict[str, object]]:
        """The authenticated connections, for the status."""
        return [connection.describe() for connection in self._open]

    def is_quiet(self) -> bool:
        """Whether every request was answered and every answer has left."""
        return not any(c.busy or c.unsent_bytes for c in self._open)

    def stop_accepting(self) -> None:
        """Let nobody new in."""
        if not self._is_closed:
            self._is_closed = True
            if self._resuming is not None:
                self._resuming.cancel()
            self._loop.remove_reader(self.listener.fileno())
            self.listener.close()

    def stop_listening(self) -> None:
        """Begin nothing new for those who are connected."""
        for connection in [*self.half_open, *self._open]:
            connection.listen_no_more()

    async def close(self) -> None:
        """Stop accepting and end every connection."""
        self.stop_accepting()
        for connection in [*self.half_open, *self._open]:
            connection.drop("the daemon stops")
        if self._setting_up:
            await asyncio.wait(self._setting_up)

    def admit(self, connection: Connection, principal: Principal) -> str:
        """As `Host.admit`."""
        self.half_open.pop(connection, None)
        if len(self._open) >= MAX_CONNECTIONS:
            return "too many connections"
        if principal != DEFAULT_PRINCIPAL and self.connected()[principal] >= MAX_OF_ONE:
            return f"too many connections for {principal!r}"
        try:
            self._meet(principal)
        except QuotaExceededError as error:
            return error.message
        self._open.add(connection)
        return ""

    def handle(self, connection: Connection, body: bytes) -> None:
        """As `Host.handle`."""
        self._handler(connection, body)

    def closed(self, connection: Connection) -> None:
        """As `Host.closed`."""
        self.half_open.pop(connection, None)
        if connection in self._open:
            self._open.discard(connection)
            if not self.connected()[connection.principal]:
                self._left(connection.principal)

    def holding(self, connection: Connection) -> None:
        """As `Host.holding`. Who holds most gives way to the others."""
        if connection.held_bytes < _LONG_BYTES:
            return
        held = {other: other.held_bytes for other in self._open}
        if sum(held.values()) > MAX_HELD_BYTES:
            max(held, key=held.__getitem__).drop("too much was sent without the rest of its frame")

    def take(self, sock: socket.socket) -> None:
        """As `Entrance.take`."""
        if self._uid_of(sock) != own_uid():
            logger.warning("a connection of another user was closed")
            sock.close()
            return
        sock.setblocking(False)
        try:
            connection = Connection(self, sock, self._loop)
        except OSError:  # no descriptor is left for its duplicate
            sock.close()
            self.pause(ACCEPT_PAUSE_S)
            return
        self.came(connection)
        task: asyncio.Task[object] = self._loop.create_task(self._set_up(connection, sock))
        self._setting_up.add(task)
        task.add_done_callback(self._setting_up.discard)

    def send_away(self, client: Connection) -> None:
        """As `Entrance.send_away`."""
        client.drop("no handshake while others waited")

    async def _set_up(self, connection: Connection, sock: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: connection, sock)
        except OSError as error:
            sock.close()
            connection.drop(f"broken: {error}")

    def pause(self, seconds: float) -> None:
        """As `Entrance.pause`."""
        if self._resuming is None and not self._is_closed:
            self._loop.remove_reader(self.listener.fileno())
            self._resuming = self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        self._resuming = None
        self.start()
