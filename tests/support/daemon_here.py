"""A daemon in the test's own process and on its loop, for what has to be looked at from inside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from astrid_core import Kernel
from astrid_core.daemon.daemon import Daemon
from astrid_core.daemon.idle import IdlePolicy
from astrid_core.daemon.run_files import RunFiles
from astrid_hookspecs.values import NIL_SOURCE
from tests.support.capsules import eventually
from tests.support.daemon import Client

NEVER: Final = IdlePolicy(grace_s=0.0, period_s=1.0, timeout_s=None)


class DaemonHere:
    """A kernel, the daemon that serves it, and how it ended.

    Attributes:
        ended: Gives the reason.
    """

    def __init__(self, kernel: Kernel, home: Path, policy: IdlePolicy) -> None:
        self.kernel = kernel
        self.files = RunFiles(home / "run")
        self.daemon = Daemon(
            kernel, self.files, version="1", session=NIL_SOURCE, ephemeral=True, workspace=None
        )
        self.ended = asyncio.create_task(self.daemon.run(policy))

    async def client(self, principal: str | None = None) -> Client:
        """A client whose handshake succeeded; its methods block, so call them from a thread."""
        await eventually(self.files.ready.exists)
        return await asyncio.to_thread(self._connect, principal)

    def _connect(self, principal: str | None) -> Client:
        client = Client(self.files.socket, timeout_s=10)
        answer = client.hello(self.files.token.read_text(), principal=principal)
        if answer is None or answer["status"] != "ok":
            client.close()
            raise RuntimeError(f"the handshake failed: {answer}")
        return client


@asynccontextmanager
async def serving(
    home: Path,
    *,
    policy: IdlePolicy = NEVER,
    plugins: Iterable[object] = (),
    before: Callable[[Kernel], Awaitable[object]] | None = None,
) -> AsyncIterator[DaemonHere]:
    """Serve a kernel on a home with a short path, until the end of the block or of the daemon.

    Args:
        home: Created if missing.
        policy: When it ends by itself.
        plugins: Of the kernel.
        before: Done with the kernel before anybody is served.
    """
    async with Kernel.open(home=home, plugins=plugins) as kernel:
        if before is not None:
            await before(kernel)
        here = DaemonHere(kernel, home, policy)
        try:
            yield here
        finally:
            here.daemon.stop("end of the test")
            await asyncio.wait_for(here.ended, 20)
