"""`astrid mcp serve` as clients use it: the official SDK's, over both transports.

Spec: cli-and-ux T-36.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
import wasmtime
from mcp.server.subscriptions import ToolsListChanged
from mcp.shared.exceptions import MCPError
from mcp_types import ToolListChangedNotification

from astrid_core.daemon.client import DaemonClient
from tests.support.capsules import write_capsule
from tests.support.daemon import (
    ECHO,
    ECHO_MANIFEST,
    Daemon,
    daemon_home,
    install_tools,
    prepare,
)
from tests.support.mcp_serve import (
    ASTRID,
    CONNECT,
    MODES,
    active,
    environment,
    http_server,
    over_stdio,
    piped,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with daemon_home() as made:
        prepare(made.home, install_tools)
        profiles = made.home / "etc/profiles"
        profiles.mkdir(parents=True, exist_ok=True)
        for name in ("alice", "bob"):
            (profiles / f"{name}.toml").write_text('groups = ["agent"]\n')
        made.start()
        yield made


@CONNECT
@MODES
def test_a_whole_session(daemon: Daemon, connect: Any, mode: str) -> None:
    async def main() -> None:
        async with connect(daemon, mode=mode) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert {"echo__echo", "spinner__spin"} <= set(tools)
            assert tools["echo__echo"].input_schema["type"] == "object"
            result = await client.call_tool("echo__echo", {"text": "hello"})
            assert not result.is_error
            assert result.content[0].text == "hello"
            with pytest.raises(MCPError, match="no tool 'echo__nothing'"):
                await client.call_tool("echo__nothing", {})
            several = [client.call_tool("echo__echo", {"text": str(n)}) for n in range(12)]
            answers = await asyncio.gather(*several)
            assert [one.content[0].text for one in answers] == [str(n) for n in range(12)]

    asyncio.run(main())


@CONNECT
def test_a_call_can_be_cancelled_and_reports_progress(daemon: Daemon, connect: Any) -> None:
    async def main() -> None:
        async with connect(daemon) as client:
            heard: list[float] = []

            async def hear(progress: float, _total: float | None, _message: str | None) -> None:
                heard.append(progress)

            with anyio.move_on_after(2.5) as scope:
                await client.call_tool("spinner__spin", {}, progress_callback=hear)
            assert scope.cancelled_caught
            assert heard[:2] == [1.0, 2.0]
            for _ in range(100):  # the guest is stopped, not left
                if active(daemon, "spinner") == 0:
                    break
                await anyio.sleep(0.1)
            assert active(daemon, "spinner") == 0
            result = await client.call_tool("echo__echo", {"text": "still here"})
            assert result.content[0].text == "still here"

    asyncio.run(main())


def test_only_what_is_served_can_be_called_and_the_rest_is_refused_on_record(
    daemon: Daemon,
) -> None:
    async def main() -> None:
        async with over_stdio(daemon, principal="dora", only=["echo.*"]) as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == ["echo__echo"]
            assert not (await client.call_tool("echo__echo", {"text": "x"})).is_error
            with pytest.raises(MCPError, match="no tool"):
                await client.call_tool("spinner__spin", {})

    (daemon.home / "etc/profiles/dora.toml").write_text('groups = ["agent"]\n')
    asyncio.run(main())
    denied = [row for row in daemon.records(principal="dora") if row["outcome"] == "denied"]
    assert [row["authorization"]["reason"] for row in denied] == ["client.only"]
    assert [row["action"]["resource"] for row in denied] == ["spinner.spin"]


def test_a_refusal_names_its_rule_and_is_on_record(daemon: Daemon) -> None:
    path = daemon.home / "etc/profiles/bob.toml"

    async def main() -> None:
        async with over_stdio(daemon, principal="bob") as client:
            await client.list_tools()
            path.write_text('groups = ["agent"]\nrevokes = ["self:tool:call"]\n')
            result = await client.call_tool("echo__echo", {"text": "x"})
            assert result.is_error
            assert "revokes:self:tool:call" in result.content[0].text
            assert result.structured_content["error"]["code"]

    asyncio.run(main())
    assert any(row["outcome"] == "denied" for row in daemon.records(principal="bob"))


def test_what_is_denied_is_not_listed_and_refused_by_name_on_record(daemon: Daemon) -> None:
    profile = daemon.home / "etc/profiles/carol.toml"
    profile.write_text('groups = ["agent"]\nrevokes = ["self:tool:call"]\n')

    async def main() -> None:
        async with over_stdio(daemon, principal="carol") as client:
            assert (await client.list_tools()).tools == []
            result = await client.call_tool("echo__echo", {"text": "x"})
            assert result.is_error
            assert "revokes:self:tool:call" in result.content[0].text

    asyncio.run(main())
    denied = [row for row in daemon.records(principal="carol") if row["outcome"] == "denied"]
    assert [row["authorization"]["reason"] for row in denied] == ["revokes:self:tool:call"]


@CONNECT
@MODES
def test_clients_are_told_that_there_are_other_tools(
    daemon: Daemon, connect: Any, mode: str
) -> None:
    """In the older era each that has asked for tools, in the newer each that listens."""

    async def main() -> None:
        told = anyio.Event()

        async def hear(message: object) -> None:
            if isinstance(message, ToolListChangedNotification):
                told.set()

        async with connect(daemon, mode=mode, message_handler=hear) as client:
            assert client.server_capabilities.tools.list_changed
            await client.list_tools()
            with anyio.fail_after(20):
                if mode == "legacy":
                    await anyio.to_thread.run_sync(install_another, daemon, f"{mode}-{connect}")
                    await told.wait()
                    return
                async with client.listen(tools_list_changed=True) as news:
                    await anyio.to_thread.run_sync(install_another, daemon, f"{mode}-{connect}")
                    assert await anext(aiter(news)) == ToolsListChanged()

    asyncio.run(main())


def install_another(daemon: Daemon, name: str) -> None:
    """A capsule more; its tool has the name of the test."""
    tool = hashlib.sha256(name.encode()).hexdigest()[:8]
    manifest = ECHO_MANIFEST.replace('name = "echo"', f'name = "echo-{tool}"').replace(
        "execute.echo", f"execute.{tool}"
    )
    with tempfile.TemporaryDirectory() as directory:
        source = write_capsule(
            Path(directory), bytes(wasmtime.wat2wasm(ECHO.read_text())), manifest
        )
        with DaemonClient.connect(daemon.home) as owner:
            params = {"source": str(source.path), "agreed": True}
            owner.request("InstallCapsule", params, timeout_s=60)


def test_an_agent_is_told_of_other_tools_as_well(daemon: Daemon) -> None:
    async def main() -> None:
        told = anyio.Event()

        async def hear(message: object) -> None:
            if isinstance(message, ToolListChangedNotification):
                told.set()

        options = {"principal": "alice", "mode": "legacy", "message_handler": hear}
        async with over_stdio(daemon, **options) as client:
            await client.list_tools()
            await anyio.to_thread.run_sync(install_another, daemon, "alice")
            with anyio.fail_after(20):
                await told.wait()

    asyncio.run(main())


def test_an_interrupt_ends_it_while_the_client_says_nothing(daemon: Daemon) -> None:
    with piped(daemon) as (process, given, said):
        given.write('{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n')
        given.flush()
        assert said.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == -signal.SIGINT
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_http_needs_the_token_and_a_page_of_this_machine(daemon: Daemon) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accept = {"Accept": "application/json, text/event-stream"}
    with http_server(daemon) as (url, token), httpx2.Client(headers=accept) as http:
        assert http.post(url, json=body).status_code == 401
        wrong = {"Authorization": f"Bearer {token[:-1]}x"}
        assert http.post(url, json=body, headers=wrong).status_code == 401
        right = {"Authorization": f"Bearer {token}"}
        rebound = http.post(url, json=body, headers={**right, "Host": "evil.test"})
        assert rebound.status_code in {403, 421}
        foreign = http.post(url, json=body, headers={**right, "Origin": "https://evil.test"})
        assert foreign.status_code == 403


def test_t36_lines_in_lines_out_and_nothing_left(daemon: Daemon) -> None:
    lines = [
        {"id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "t", "version": "0"}}},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/list"},
    ]  # fmt: skip
    text = "".join(json.dumps({"jsonrpc": "2.0", **line}) + "\n" for line in lines)
    with piped(daemon) as (process, given, said):
        given.write(text)
        given.flush()
        answers = [json.loads(said.readline()) for _ in range(2)]
        given.close()
        assert process.wait(20) == 0
        assert said.read() == ""
    assert answers[1]["result"]["tools"][0]["name"]


def test_it_starts_a_daemon_where_there_is_none() -> None:
    with daemon_home() as alone:
        prepare(alone.home, install_tools)

        async def main() -> None:
            async with over_stdio(alone) as client:
                result = await client.call_tool("echo__echo", {"text": "woken"})
                assert result.content[0].text == "woken"

        asyncio.run(main())
        subprocess.run([ASTRID, "stop"], env=environment(alone), check=True, capture_output=True)


def test_an_address_of_others_is_refused(daemon: Daemon) -> None:
    for address, said in (("0.0.0.0:0", "own address"), ("nonsense", "no address")):
        ended = subprocess.run(
            [ASTRID, "mcp", "serve", "--http", address],
            env=environment(daemon),
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert ended.returncode == 1
        assert said in ended.stderr
