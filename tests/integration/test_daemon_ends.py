"""When a daemon ends by itself, and what it waits for when it does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from astrid_core import Kernel
from astrid_core.daemon import daemon as daemon_module
from astrid_core.daemon.idle import IdlePolicy
from tests.support.capsules import answering, eventually, install, manifest, write_capsule
from tests.support.daemon import install_tools, short_directory
from tests.support.daemon_here import serving

QUICK = IdlePolicy(grace_s=0.0, period_s=0.005, timeout_s=0.02)
LONGER_S = 0.1
SERVES = '[capabilities]\nnet_bind = ["*"]\n'
UPLINK = '[[uplink]]\nname = "chat"\nplatform = "chat"\nprofile = "chat"\n'


@pytest.fixture
def home() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory / "h"


def test_who_is_used_by_nobody_ends_and_leaves_nothing(home: Path) -> None:
    async def main() -> None:
        async with serving(home, policy=QUICK) as here:
            assert await asyncio.wait_for(here.ended, 20) == "idle_timeout"
        assert [path.name for path in (home / "run").iterdir()] == ["system.lock"]

    asyncio.run(main())


@pytest.mark.slow
def test_a_client_keeps_it_alive_until_it_leaves(home: Path) -> None:
    async def main() -> None:
        slower = QUICK._replace(timeout_s=0.5)  # the client has to get in before
        async with serving(home, policy=slower) as here:
            with await here.client() as client:
                await asyncio.sleep(2 * (slower.timeout_s or 0))
                answer = await asyncio.to_thread(client.ask, "ListCapsules")
                assert answer["status"] == "Success"
                assert not here.ended.done()
            assert await asyncio.wait_for(here.ended, 20) == "idle_timeout"

    asyncio.run(main())


@pytest.mark.parametrize("body", [UPLINK, SERVES], ids=["front end", "local socket"])
def test_a_capsule_that_brings_users_keeps_it_alive(home: Path, tmp_path: Path, body: str) -> None:
    async def before(kernel: Kernel) -> None:
        source = write_capsule(
            tmp_path / "chat", answering("continue"), manifest("chat", body=body)
        )
        await install(kernel, source)

    async def main() -> None:
        async with serving(home, policy=QUICK, before=before) as here:
            await asyncio.sleep(LONGER_S)
            assert not here.ended.done()

    asyncio.run(main())


def test_without_a_limit_it_does_not_end_by_itself(home: Path) -> None:
    async def main() -> None:
        async with serving(home, policy=QUICK._replace(timeout_s=None)) as here:
            await asyncio.sleep(LONGER_S)
            assert not here.ended.done()
            here.daemon.stop("first")
            here.daemon.stop("second")
            assert await asyncio.wait_for(here.ended, 20) == "first"

    asyncio.run(main())


def test_a_call_that_does_not_end_holds_it_up_no_longer_than_that(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon_module, "DRAIN_S", 0.05)

    async def main() -> None:
        async with serving(home, before=install_tools) as here:
            with await here.client() as client:
                client.send(
                    "astrid.v1.request.x",
                    {"type": "raw_json", "method": "CallTool", "params": {"name": "spin"}},
                )
                spinner = next(c for c in here.kernel.capsules() if c.id == "spinner")
                await eventually(lambda: spinner.stats()["active"] == 1)
                here.daemon.stop("signal")
                assert await asyncio.to_thread(client.receive) is None
                await eventually(lambda: spinner.stats()["active"] == 0)  # stopped, not left

    asyncio.run(main())
