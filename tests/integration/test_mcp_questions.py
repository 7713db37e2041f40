"""What MCP servers ask back: real processes ask people and models through the whole kernel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from astrid_core import Kernel
from astrid_core.kernel.audit.places import AuditPlaces
from astrid_core.kernel.audit.reader import Query, Row, entries
from astrid_hookspecs.errors import AstridError
from astrid_hookspecs.values import Principal
from tests.support.capsules import eventually
from tests.support.front import Front
from tests.support.mcp import profile, serve, server, write_servers
from tests.support.models import add_model
from tests.support.sandboxes import sandbox_or_skip

Run = Callable[..., Any]
BOB = Principal("bob")
MAY_ASK = 'host_process = ["python3"]\nmcp_elicitation = ["raw"]\nmcp_sampling = ["raw"]'
ADDRESS = {
    "type": "object",
    "properties": {
        "street": {"type": "string", "title": "Street"},
        "number": {"type": "integer", "minimum": 1},
        "express": {"type": "boolean", "default": True},
        "day": {"type": "string", "enum": ["mo", "tu"], "enumNames": ["Monday", "Tuesday"]},
        "note": {"type": "string"},
    },
    "required": ["street", "number", "express", "day"],
}
PROMPT = {
    "messages": [{"role": "user", "content": {"type": "text", "text": "say what you hear"}}],
    "maxTokens": 100,
}


@pytest.fixture(autouse=True)
def confined() -> None:
    sandbox_or_skip()


def talk(tmp_path: Path, *, capabilities: str = MAY_ASK, extra: str = "") -> Any:
    """A capsule `talk` with one server `raw`."""
    one = server("raw", "raw.py", extra=extra)
    return write_servers(tmp_path / "c", "talk", one, capabilities=capabilities)


def agent(tmp_path: Path, name: str, more: str = "") -> None:
    """A principal with a home that may call every tool of `talk`."""
    (tmp_path / "home" / "home" / name).mkdir(mode=0o700)
    profile(tmp_path / "home", name, grants=["mcp:talk:*"], groups=["agent"])
    path = tmp_path / f"home/etc/profiles/{name}.toml"
    path.write_text(path.read_text() + more)


async def asks(
    kernel: Kernel, method: str, params: object, *, waits: bool = False, **options: Any
) -> dict[str, Any]:
    """What a server is answered that asks while it works on a call."""
    arguments = {"text": json.dumps([method, params]), "waits": waits}
    result = await kernel.call_tool("ask", arguments, **options)
    answer: dict[str, Any] = json.loads(result.content)
    return answer


def elicits(message: str = "Where to?", schema: object = ADDRESS) -> tuple[str, dict[str, Any]]:
    return "elicitation/create", {"message": message, "requestedSchema": schema}


def records(home: Path, action: str) -> list[Row]:
    return list(entries(AuditPlaces(home / "var" / "audit"), Query(action=action)))


def facts(home: Path, action: str) -> list[dict[str, Any]]:
    return [row["action"] for row in records(home, action)]


def denials(home: Path, action: str) -> list[str]:
    return [row["authorization"]["reason"] for row in records(home, action)]


def test_a_person_fills_in_what_a_server_asks(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        await serve(kernel, talk(tmp_path), tool="echo")
        values = ("High Street", "none", "7", "no", "Tuesday", "")
        front = Front(kernel, *({"value": value} for value in values))
        answer = await asks(kernel, *elicits())
        content = {"street": "High Street", "number": 7, "express": False, "day": "tu"}
        assert answer["result"] == {"action": "accept", "content": content}
        assert all("raw asks: Where to?" in prompt for prompt in front.prompts)
        assert front.prompts[1] == front.prompts[2]  # `none` is no number: asked again
        assert {asked["capsule_id"] for asked in front.heard} == {"talk"}
        assert all(asked["field"].get("default") is None for asked in front.heard)

    run(work)
    sent = facts(tmp_path / "home", "elicitation_sent")
    received = facts(tmp_path / "home", "elicitation_received")
    assert [(one["server"], one["elicitation_type"]) for one in sent] == [("talk:raw", "form")]
    assert [one["action"] for one in received] == ["accept"]
    assert [one["request_id"] for one in sent] == [one["request_id"] for one in received]
    assert "High Street" not in json.dumps(records(tmp_path / "home", "elicit.*"))


@pytest.mark.parametrize(
    ("says", "action"), [({"value": "yes"}, "accept"), ({"value": "no"}, "decline"), ({}, "cancel")]
)
def test_a_form_without_fields_is_a_yes_or_no(
    run: Run, tmp_path: Path, says: dict[str, str], action: str
) -> None:
    async def work(kernel: Kernel) -> None:
        await serve(kernel, talk(tmp_path), tool="echo")
        Front(kernel, says)
        answer = await asks(kernel, *elicits("Delete it?", {"type": "object", "properties": {}}))
        assert answer["result"]["action"] == action

    run(work)


def test_asking_denied_when_the_manifest_does_not_say_so(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        source = talk(tmp_path, capabilities='host_process = ["python3"]\nmcp_sampling = ["other"]')
        await serve(kernel, source, tool="echo")
        front = Front(kernel)
        for asked in (elicits(), ("sampling/createMessage", PROMPT)):
            answer = await asks(kernel, *asked)
            assert answer["error"]["code"] == -1
            assert "may not ask" in answer["error"]["message"]
        assert front.heard == []

    run(work)
    assert denials(tmp_path / "home", "server.elicit") == ["mcp_elicitation"]
    assert denials(tmp_path / "home", "server.sample") == ["mcp_sampling"]


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (elicits("Your password?")[1], "no secrets"),
        (
            elicits(schema={"type": "object", "properties": {"apiKey": {"type": "string"}}})[1],
            "no secrets",
        ),
        (
            {"mode": "url", "message": "x", "url": "https://evil.test", "elicitationId": "1"},
            "by way of URLs",
        ),
        (elicits("hidden \u202e text")[1], "cannot be shown"),
    ],
)
def test_a_server_gets_no_secret_and_sends_nobody_anywhere(
    run: Run, tmp_path: Path, params: dict[str, Any], said: str
) -> None:
    async def work(kernel: Kernel) -> None:
        await serve(kernel, talk(tmp_path), tool="echo")
        front = Front(kernel)
        answer = await asks(kernel, "elicitation/create", params)
        assert answer["error"]["code"] == -32602
        assert said in answer["error"]["message"]
        assert front.heard == []

    run(work)


def test_only_the_person_behind_the_call_is_asked_and_answers(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        await serve(kernel, talk(tmp_path), tool="echo")
        agent(tmp_path, "carol")
        agent(tmp_path, "bob")
        front, other = Front(kernel, principal=BOB), Front(kernel, principal=Principal("carol"))
        schema = {"type": "object", "properties": {"who": {"type": "string"}}}
        asked = asyncio.create_task(asks(kernel, *elicits(schema=schema), principal=BOB))
        await eventually(lambda: bool(front.heard))
        request_id = front.heard[0]["request_id"]
        with pytest.raises(AstridError, match="no question"):
            front.say("elicit", request_id, {"value": "me"}, by=Principal("carol"))
        front.say("elicit", request_id, {"value": "bob"})
        assert (await asked)["result"]["content"] == {"who": "bob"}
        assert other.heard == []

    run(work)


def test_a_question_ends_with_the_call_that_it_is_about(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        await serve(kernel, talk(tmp_path), tool="echo")
        front = Front(kernel)
        asked = asyncio.create_task(asks(kernel, *elicits()))
        await eventually(lambda: bool(front.heard))
        asked.cancel()
        await asyncio.wait((asked,))
        request_id = front.heard[0]["request_id"]

        def is_over() -> bool:
            try:
                front.say("elicit", request_id, {"value": "late"})
            except AstridError as error:
                return error.code == "elicit.not-found"
            return False

        await eventually(is_over)

    run(work)


@pytest.mark.slow
def test_a_person_may_think_longer_than_the_call_may_take(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        await serve(kernel, talk(tmp_path), tool="echo")
        agent(tmp_path, "bob", "[quotas]\nmax_timeout_secs = 1\n")
        await kernel.call_tool("echo", {"text": "started"}, principal=BOB)
        front = Front(kernel, principal=BOB)
        schema = {"type": "object", "properties": {"who": {"type": "string"}}}
        asked = asyncio.create_task(asks(kernel, *elicits(schema=schema), principal=BOB))
        await eventually(lambda: bool(front.heard))
        await asyncio.sleep(1.5)
        front.say("elicit", front.heard[0]["request_id"], {"value": "slow"})
        assert (await asked)["result"]["content"] == {"who": "slow"}

    run(work)


def test_a_server_that_keeps_asking_is_refused(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        await serve(kernel, talk(tmp_path), tool="echo")
        front = Front(kernel, *[{}] * 20)
        plain = elicits("Again?", {"type": "object", "properties": {}})
        answers = [await asks(kernel, *plain) for _ in range(12)]
        assert [("result" in answer) for answer in answers] == [True] * 10 + [False] * 2
        assert len(front.heard) == 10

    run(work)
    assert denials(tmp_path / "home", "server.elicit") == ["questions-per-minute"] * 2


@pytest.mark.slow
def test_a_model_answers_a_server_where_a_person_agrees(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        await add_model(kernel, tmp_path / "s", provider="scripted")
        await add_model(kernel, tmp_path / "o", provider="other")
        await serve(kernel, talk(tmp_path), tool="echo")
        front = Front(kernel, {"decision": "approve"}, {"decision": "deny"})
        hinted = {**PROMPT, "modelPreferences": {"hints": [{"name": "scripted-large"}]}}
        answer = await asks(kernel, "sampling/createMessage", hinted)
        assert answer["result"] == {
            "role": "assistant",
            "content": {"type": "text", "text": "say what you hear"},
            "model": "scripted",
            "stopReason": "endTurn",
        }
        assert "say what you hear" in front.heard[0]["resource"]
        assert "raw" in front.heard[0]["resource"]
        answer = await asks(kernel, "sampling/createMessage", PROMPT)
        assert answer["error"]["code"] == -1

    run(work)
    assert [one["model"] for one in facts(tmp_path / "home", "mcp_sampling")] == ["scripted"]
    assert [one["input_tokens"] for one in facts(tmp_path / "home", "llm_request")] == [3]
    for action in ("mcp_sampling", "llm_request"):
        assert "say what you hear" not in json.dumps(records(tmp_path / "home", action))


def test_a_server_is_told_that_there_is_no_model(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        await serve(kernel, talk(tmp_path), tool="echo")
        answer = await asks(kernel, "sampling/createMessage", PROMPT)
        assert answer["error"]["data"]["code"] == "model.none"
        assert "no capsule here offers a model" in answer["error"]["message"]

    run(work)


@pytest.mark.slow
def test_a_shared_server_is_refused_when_nobody_can_tell_whom_to_ask(
    run: Run, tmp_path: Path
) -> None:
    async def work(kernel: Kernel) -> None:
        await serve(kernel, talk(tmp_path, extra="shared = true\n"), tool="echo")
        agent(tmp_path, "bob")
        front, bobs = Front(kernel), Front(kernel, principal=BOB)
        own = tmp_path / "home/home/default/.local/servers/talk/raw"
        first = asyncio.create_task(asks(kernel, *elicits(), waits=True, principal=BOB))
        await eventually((own / "asking").exists)
        second = asyncio.create_task(kernel.call_tool("echo", {"text": "meanwhile"}))
        await eventually(lambda: kernel.capsules()[0].stats()["calls"] == 2)
        await asyncio.sleep(0.3)  # it is on its way to the server
        (own / "go").touch()
        answer = await first
        assert answer["error"]["code"] == -32600
        assert "several principals" in answer["error"]["message"]
        assert front.heard == bobs.heard == []
        second.cancel()
        await asyncio.wait((second,))

    run(work)
