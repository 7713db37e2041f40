"""`astrid mcp serve` as a client written by others uses it: that of the TypeScript SDK."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from astrid_core import Kernel
from astrid_core.daemon.client import DaemonClient
from tests.support.daemon import Daemon, daemon_home, install_tools, prepare
from tests.support.mcp_serve import ASTRID, environment, http_server, install_people
from tests.support.probe import probe_home
from tests.support.real_servers import QUIETLY

SESSION = Path(__file__).parents[1] / "support/mcp_clients/session.mjs"
SDK = "@modelcontextprotocol/sdk@1.32.2"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory = tmp_path_factory.mktemp("people")

    async def install(kernel: Kernel) -> None:
        await install_tools(kernel)
        await install_people(kernel, directory=directory)

    with daemon_home() as made:
        probe_home(tmp_path_factory, made.home)
        prepare(made.home, install)
        made.start()
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the SDK is installed beside the session."""
    if shutil.which("npm") is None:
        pytest.skip("Node.js is not installed")
    folder = tmp_path_factory.mktemp("node")
    subprocess.run(["npm", "install", *QUIETLY, SDK], cwd=folder, check=True, timeout=100)
    shutil.copy(SESSION, folder)
    return folder


def session(daemon: Daemon, folder: Path, *arguments: str, token: str = "") -> dict[str, Any]:
    """What a session found."""
    ended = subprocess.run(
        ["node", SESSION.name, *arguments],
        cwd=folder,
        env={**environment(daemon), "TOKEN": token},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


@pytest.mark.parametrize("over", ["stdio", "http"])
def test_a_client_of_another_make_has_a_whole_session(
    daemon: Daemon, folder: Path, over: str
) -> None:
    if over == "stdio":
        found = session(daemon, folder, "stdio", ASTRID, "mcp", "serve")
    else:
        with http_server(daemon) as (url, token):
            found = session(daemon, folder, "http", url, token=token)
    assert found["server"] == "astrid"
    assert {"echo__echo", "people__people", "spinner__spin"} <= set(found["tools"])
    assert found["echo"]["content"] == [{"type": "text", "text": "from elsewhere"}]
    assert "no tool" in found["missing"]["message"]
    assert found["progress"][:2] == [1, 2]
    assert "timed out" in found["given_up"]
    assert found["after"]["content"][0]["text"] == "still here"
    # Its person decides: once, no, declined. Without a decision the question stays in the queue.
    assert found["decided"] == [
        *({"got": "approved"}, {"got": "denied"}, {"got": "denied"}, {"refused": "timeout"})
    ]
    assert all("git push" in asked["message"] for asked in found["asked"])
    assert len(found["asked"]) == len(found["decided"])
    assert found["mute"] == {"refused": "timeout"}
    with DaemonClient.connect(daemon.home) as owner:
        waiting = owner.manage("ApprovalList", {"principal": "default"}).data
    assert {row["action"] for row in waiting} == {"git push"}
