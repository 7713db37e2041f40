"""`astrid mcp` against a real daemon: a tool that changed is shown and approved."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from astrid_core import Kernel
from tests.support.capsules import eventually
from tests.support.commands import run_astrid
from tests.support.daemon import Daemon, prepare, short_directory
from tests.support.mcp import definition, serve, server, write_servers
from tests.support.sandboxes import sandbox_or_skip

pytestmark = pytest.mark.slow
GREW = json.dumps([definition("grow", "Does grow."), definition("echo", "Echoes, and more.")])


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    sandbox_or_skip()
    with short_directory() as directory:
        daemon = Daemon(directory)

        async def work(kernel: Kernel) -> None:
            one = server("raw", "raw.py", "good", "tools.json")
            await serve(kernel, write_servers(directory / "c", "talk", one), tool="echo")
            await kernel.call_tool("grow", {"text": GREW})
            await eventually(lambda: bool(kernel.tool_pins.waiting()))

        prepare(daemon.home, work)
        daemon.start()
        try:
            yield daemon
        finally:
            daemon.kill()


def astrid(daemon: Daemon, *arguments: str) -> Any:
    return run_astrid(
        *arguments, cwd=daemon.directory, env={"ASTRID_HOME": str(daemon.home)}, joined=False
    )


def test_a_changed_tool_is_shown_and_approved(daemon: Daemon) -> None:
    refused = astrid(daemon, "call", "echo", '{"text": "x"}')
    assert refused.returncode != 0
    shown = astrid(daemon, "mcp", "pins", "--waiting")
    assert "changed" in shown.stdout, shown.stderr
    assert "Echoes, and more." in shown.stdout
    approved = astrid(daemon, "mcp", "approve", "talk", "raw", "echo", "--yes")
    assert approved.returncode == 0, approved.stderr
    called = astrid(daemon, "call", "echo", '{"text": "hello"}')
    assert "hello" in called.stdout, called.stderr
    again = astrid(daemon, "mcp", "approve", "talk", "raw", "echo", "--yes")
    assert "tool.not-found" in again.stderr or "waits" in again.stderr
