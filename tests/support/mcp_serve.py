"""`astrid mcp serve` in processes of its own, and the official SDK's clients of it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from astrid_core import Kernel
from astrid_core.daemon.client import DaemonClient
from tests.support.commands import kept_environment
from tests.support.daemon import Daemon
from tests.support.people_probe import MANIFEST
from tests.support.probe import probe_project

ASTRID = str(Path(sys.executable).with_name("astrid"))


async def install_people(kernel: Kernel, *, directory: Path) -> None:
    """`people.people`, which asks people; its project is written into the directory."""
    project = probe_project(
        directory / "p", MANIFEST.format(name="people", capabilities="", asks="no")
    )
    with kernel.build(project) as built, kernel.stage(built.directory) as staged:
        await kernel.install(staged)


def environment(daemon: Daemon) -> dict[str, str]:
    """Of a command that uses a daemon's home."""
    return {**kept_environment(), "ASTRID_HOME": str(daemon.home), "NO_COLOR": "1"}


def active(daemon: Daemon, capsule: str) -> int:
    """Calls of a capsule that run now."""
    with DaemonClient.connect(daemon.home) as client:
        rows = client.request("GetStatus").data["capsules"]
    return sum(row["active"] for row in rows if row["capsule"] == capsule)


@asynccontextmanager
async def over_stdio(
    daemon: Daemon, *, principal: str = "default", only: Sequence[str] = (), **more: Any
) -> AsyncIterator[Client]:
    """A client over pipes."""
    words = ["--principal", principal, "mcp", "serve"]
    for pattern in only:
        words += ["--only", pattern]
    server = StdioServerParameters(
        command=ASTRID, args=words, env=environment(daemon), cwd=str(daemon.directory)
    )
    async with Client(server, **more) as client:
        yield client


@asynccontextmanager
async def over_http(daemon: Daemon, **more: Any) -> AsyncIterator[Client]:
    """A client over HTTP."""
    with http_server(daemon) as (url, token):
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=30) as http,
            Client(streamable_http_client(url, http_client=http), **more) as client,
        ):
            yield client


@contextlib.contextmanager
def piped(
    daemon: Daemon, *options: str
) -> Iterator[tuple[subprocess.Popen[str], IO[str], IO[str]]]:
    """A serving process, what it is given and what it says."""
    with subprocess.Popen(
        [ASTRID, "mcp", "serve", *options],
        env=environment(daemon),
        cwd=daemon.directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process, process.stdin, process.stdout


@contextlib.contextmanager
def http_server(daemon: Daemon) -> Iterator[tuple[str, str]]:
    """A serving process over HTTP: its URL and its token."""
    with piped(daemon, "--http", "127.0.0.1:0") as (process, _, _):
        assert process.stderr is not None
        said = [process.stderr.readline() for _ in range(2)]
        url = next(word for word in said[0].split() if word.startswith("http://"))
        token_file = Path(said[1].split()[-1])
        try:
            assert token_file.stat().st_mode & 0o777 == 0o600
            yield url, token_file.read_text()
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)
            assert process.stdout is not None
            assert process.stdout.read() == ""  # it belongs to nobody here
        assert not token_file.exists()


CONNECT = pytest.mark.parametrize("connect", [over_stdio, over_http], ids=["stdio", "http"])
MODES = pytest.mark.parametrize("mode", ["legacy", "auto"])
