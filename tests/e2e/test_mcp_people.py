"""A capsule asks for permission, and the person behind an MCP client decides."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from mcp_types import ElicitResult

from astrid_core.daemon.client import DaemonClient
from tests.support.daemon import Daemon, daemon_home, prepare
from tests.support.mcp_serve import CONNECT, MODES, install_people
from tests.support.probe import probe_home

pytestmark = pytest.mark.slow
ASK = {"act": "approve", "arguments": ["git push", "origin main"]}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory = tmp_path_factory.mktemp("people")
    with daemon_home() as made:
        probe_home(tmp_path_factory, made.home)
        prepare(made.home, partial(install_people, directory=directory))
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
