"""Daemons for the benchmarks: processes of their own, on homes with the tiny echo tool."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from astrid_core.daemon.client import DaemonClient
from tests.benchmarks.kernel_side import TEXT, install_echo, open_kernel, scratch

UNAUDITED = "tests.benchmarks.unaudited_daemon"
READY_S = 60.0


@contextmanager
def daemon_process(home: Path, *, module: str = "astrid_core.daemon") -> Iterator[float]:
    """A daemon that serves; gives the seconds from its start to the first answer of a client."""
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", module, "--workspace", str(home.parent)],
        env={**os.environ, "ASTRID_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            _wait_ready(home, process)
            yield time.perf_counter() - start
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_ready(home: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait for the readiness file, then for an answer."""
    ready = home / "run" / "system.ready"
    deadline = time.monotonic() + READY_S
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the daemon did not start")
        time.sleep(0.005)
    with DaemonClient.connect(home) as client:
        client.request("GetStatus")


@contextmanager
def echo_daemon(*, module: str = "astrid_core.daemon") -> Iterator[Path]:
    """A daemon with `echo.echo`, called once; gives its home."""

    async def prepare(directory: Path) -> None:
        async with open_kernel(directory / "h") as kernel:
            await install_echo(kernel, directory, "echo")

    with scratch() as directory:
        asyncio.run(prepare(directory))
        with daemon_process(directory / "h", module=module):
            with DaemonClient.connect(directory / "h") as client:
                client.call_tool("echo.echo", TEXT)
            yield directory / "h"
