"""MCP servers elsewhere: a real server of the SDK on loopback, and addresses that are refused."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from astrid_core import Kernel
from astrid_hookspecs.errors import CapsuleError, ToolError
from tests.support.capsules import eventually, install
from tests.support.mcp import SERVERS, serve, write_servers

Run = Callable[..., Any]
TOKEN = "only-for-this-test"  # noqa: S105 - of a server that lives as long as the test


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = free.getsockname()[1]
    script = SERVERS / "http_server.py"
    process = subprocess.Popen([sys.executable, str(script), str(number), TOKEN])
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", number)) == 0:
                    break
            time.sleep(0.05)
        yield number
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def consented(tmp_path: Path) -> None:
    config = tmp_path / "home" / "etc" / "config.toml"
    config.parent.mkdir(mode=0o700, parents=True)
    config.parent.parent.chmod(0o700)
    config.write_text('[network]\nlocal_egress = ["127.0.0.1:*"]\n')


def remote(tmp_path: Path, url: str, *, token: str = TOKEN, net: str = "127.0.0.1") -> Any:
    body = (
        f'[env.TOKEN]\ntype = "text"\ndefault = "{token}"\n'
        f'[[mcp_server]]\nid = "web"\ntype = "http"\nurl = "{url}"\nbearer = "TOKEN"\nenv = []\n'
    )
    return write_servers(tmp_path / "c", "remote", body, capabilities=f'net = ["{net}"]')


@pytest.mark.slow
@pytest.mark.usefixtures("consented")
def test_a_server_elsewhere_is_called_with_its_token(run: Run, tmp_path: Path, port: int) -> None:
    async def work(kernel: Kernel) -> None:
        await serve(kernel, remote(tmp_path, f"http://127.0.0.1:{port}/mcp"), tool="add")
        result = await kernel.call_tool("add", {"a": 2, "b": 3})
        assert (result.content, result.structured) == ("5", {"result": 5})
        huge = await kernel.call_tool("large", {"size": 9 * 1024 * 1024})
        assert huge.is_error, huge.content[:200]
        assert len(huge.content) < 1000
        with pytest.raises(ToolError) as caught:
            await kernel.call_tool("large", {"size": 2 * 1024 * 1024})
        assert caught.value.code == "tool.answer"

    run(work)


@pytest.mark.slow
@pytest.mark.usefixtures("consented")
def test_server_denied_when_the_token_is_wrong(run: Run, tmp_path: Path, port: int) -> None:
    async def work(kernel: Kernel) -> None:
        url = f"http://127.0.0.1:{port}/mcp"
        source = remote(tmp_path, url, token="wrong-token")  # noqa: S106
        with contextlib.suppress(CapsuleError):  # when it is refused before the load is over
            await install(kernel, source)
        await eventually(lambda: not kernel.capsules()[0].health().ok)
        reason = kernel.capsules()[0].health().reason
        assert "did not start" in reason
        assert "wrong-token" not in reason
        assert kernel.tools() == []

    run(work)


@pytest.mark.parametrize(
    "host", ["localtest.invalid", "127.0.0.1", "169.254.169.254", "10.0.0.1", "[::ffff:127.0.0.1]"]
)
def test_server_denied_when_its_address_is_not_public(run: Run, tmp_path: Path, host: str) -> None:
    async def work(kernel: Kernel) -> None:
        with pytest.raises(CapsuleError, match=r"inside|address"):
            await install(kernel, remote(tmp_path, f"https://{host}/mcp", net=host.strip("[]")))

    run(work)


def test_server_denied_when_the_manifest_does_not_list_its_host(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        with pytest.raises(CapsuleError, match=r"a\.example"):
            await install(kernel, remote(tmp_path, "https://a.example/mcp", net="b.example"))

    run(work)
