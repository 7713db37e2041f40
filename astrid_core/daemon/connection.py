"""One client: its handshake, its frames, its time limits, its end.

Trusted with order: nothing of a client is looked at before its token was right, and whatever is not
a frame ends the connection. What a frame means is decided by the router. Runs on the event loop.
Spec: kernel-and-security 3.3, 3.4, 16 D-11, D-12, D-86.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import uuid
from collections.abc import Callable
from typing import Final, Protocol, cast

from loguru import logger

from astrid_core.daemon.outbox import Outbox
from astrid_core.daemon.turns import TURN_S, Turns
from astrid_core.domain.framing import (
    MAX_FRAME_BYTES,
    MAX_HANDSHAKE_BYTES,
    FrameReader,
    encode_frame,
)
from astrid_core.domain.handshake import (
    MAX_CLIENT_VERSION,
    Verdict,
    check_hello,
    parse_hello,
    reply,
)
from astrid_core.domain.kernel_request import lag_frame
from astrid_core.kernel.peer import peer_pid
from astrid_hookspecs.errors import LocalProtocolError, RemoteProtocolError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, Principal

HANDSHAKE_TIMEOUT_S: Final = 5.0
BODY_TIMEOUT_S: Final = 5.0
BODY_BYTES_PER_S: Final = 1024 * 1000
"""Slowest client whose long frames still arrive in time."""
MAX_BUSY: Final = 128
"""Requests of one connection that may be under way; more are not read until some are answered."""
HIGH_WATER_BYTES: Final = 256 * 1024
"""From so many unsent bytes on, nothing more is read."""
EVENT_BYTES: Final = 1024 * 1024
"""From so many unsent bytes on, events are lost to this client, and counted; answers are not."""
LOOK_S: Final = 0.5
"""How often it is looked whether a client is still there that is not read."""
FRAMES_A_TURN: Final = 32
"""Frames of one connection that are acted on before the others have their turn."""


class Host(Protocol):
    """What a connection needs of the server it belongs to."""

    token: bytes
    version: str
    turns: Turns

    def admit(self, connection: Connection, principal: Principal) -> str:
        """Count an authenticated client; returns why it cannot stay, empty when it can."""
        ...

    def handle(self, connection: Connection, body: bytes) -> None:
        """Act on a frame.

        Raises:
            RemoteProtocolError: It is garbage; the connection is closed.
        """
        ...

    def closed(self, connection: Connection) -> None:
        """Forget a client."""
        ...

    def holding(self, connection: Connection) -> None:
        """Hear that a client sent something that is kept for now."""
        ...


class Connection(asyncio.Protocol):
    """A connection, from accepting it to its end.

    Args:
        host: The server.
        sock: Accepted, non-blocking; the transport reads it, a duplicate of it is written to.
        loop: The running one.

    Attributes:
        principal: For whom it acts; set by the handshake.
        source_id: UUID text under which its messages appear on the bus.
        is_open: Whether the handshake is done and the connection not closed.
    """

    def __init__(self, host: Host, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        self.principal: Principal = DEFAULT_PRINCIPAL
        self.source_id = str(uuid.uuid4())
        self.is_open = False
        self._host = host
        self._loop = loop
        self._since = loop.time()
        self._client_version = ""
        self._pid = peer_pid(sock)
        self._reader = FrameReader(limit=MAX_HANDSHAKE_BYTES)
        self._outbox = Outbox(
            sock.dup(),
            loop,
            overflow=lambda: self.drop("it does not read what it is sent"),
            drained=self._drained,
        )
        self._transport: asyncio.Transport | None = None
        self._is_closed = False
        self._is_paused = False
        self._is_pumping = False
        self._is_waiting = False
        self._is_deaf = False
        self._is_held = False
        self._lock = threading.Lock()
        self._busy = 0
        self._lost = 0
        self._lost_ever = 0
        self._at_end: dict[object, Callable[[], None]] = {}
        self._looking: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = loop.call_later(
            HANDSHAKE_TIMEOUT_S, self.drop, "no handshake in time"
        )

    def send(self, body: bytes) -> bool:
        """Send a frame; from any thread. False when it will not arrive.

        What is too long for a frame ends the connection: the client would wait for it for ever.
        """
        try:
            frame = encode_frame(body)
        except LocalProtocolError as error:
            logger.error("connection {} is closed: {}", self.source_id, error)
            with contextlib.suppress(RuntimeError):  # the loop is closed, and so is everything
                self._loop.call_soon_threadsafe(self.drop, error.message)
            return False
        return self._outbox.send(frame)

    def deliver(self, body: bytes) -> None:
        """Send an event, unless the client is behind; from any thread.

        What is lost is counted, and the client hears how much it was as soon as it has caught up.
        """
        if self._outbox.queued_bytes > EVENT_BYTES:
            with self._lock:
                self._lost += 1
                self._lost_ever += 1
        else:
            self.send(body)

    def describe(self) -> dict[str, object]:
        """Facts about the client, for the status."""
        return {
            "principal": self.principal,
            "pid": self._pid,
            "client_version": self._client_version,
            "connected_secs": int(self._loop.time() - self._since),
            "id": self.source_id,
            "events_lost": self._lost_ever,
        }

    @property
    def busy(self) -> int:
        """Requests that are under way."""
        return self._busy

    @property
    def unsent_bytes(self) -> int:
        """How much the client has still to take."""
        return self._outbox.queued_bytes

    @property
    def is_left(self) -> bool:
        """Whether nobody reads answers any more, though what was sent before may still be here."""
        return self._is_closed or self._outbox.is_broken

    @property
    def held_bytes(self) -> int:
        """How much of what arrived waits for the rest of its frame, or for its turn."""
        return self._reader.held_bytes

    def listen_no_more(self) -> None:
        """Act on nothing that arrives from now on; what is under way is answered. On the loop."""
        self._is_deaf = True
        self._stop_timer()
        if self._transport is not None and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self._look_later()

    def begin(self) -> None:
        """Count a request that is under way; on the loop."""
        with self._lock:
            self._busy += 1

    def hold(self) -> None:
        """Act on nothing more until `release`: what came before is still decided. On the loop."""
        self._is_held = True

    def release(self) -> None:
        """Go on; on the loop."""
        self._is_held = False
        self._pump()

    def done(self) -> None:
        """Count one that was answered; from any thread."""
        with self._lock:
            self._busy -= 1
        if self._is_paused:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads any more
                self._loop.call_soon_threadsafe(self._pump)

    def at_end(self, key: object, action: Callable[[], None]) -> None:
        """Do something when the connection ends, unless `take_back` comes first; on the loop."""
        if self._is_closed:
            action()
            return
        with self._lock:
            self._at_end[key] = action

    def at_end_count(self, kind: type) -> int:
        """How many keys of a type are registered."""
        with self._lock:
            return sum(isinstance(key, kind) for key in self._at_end)

    def take_back(self, key: object) -> Callable[[], None] | None:
        """Remove what `at_end` registered and return it; from any thread, once."""
        with self._lock:
            return self._at_end.pop(key, None)

    def drop(self, reason: str) -> None:
        """End the connection now."""
        if self._is_closed:
            return
        self._is_closed = True
        self.is_open = False
        logger.debug("connection {} closed: {}", self.source_id, reason)
        self._stop_timer()
        if self._looking is not None:
            self._looking.cancel()
        self._outbox.close()
        if self._transport is not None:
            self._transport.abort()
        self._host.closed(self)
        with self._lock:
            actions, self._at_end = list(self._at_end.values()), {}
        for action in actions:
            action()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast("asyncio.Transport", transport)
        if self._is_closed:  # while it was being set up
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self.drop("the client has gone" if exc is None else f"broken: {exc}")

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        self._reader.feed(data)
        self._host.holding(self)
        self._pump()

    def _pump(self) -> None:
        """Act on the frames that are here, when it is this connection's turn."""
        # A frame was answered at once: the turn in which it is acted on goes on.
        if self._is_pumping or self._is_waiting or self._is_closed:
            return
        if not self.is_open:
            self._turn()
        elif not self._host.turns.ask(self.principal, self._turn):
            self._is_waiting = True
            self._pause_or_resume(more=False)

    def _turn(self) -> None:
        """Act on frames, as far as the client keeps up and until others have waited enough."""
        self._is_waiting = False
        self._is_pumping = True
        left, until = FRAMES_A_TURN, self._loop.time() + TURN_S
        try:
            while left and self._may_read() and (body := self._reader.next_frame()) is not None:
                self._frame(body)
                left = left - 1 if self._loop.time() < until else 0
        except RemoteProtocolError as error:
            self.drop(error.message)
        except Exception:
            self.drop("a defect")
            raise
        finally:
            self._is_pumping = False
        if not self._is_closed and not self._is_deaf:
            self._pause_or_resume(more=not left)
            self._watch_partial()

    def _drained(self) -> None:
        with self._lock:
            lost, self._lost = self._lost, 0
        if lost:
            self.send(lag_frame(lost))
        self._pump()

    def _may_read(self) -> bool:
        return not self._is_closed and not self._is_deaf and not self._is_crowded()

    def _frame(self, body: bytes) -> None:
        if self.is_open:
            self._stop_timer()
            self._host.handle(self, body)
        else:
            self._greet(body)

    def _greet(self, body: bytes) -> None:
        hello = parse_hello(body)
        verdict = check_hello(hello, token=self._host.token)
        if verdict.principal is not None:
            refusal = self._host.admit(self, verdict.principal)
            if refusal:
                verdict = Verdict(None, refusal)
        self.send(reply(verdict, server_version=self._host.version))
        if verdict.principal is None:
            self.drop(verdict.reason)
            return
        self._stop_timer()
        self.principal = verdict.principal
        self.is_open = True
        self._reader.limit = MAX_FRAME_BYTES
        self._client_version = hello.client_version[:MAX_CLIENT_VERSION]
        logger.debug(
            "client {!a} for {} as {}", self._client_version, self.principal, self.source_id
        )

    def _is_crowded(self) -> bool:
        return (
            self._is_held
            or self._is_waiting
            or self._busy >= MAX_BUSY
            or self._outbox.queued_bytes > HIGH_WATER_BYTES
        )

    def _pause_or_resume(self, *, more: bool) -> None:
        """Read on, or do not while the client is behind or, with `more`, has had its turn."""
        if self._transport is None:
            return
        # Said before it is looked at: `done`, on another thread, looks in the other order.
        was_paused, self._is_paused = self._is_paused, True
        is_crowded = self._is_crowded()
        self._is_paused = is_crowded or more
        if more and not is_crowded:
            self._loop.call_soon(self._pump)
        if self._is_paused and not was_paused:
            self._stop_timer()  # it is not the client that is late
            self._transport.pause_reading()
        elif was_paused and not self._is_paused:
            self._transport.resume_reading()
        if self._is_paused:
            self._look_later()

    def _look_later(self) -> None:
        """Nothing is read, so nobody says when the client goes away."""
        if self._looking is None and not self._is_closed:
            self._looking = self._loop.call_later(LOOK_S, self._look)

    def _look(self) -> None:
        """End what a client has under way that went away; there is no other end to come for it."""
        self._looking = None
        if self._is_closed or not self._is_paused:
            return
        if (self._busy >= MAX_BUSY or self._is_deaf) and self._outbox.is_hung_up():
            self.drop("the client has gone")
        else:
            self._look_later()

    def _watch_partial(self) -> None:
        """Bound the time between the first byte of a frame and its last."""
        if not self.is_open or self._is_paused:
            return
        if not self._reader.is_partial:
            self._stop_timer()
        elif self._timer is None:
            self._timer = self._loop.call_later(BODY_TIMEOUT_S, self._late, self._loop.time())

    def _late(self, started: float) -> None:
        """A frame is not complete yet; a long one gets more time."""
        allowed = BODY_TIMEOUT_S + self._reader.announced / BODY_BYTES_PER_S
        left = started + allowed - self._loop.time()
        if left <= 0:
            self.drop("a frame did not arrive in time")
        else:
            self._timer = self._loop.call_later(left, self._late, started)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
