"""Servers of `etc/servers.toml`: a capsule each, without an installation."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from astrid_core import Kernel
from astrid_core.domain.toml_document import MAX_BYTES
from tests.support.capsules import eventually
from tests.support.mcp import SERVERS
from tests.support.sandboxes import sandbox_or_skip

Run = Callable[..., Any]


def configure(home: Path, text: str) -> None:
    (home / "etc").mkdir(mode=0o700, parents=True, exist_ok=True)
    home.chmod(0o700)
    (home / "etc" / "servers.toml").write_text(text)


def script(tmp_path: Path) -> str:
    """A program that is the server, where confined processes can see it."""
    sandbox_or_skip()
    code = (SERVERS / "raw.py").read_text()
    place = tmp_path / "home" / "var" / "servers" / "talk"
    place.mkdir(mode=0o700, parents=True)
    (place / "raw.py").write_text(code)
    return '[servers.talk]\ncommand = "python3"\nargs = ["./raw.py"]\n'


def test_a_configured_server_is_called_and_follows_the_file(run: Run, tmp_path: Path) -> None:
    home = tmp_path / "home"
    configure(home, script(tmp_path))

    async def work(kernel: Kernel) -> None:
        await eventually(lambda: "echo" in [tool.name for tool in kernel.tools()], timeout_s=20)
        result = await kernel.call_tool("echo", {"text": "configured"})
        assert (result.content, result.capsule) == ("configured", "talk")
        await kernel.reload("talk")
        await eventually(lambda: "echo" in [tool.name for tool in kernel.tools()])
        configure(home, "")
        await kernel.reload_all()
        assert kernel.capsules() == []

    run(work)


@pytest.mark.parametrize("kind", ["unknown key", "no text", "too large", "pipe", "directory"])
def test_a_file_that_is_not_understood_is_a_problem_and_stops_nothing(
    run: Run, tmp_path: Path, kind: str
) -> None:
    configure(tmp_path / "home", "[servers.talk]\ntrusted = true\n")
    path = tmp_path / "home/etc/servers.toml"
    if kind == "no text":
        path.write_bytes(b"\xff\xfe")
    elif kind == "too large":
        path.write_bytes(b"#" * (MAX_BYTES + 1))
    elif kind != "unknown key":
        path.unlink()
        os.mkfifo(path) if kind == "pipe" else path.mkdir()

    async def work(kernel: Kernel) -> None:
        assert [problem.capsule for problem in kernel.problems] == ["servers.toml"]

    run(work)
