"""A kernel behind a socket: start, serve, stop.

Trusted with order: clients can come only when everything is there, and when it ends, first nobody
new comes, then what is under way is finished, then the kernel closes.
Spec: kernel-and-security 1.3, 1.5, 12.1.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from loguru import logger

from astrid_core.daemon.answering import Answering
from astrid_core.daemon.bus_requests import BusRequests
from astrid_core.daemon.idle import IdleClock, IdlePolicy
from astrid_core.daemon.notify import notify
from astrid_core.daemon.requests import Requests
from astrid_core.daemon.router import Router
from astrid_core.daemon.run_files import RunFiles
from astrid_core.daemon.server import SocketServer
from astrid_core.domain.manifest import Manifest
from astrid_core.kernel.kernel import Kernel

DRAIN_S: Final = 5.0
DRAIN_LOOK_S: Final = 0.02


class Daemon:
    """Serves one kernel. Lives on the loop that opened it.

    Args:
        kernel: Open; closed by the caller afterwards.
        files: In the `run/` of the kernel's home, whose lock the kernel holds.
        version: Told to clients.
        session: UUID text under which the kernel answers.
        ephemeral: Whether it was started for a single client.
        workspace: For the status.
        ending: Where `stop` puts the reason; a future that is done already means that nothing is
            begun. None for a new one.
    """

    def __init__(
        self,
        kernel: Kernel,
        files: RunFiles,
        *,
        version: str,
        session: str,
        ephemeral: bool,
        workspace: Path | None,
        ending: asyncio.Future[str] | None = None,
    ) -> None:
        self._kernel = kernel
        self._files = files
        self._version = version
        self._ephemeral = ephemeral
        self._workspace = workspace
        self._started = time.monotonic()
        self._ending = ending or asyncio.get_running_loop().create_future()
        requests = Requests(kernel, facts=self._facts, stop=self.stop)
        self._answering = Answering(kernel.clients)
        self._router = Router(kernel.clients, requests, self._answering, source_id=session)
        self._bus_requests = BusRequests(kernel, requests, self._answering, source_id=session)
        self._server: SocketServer | None = None

    def stop(self, reason: str) -> None:
        """End soon; the first reason counts. On the loop."""
        end(self._ending, reason)

    async def run(self, policy: IdlePolicy) -> str:
        """Serve until something ends it.

        Returns:
            The reason: `signal`, `request` or `idle_timeout`.

        Raises:
            ConfigError, AlreadyRunningError: It could not listen.
        """
        if self._ending.done():
            return self._ending.result()
        try:
            await self._open()
            idle = asyncio.ensure_future(self._watch_idleness(policy))
            try:
                reason = await self._ending
            finally:
                idle.cancel()
            logger.info("stopping: {}", reason)
            return reason
        finally:
            await self._close()

    async def _open(self) -> None:
        listener = self._files.bind()
        try:
            token = self._kernel.clients.session_token()
            self._server = SocketServer(
                listener,
                token=token,
                version=self._version,
                handler=self._router.handle,
                meet=self._kernel.clients.meet,
                left=partial(self._answering.soon, self._kernel.clients.end_session),
            )
        except BaseException:
            listener.close()
            self._files.socket.unlink(missing_ok=True)
            raise
        self._bus_requests.start()
        self._server.start()
        self._files.write_ready()
        logger.info("ready: process {}, {} capsules", os.getpid(), len(self._kernel.capsules()))
        notify("READY=1")

    async def _close(self) -> None:
        notify("STOPPING=1")
        if self._server is None:
            return
        self._files.ready.unlink(missing_ok=True)
        self._server.stop_accepting()
        self._server.stop_listening()
        deadline = time.monotonic() + DRAIN_S
        # Requests end on many threads; a look now and then costs less than a wake-up for each.
        while not self._server.is_quiet() and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(DRAIN_LOOK_S)
        await self._server.close()
        await self._router.close()
        await self._bus_requests.close(timeout_s=DRAIN_S)
        self._answering.close()
        self._files.remove()

    async def _watch_idleness(self, policy: IdlePolicy) -> None:
        if policy.timeout_s is None:
            return
        clock = IdleClock(policy.timeout_s)
        await asyncio.sleep(policy.grace_s)
        while True:
            await asyncio.sleep(policy.period_s)
            if clock.is_over(idle=self._is_idle(), now=time.monotonic()):
                self.stop("idle_timeout")

    def _is_idle(self) -> bool:
        """Whether no client is here, and no capsule that brings users by other ways."""
        return (
            self._server is not None
            and not self._server.connected()
            and not any(_brings_users(capsule.manifest) for capsule in self._kernel.capsules())
        )

    def _facts(self) -> Mapping[str, object]:
        clients = self._server.clients() if self._server is not None else []
        counts = self._server.connected() if self._server is not None else {}
        facts: dict[str, object] = {
            "pid": os.getpid(),
            "uptime_secs": int(time.monotonic() - self._started),
            "version": self._version,
            "ephemeral": self._ephemeral,
            "workspace": None if self._workspace is None else str(self._workspace),
            "connected_clients": len(clients),
            "requests_lost": self._bus_requests.lost,
            "clients": clients,
        }
        if counts:
            facts["connections_by_principal"] = [
                {"principal": principal, "count": count}
                for principal, count in sorted(counts.items())
            ]
        return facts


def _brings_users(manifest: Manifest) -> bool:
    """Whether a capsule is a front end, or listens where clients find it without the daemon."""
    return bool(manifest.uplinks) or any(manifest.capabilities.net_bind)


def end(ending: asyncio.Future[str], reason: str) -> None:
    """Put a reason for the end there, unless there is one; on the loop."""
    if not ending.done():
        ending.set_result(reason)
