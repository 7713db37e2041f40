"""Accepting clients: who, how many, and for how long they may keep the server waiting."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from astrid_core.daemon import connection as connection_module
from astrid_core.daemon import server as server_module
from astrid_core.daemon.connection import Connection
from astrid_core.daemon.run_files import RunFiles
from astrid_core.daemon.server import SocketServer
from astrid_core.daemon.turns import TURN_S
from astrid_core.kernel import entrance
from astrid_hookspecs.errors import QuotaExceededError
from tests.support.daemon import Client, short_directory

TOKEN = bytes(range(32))
PATIENCE_S = 10.0


class World:
    """A server that echoes, on the running loop."""

    def __init__(self, path: Path, **more: Any) -> None:
        self.path = path
        self.frames: list[bytes] = []
        self.on_frame: Callable[[bytes], None] = lambda _body: None
        self.connections: list[Connection] = []
        listener = RunFiles(path.parent).bind()
        self.server = SocketServer(listener, token=TOKEN, version="1", handler=self._handle, **more)
        self.server.start()

    def _handle(self, connection: Connection, body: bytes) -> None:
        if connection not in self.connections:
            self.connections.append(connection)
        self.frames.append(body)
        self.on_frame(body)
        connection.send(body)

    async def client(self, *, hello: bool = True, principal: str | None = None) -> Client:
        return await asyncio.to_thread(self._connect, hello, principal)

    def _connect(self, hello: bool, principal: str | None) -> Client:
        client = Client(self.path, timeout_s=PATIENCE_S)
        if hello:
            answer = client.hello(TOKEN.hex(), principal=principal)
            assert answer is not None
            assert answer["status"] == "ok"
        return client

    async def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(int(PATIENCE_S / 0.002)):
            if condition():
                return
            await asyncio.sleep(0.002)
        pytest.fail("it never happened")


@pytest.fixture
def run() -> Iterator[Callable[..., None]]:
    with short_directory() as directory:

        def runner(work: Callable[[World], Awaitable[None]], **more: Any) -> None:
            async def main() -> None:
                world = World(directory / "system.sock", **more)
                try:
                    await work(world)
                finally:
                    await world.server.close()

            asyncio.run(main())

        yield runner


async def is_closed(client: Client) -> bool:
    with client:
        return await asyncio.to_thread(client.receive_body) is None


def test_22_another_user_is_sent_away_without_a_byte(run: Callable[..., None]) -> None:
    async def work(world: World) -> None:
        client = await world.client(hello=False)
        assert await is_closed(client)
        assert world.server.clients() == []

    run(work, uid_of=lambda _sock: os.geteuid() + 1)


def test_a_principal_too_many_is_sent_away_and_told_why(run: Callable[..., None]) -> None:
    def meet(principal: str) -> None:
        if principal == "alice":
            raise QuotaExceededError("too many names", rule="client.principals")

    async def work(world: World) -> None:
        client = await world.client(hello=False)
        answer = await asyncio.to_thread(client.hello, TOKEN.hex(), principal="alice")
        assert answer is not None
        assert (answer["status"], answer["reason"]) == ("error", "too many names")
        assert await is_closed(client)
        with await world.client(principal="bob"):
            assert [row["principal"] for row in world.server.clients()] == ["bob"]

    run(work, meet=meet)


def test_a_peer_that_the_system_does_not_know_is_sent_away(run: Callable[..., None]) -> None:
    async def work(world: World) -> None:
        assert await is_closed(await world.client(hello=False))

    run(work, uid_of=lambda _sock: None)


@pytest.mark.parametrize("sent", [b"", b"\x00\x00\x00\x50", b"\x00\x00\x00\x50{"])
def test_20_who_says_nothing_is_sent_away_in_time(
    run: Callable[..., None], monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connection_module, "HANDSHAKE_TIMEOUT_S", 0.05)

    async def work(world: World) -> None:
        client = await world.client(hello=False)
        client.send_bytes(sent)
        assert await is_closed(client)
        with await world.client() as other:
            other.send_body(b"still here")
            assert await asyncio.to_thread(other.receive_body) == b"still here"

    run(work)


@pytest.mark.parametrize("frames", [1, 10])
@pytest.mark.slow
def test_one_principal_with_many_connections_has_one_turn_in_two(
    run: Callable[..., None], frames: int
) -> None:
    """Each of its frames takes the loop as long as the longest turn."""

    async def work(world: World) -> None:
        crowd = [await world.client(principal="alice") for _ in range(12)]
        bob = await world.client(principal="bob")
        world.on_frame = lambda body: time.sleep(TURN_S if body == b"a" else 0)
        with contextlib.ExitStack() as stack:
            for client in (*crowd, bob):
                stack.enter_context(client)
            for _ in range(frames):  # nobody is served before all of it is there
                for client in crowd:
                    client.send_body(b"a")
            bob.send_body(b"b")
            await world.until(lambda: b"b" in world.frames)
            # What was in front of it when it was seen: at once, and at most one of a line.
            assert world.frames.index(b"b") <= 3
            await world.until(lambda: len(world.frames) == 12 * frames + 1)

    run(work)


def test_the_time_for_the_handshake_is_the_documented_one() -> None:
    assert connection_module.HANDSHAKE_TIMEOUT_S == 5.0
    assert connection_module.BODY_TIMEOUT_S == 5.0


@pytest.mark.parametrize("sent", [b"\x00", b"\x00\x00\x10\x00", b"\x00\x00\x10\x00abc"])
def test_a_frame_that_never_ends_ends_the_connection(
    run: Callable[..., None], monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connection_module, "BODY_TIMEOUT_S", 0.05)

    async def work(world: World) -> None:
        with await world.client() as idle:  # saying nothing at all is fine
            client = await world.client()
            client.send_body(b"whole")
            client.send_bytes(sent)
            assert await asyncio.to_thread(client.receive_body) == b"whole"
            assert await is_closed(client)
            idle.send_body(b"later")
            assert await asyncio.to_thread(idle.receive_body) == b"later"

    run(work)


def test_a_long_frame_has_longer(run: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "BODY_TIMEOUT_S", 0.02)
    monkeypatch.setattr(connection_module, "BODY_BYTES_PER_S", 1024)

    async def work(world: World) -> None:
        with await world.client() as client:
            client.send_bytes(struct.pack(">I", 8 * 1024))  # that is eight seconds
            await asyncio.sleep(0.1)
            client.send_bytes(b"x" * 8 * 1024)
            assert await asyncio.to_thread(client.receive_body) == b"x" * 8 * 1024

    run(work)


def test_silent_ones_give_way_when_others_wait(
    run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entrance, "MAX_HALF_OPEN", 4)
    monkeypatch.setattr(entrance, "CROWDED_GRACE_S", 0.01)

    async def work(world: World) -> None:
        silent = [await world.client(hello=False) for _ in range(12)]
        with await world.client() as client:
            client.send_body(b"in")
            assert await asyncio.to_thread(client.receive_body) == b"in"
        for one in silent[:4]:
            assert await is_closed(one)
        for one in silent[4:]:
            one.close()

    run(work)


def test_silent_ones_are_left_alone_as_long_as_there_is_room(
    run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "HANDSHAKE_TIMEOUT_S", 60.0)  # room, not time, counts

    async def work(world: World) -> None:
        with contextlib.ExitStack() as stack:
            silent = [
                stack.enter_context(await world.client(hello=False))
                for _ in range(entrance.MAX_HALF_OPEN - 1)
            ]
            with await world.client():
                pass
            for one in silent:  # each still gets in
                answer = await asyncio.to_thread(one.hello, TOKEN.hex())
                assert answer is not None
                assert answer["status"] == "ok"

    run(work)


def test_a_refusing_system_is_asked_again_later(
    run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entrance, "ACCEPT_PAUSE_S", 0.01)

    class Refusing:
        """A listener whose system has no descriptors left, three times."""

        def __init__(self, listener: socket.socket) -> None:
            self._listener = listener
            self.refused = 0

        def accept(self) -> Any:
            if self.refused < 3:
                self.refused += 1
                raise OSError(errno.EMFILE, "too many open files")
            return self._listener.accept()

        def __getattr__(self, name: str) -> Any:
            return getattr(self._listener, name)

    async def work(world: World) -> None:
        refusing = Refusing(world.server.listener)
        world.server.listener = refusing  # type: ignore[assignment]
        with await world.client():
            assert refusing.refused == 3

    run(work)


def test_who_holds_most_gives_way(
    run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MAX_HELD_BYTES", 6 * 1024 * 1024)

    async def work(world: World) -> None:
        with contextlib.ExitStack() as stack:
            small = [stack.enter_context(await world.client()) for _ in range(2)]
            for client in small:
                half = struct.pack(">I", 2 * 1024 * 1024) + b"s" * 1024 * 1024
                await asyncio.to_thread(client.send_bytes, half)
            large = await world.client()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                await asyncio.to_thread(
                    large.send_bytes, struct.pack(">I", 9 * 1024 * 1024) + b"l" * 8 * 1024 * 1024
                )
            assert await is_closed(large)
            for client in small:
                await asyncio.to_thread(client.send_bytes, b"s" * 1024 * 1024)
                body = await asyncio.to_thread(client.receive_body)
                assert body == b"s" * 2 * 1024 * 1024

    run(work)


def test_frames_of_one_client_let_others_have_their_turn(run: Callable[..., None]) -> None:
    async def work(world: World) -> None:
        with await world.client() as busy, await world.client() as other:
            busy.send_body(b"first")
            other.send_body(b"first")
            await world.until(lambda: len(world.connections) == 2)
            mine, others = world.connections
            world.frames.clear()
            # Both arrive before anything is acted on.
            mine.data_received(b"".join(struct.pack(">I", 1) + b"m" for _ in range(200)))
            others.data_received(struct.pack(">I", 1) + b"o")
            assert world.frames.index(b"o") == connection_module.FRAMES_A_TURN
            await world.until(lambda: len(world.frames) == 201)

    run(work)


def test_nothing_is_read_while_too_much_is_under_way(
    run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "MAX_BUSY", 3)

    async def work(world: World) -> None:
        with await world.client() as client:
            client.send_body(b"first")
            await world.until(lambda: len(world.frames) == 1)
            (connection,) = world.connections
            for _ in range(3):
                connection.begin()
            client.send_body(b"second")
            assert await asyncio.to_thread(client.receive_body) == b"first"
            await asyncio.sleep(0.02)
            assert world.frames == [b"first"]
            await asyncio.to_thread(connection.done)  # requests end on other threads
            await world.until(lambda: len(world.frames) == 2)

    run(work)


def test_what_is_registered_for_the_end_happens_once(run: Callable[..., None]) -> None:
    async def work(world: World) -> None:
        done: list[str] = []
        client = await world.client()
        client.send_body(b"x")
        await world.until(lambda: bool(world.connections))
        (connection,) = world.connections
        for name in ("kept", "taken"):
            connection.at_end(name, lambda name=name: done.append(name))  # type: ignore[misc]
        assert connection.at_end_count(str) == 2
        assert connection.take_back("taken") is not None
        assert connection.take_back("taken") is None
        client.close()
        await world.until(lambda: not connection.is_open)
        assert done == ["kept"]
        connection.at_end("late", lambda: done.append("late"))
        assert done == ["kept", "late"]
        assert not connection.send(b"too late")

    run(work)


def test_an_answer_that_is_too_long_ends_the_connection(run: Callable[..., None]) -> None:
    async def work(world: World) -> None:
        client = await world.client()
        client.send_body(b"x")
        assert await asyncio.to_thread(client.receive_body) == b"x"
        (connection,) = world.connections
        assert not await asyncio.to_thread(connection.send, bytes(50 * 1024 * 1024 + 1))
        assert await is_closed(client)

    run(work)


def test_who_is_told_to_listen_no_more_acts_on_nothing(run: Callable[..., None]) -> None:
    async def work(world: World) -> None:
        with await world.client() as client:
            client.send_body(b"x")
            await world.until(lambda: bool(world.connections))
            world.server.stop_accepting()
            world.server.stop_listening()
            client.send_body(b"y")
            await asyncio.sleep(0.02)
            assert world.frames == [b"x"]
            assert world.server.is_quiet()
            with pytest.raises(ConnectionRefusedError):
                Client(world.path)

    run(work)
