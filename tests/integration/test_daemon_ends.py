"""A daemon in this process: when it ends by itself, and what it waits for when it does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from astrid_core import Kernel
from astrid_core.daemon import daemon as daemon_module
from astrid_core.daemon.daemon import Daemon
from astrid_core.daemon.idle import IdlePolicy
from astrid_core.daemon.run_files import RunFiles
from astrid_hookspecs.values import NIL_SOURCE
from tests.support.capsules import answering, eventually, install, manifest, write_capsule
from tests.support.daemon import Client, install_tools, short_directory

QUICK = IdlePolicy(grace_s=0.0, period_s=0.005, timeout_s=0.02)
NEVER = IdlePolicy(grace_s=0.0, period_s=0.005, timeout_s=None)
UPLINK = '[[uplink]]\nname = "chat"\nplatform = "chat"\nprofile = "chat"\n'


class World:
    """A kernel, a daemon that serves it, and how it ended."""

    def __init__(self, kernel: Kernel, directory: Path, policy: IdlePolicy) -> None:
        self.kernel = kernel
        self.directory = directory
        self.files = RunFiles(directory / "h/run")
        self.daemon = Daemon(
            kernel, self.files, version="1", session=NIL_SOURCE, ephemeral=True, workspace=None
        )
        self.ended = asyncio.create_task(self.daemon.run(policy))

    async def client(self) -> Client:
        await eventually(self.files.ready.exists)
        return await asyncio.to_thread(self._connect)

    def _connect(self) -> Client:
        client = Client(self.files.socket)
        answer = client.hello(self.files.token.read_text())
        assert answer is not None
        assert answer["status"] == "ok"
        return client


@pytest.fixture
def run() -> Iterator[Callable[..., str]]:
    with short_directory() as directory:

        def runner(
            work: Callable[[World], Awaitable[None]],
            policy: IdlePolicy,
            *,
            before: Callable[[Kernel], Awaitable[object]] | None = None,
        ) -> str:
            async def main() -> str:
                async with Kernel.open(home=directory / "h") as kernel:
                    if before is not None:
                        await before(kernel)
                    world = World(kernel, directory, policy)
                    try:
                        await work(world)
                    finally:
                        reason = await asyncio.wait_for(world.ended, 20)
                    assert not world.files.ready.exists()
                    assert not world.files.socket.exists()
                    return reason

            return asyncio.run(main())

        yield runner


def test_who_is_used_by_nobody_ends(run: Callable[..., str]) -> None:
    async def nothing(_world: World) -> None:
        pass

    assert run(nothing, QUICK) == "idle_timeout"


def test_a_client_keeps_it_alive_until_it_leaves(run: Callable[..., str]) -> None:
    async def work(world: World) -> None:
        with await world.client() as client:
            await asyncio.sleep(5 * (QUICK.timeout_s or 0))
            answer = await asyncio.to_thread(client.ask, "ListCapsules")
            assert answer["status"] == "Success"
            assert not world.ended.done()

    slower = QUICK._replace(timeout_s=0.2)  # the client has to get in before
    assert run(work, slower) == "idle_timeout"


def test_a_capsule_that_brings_users_keeps_it_alive(
    run: Callable[..., str], tmp_path: Path
) -> None:
    async def before(kernel: Kernel) -> None:
        source = write_capsule(
            tmp_path / "chat", answering("continue"), manifest("chat", body=UPLINK)
        )
        await install(kernel, source)

    async def work(world: World) -> None:
        await asyncio.sleep(5 * (QUICK.timeout_s or 0))
        assert not world.ended.done()
        world.daemon.stop("signal")

    assert run(work, QUICK, before=before) == "signal"


def test_without_a_limit_it_does_not_end_by_itself(run: Callable[..., str]) -> None:
    async def work(world: World) -> None:
        await asyncio.sleep(0.1)
        assert not world.ended.done()
        world.daemon.stop("first")
        world.daemon.stop("second")

    assert run(work, NEVER) == "first"


def test_a_call_that_does_not_end_holds_it_up_no_longer_than_that(
    run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon_module, "DRAIN_S", 0.05)

    async def work(world: World) -> None:
        with await world.client() as client:
            client.send(
                "astrid.v1.request.x",
                {"type": "raw_json", "method": "CallTool", "params": {"name": "spin"}},
            )
            spinner = next(c for c in world.kernel.capsules() if c.id == "spinner")
            await eventually(lambda: spinner.stats()["active"] == 1)
            world.daemon.stop("signal")
            assert await asyncio.to_thread(client.receive) is None
            await eventually(lambda: spinner.stats()["active"] == 0)  # stopped, not left

    assert run(work, NEVER, before=install_tools) == "signal"
