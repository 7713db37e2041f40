"""A capsule asks for permission, and the person behind an MCP client decides."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp_types import ElicitResult

from astrid_core import Kernel
from astrid_core.cli.attending import Reply
from astrid_core.cli.mcp.gateway import Gateway
from astrid_core.cli.mcp.lines import Lines
from astrid_core.daemon.client import DaemonClient
from astrid_hookspecs.values import DEFAULT_PRINCIPAL
from tests.support.daemon import Daemon, daemon_home, prepare
from tests.support.mcp import serve, server, write_servers
from tests.support.mcp_serve import CONNECT, MODES, active, install_people
from tests.support.probe import probe_home
from tests.support.sandboxes import sandbox_or_skip

pytestmark = pytest.mark.slow
ASKS_TWO = [
    "elicitation/create",
    {
        "message": "Who is it?",
        "requestedSchema": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
            "required": ["name", "age"],
        },
    },
]
ASK = {"act": "approve", "arguments": ["git push", "origin main"]}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory = tmp_path_factory.mktemp("people")
    with daemon_home() as made:
        probe_home(tmp_path_factory, made.home)

        async def install_all(kernel: Kernel) -> None:
            await install_people(kernel, directory=directory)
            asks = 'host_process = ["python3"]\nmcp_elicitation = ["raw"]'
            source = write_servers(directory / "t", "talk", server("raw"), capabilities=asks)
            await serve(kernel, source, tool="ask")

        prepare(made.home, install_all)
        made.start()
        yield made


def call(
    daemon: Daemon, *, connect: Any, says: str | None, mode: str, action: str = "accept"
) -> Any:
    """The result of a call whose question a person answers; `says` None: nobody can be asked."""
    asked: list[str] = []

    async def person(_context: object, params: Any) -> ElicitResult:
        asked.append(params.message)
        content = None if action != "accept" else {"decision": says}
        return ElicitResult(action=action, content=content)  # type: ignore[arg-type]  # a literal

    async def main() -> Any:
        callback = {} if says is None else {"elicitation_callback": person}
        async with connect(daemon, mode=mode, **callback) as client:
            result = await client.call_tool("people__people", ASK)
            return json.loads(result.content[0].text)

    answer = asyncio.run(main())
    return answer, asked


@CONNECT
@MODES
def test_a_yes_of_the_clients_person_counts_once(daemon: Daemon, connect: Any, mode: str) -> None:
    answer, asked = call(daemon, connect=connect, says="once", mode=mode)
    assert answer["got"] in ("approved", "allowance")
    assert len(asked) == 1
    assert "git push" in asked[0]
    assert "origin main" in asked[0]
    answer, asked = call(daemon, connect=connect, says="no", mode=mode)
    assert len(asked) == 1
    assert answer["got"] == "denied"


@CONNECT
def test_a_client_that_cannot_ask_leaves_the_question_in_the_queue(
    daemon: Daemon, connect: Any
) -> None:
    answer, asked = call(daemon, connect=connect, says=None, mode="legacy")
    assert asked == []
    assert answer == {"refused": "timeout"}  # the guest's word for: nobody answered
    with DaemonClient.connect(daemon.home) as owner:
        waiting = owner.manage("ApprovalList", {"principal": "default"}).data
    assert [row["action"] for row in waiting] == ["git push"], waiting


@CONNECT
@MODES
def test_what_an_mcp_server_asks_is_asked_through_the_client(
    daemon: Daemon, connect: Any, mode: str
) -> None:
    """From one MCP server to the person behind a client of another."""
    sandbox_or_skip()
    says = [*({"value": "Ann"}, {"value": "41"}), None]
    asked: list[str] = []

    async def person(_context: object, params: Any) -> ElicitResult:
        asked.append(params.message)
        content = says[len(asked) - 1]
        if content is None:
            return ElicitResult(action="decline")
        return ElicitResult(action="accept", content=content)

    async def main() -> None:
        async with connect(daemon, mode=mode, elicitation_callback=person) as client:
            for expected in (
                {"action": "accept", "content": {"name": "Ann", "age": 41}},
                {"action": "cancel"},
            ):
                result = await client.call_tool("talk__ask", {"text": json.dumps(ASKS_TWO)})
                assert json.loads(result.content[0].text)["result"] == expected
        assert len(asked) == len(says)
        assert all(one.startswith("talk: raw asks: Who is it?") for one in asked)

    asyncio.run(main())


def test_a_question_that_comes_before_the_answer_to_the_last_is_through_is_asked(
    daemon: Daemon,
) -> None:
    class Slow(Gateway):
        async def _deliver(self, reply: Reply) -> None:
            await super()._deliver(reply)
            await anyio.sleep(0.5)  # the next question comes meanwhile

    asked: list[str] = []

    async def person(_context: object, params: Any) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action="accept", content={"value": "41"})

    async def main() -> None:
        lines = Lines(lambda: DaemonClient.connect(daemon.home, principal=DEFAULT_PRINCIPAL))
        server = Slow(lines).server()
        async with Client(server, mode="auto", elicitation_callback=person) as client:
            with anyio.fail_after(20):
                await client.call_tool("talk__ask", {"text": json.dumps(ASKS_TWO)})
        lines.close()

    sandbox_or_skip()
    asyncio.run(main())
    assert len(asked) == 2


@CONNECT
def test_a_call_that_is_given_up_while_its_person_thinks_is_over(
    daemon: Daemon, connect: Any
) -> None:
    asked = anyio.Event()

    async def person(_context: object, _params: Any) -> ElicitResult:
        asked.set()
        await anyio.sleep_forever()
        raise AssertionError

    async def main() -> None:
        async with connect(daemon, mode="legacy", elicitation_callback=person) as client:
            async with anyio.create_task_group() as calls:
                calls.start_soon(client.call_tool, "people__people", ASK)
                with anyio.fail_after(20):
                    await asked.wait()
                calls.cancel_scope.cancel()
            for _ in range(100):
                if active(daemon, "people") == 0:
                    break
                await anyio.sleep(0.1)
            assert active(daemon, "people") == 0
            tools = (await client.list_tools()).tools  # the next one is answered
            assert "people__people" in [tool.name for tool in tools]

    asyncio.run(main())


@CONNECT
@MODES
def test_how_far_a_tool_of_an_mcp_server_is_reaches_the_client(
    daemon: Daemon, connect: Any, mode: str
) -> None:
    sandbox_or_skip()
    heard: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    async def main() -> None:
        async with connect(daemon, mode=mode) as client:
            await client.call_tool("talk__echo", {"text": "started"})
            await client.call_tool("talk__progress", {}, progress_callback=hear)

    asyncio.run(main())
    assert heard == [(float(step), 3.0, f"step {step}") for step in (1, 2, 3)]
