"""MCP servers of a manifest, through the whole kernel: real processes in the real sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from astrid_core import Kernel
from astrid_core.kernel.assembly import admin_of
from astrid_core.kernel.audit.places import AuditPlaces
from astrid_core.kernel.audit.reader import Query, entries
from astrid_hookspecs.errors import (
    ApprovalDeniedError,
    CapabilityDeniedError,
    CapsuleError,
    ComponentError,
    EngineError,
    GuestCancelledError,
    GuestTimeoutError,
    PolicyDeniedError,
    SecretNotFoundError,
    ToolError,
    ToolNotFoundError,
)
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, Principal
from tests.support.capsules import eventually, install
from tests.support.mcp import profile, serve, server, write_servers
from tests.support.sandboxes import sandbox_or_skip
from tests.support.secrets import VaultPlugin

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def confined() -> None:
    sandbox_or_skip()


ALL = ["mcp:talk:*"]


def talk(tmp_path: Path, *arguments: str, **options: Any) -> Any:
    """A capsule `talk` with one server `raw`."""
    capabilities = options.pop("capabilities", 'host_process = ["python3"]')
    one = server("raw", "raw.py", *arguments, **options)
    return write_servers(tmp_path / "c", "talk", one, capabilities=capabilities)


def recorded(home: Path, action: str) -> list[Any]:
    return list(entries(AuditPlaces(home / "var" / "audit"), Query(action=action)))


def test_a_tool_of_a_server_that_did_not_start_leads_to_the_log(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        broken = server("raw", "no-such-file.py")
        allowed = 'host_process = ["python3"]'
        with pytest.raises(CapsuleError):
            await install(
                kernel, write_servers(tmp_path / "c", "talk", broken, capabilities=allowed)
            )
        with pytest.raises(ToolNotFoundError, match="no server of 'talk'") as caught:
            await kernel.call_tool("talk.echo", {})
        assert "astrid logs talk" in (caught.value.hint or "")
        with pytest.raises(ToolNotFoundError, match="no loaded capsule"):
            await kernel.call_tool("other.echo", {})

    run(work)


def test_a_tool_of_a_server_is_listed_and_called(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        await serve(kernel, talk(tmp_path), tool="echo")
        (echo,) = [tool for tool in kernel.tools() if tool.name == "echo"]
        assert (echo.capsule, echo.server) == ("talk", "raw")
        assert echo.description == "Does echo."
        assert echo.input_schema["properties"] == {"text": {"type": "string"}}
        result = await kernel.call_tool("echo", {"text": "hello"})
        assert (result.content, result.is_error, result.capsule) == ("hello", False, "talk")
        assert (await kernel.call_tool("fail")).is_error
        assert (await kernel.call_tool("structured")).structured == {"n": 1}
        picture = await kernel.call_tool("image")
        assert [block["type"] for block in picture.blocks] == ["text", "image", "resource"]
        assert picture.content.splitlines()[0] == "a picture"

    run(work)


def test_the_memory_of_a_server_is_its_principals(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        for name in ("alice", "bob"):
            profile(tmp_path / "home", name, grants=ALL)
            (tmp_path / "home" / "home" / name).mkdir(mode=0o700)
        await serve(kernel, talk(tmp_path), tool="echo")
        await kernel.call_tool("echo", {"text": "x"}, principal="alice")
        (capsule,) = kernel._parts.capsules.all()
        used = dict(capsule.memory())
        assert used[Principal("alice")].current_bytes > 1024 * 1024
        assert used[Principal("alice")].peak_bytes == 0
        assert Principal("bob") not in used
        usage = admin_of(kernel._parts)._usage
        assert usage is not None
        assert usage(Principal("alice"))["memory_bytes"] > 1024 * 1024
        assert usage(Principal("bob"))["memory_bytes"] == 0

    run(work)


def test_a_principal_sees_and_calls_what_it_has_the_right_to(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        profile(tmp_path / "home", "bob", grants=["mcp:talk:raw:echo"])
        (tmp_path / "home" / "home" / "bob").mkdir(mode=0o700)
        await serve(kernel, talk(tmp_path), tool="echo")
        assert [tool.name for tool in kernel.tools("bob")] == ["echo"]
        result = await kernel.call_tool("echo", {"text": "x"}, principal="bob")
        assert result.content == "x"
        with pytest.raises(CapabilityDeniedError) as caught:
            await kernel.call_tool("add_one", principal="bob")
        assert caught.value.rule == "mcp:talk:raw:add_one"

    run(work)
    home = tmp_path / "home"
    called = [(row["principal"], row["action"]["tool"]) for row in recorded(home, "mcp_tool_call")]
    assert called == [("bob", "echo")]
    (denied,) = recorded(home, "server.call")
    assert (denied["principal"], denied["outcome"]) == ("bob", "denied")


def test_a_tool_that_the_policy_lists_waits_for_a_person(run: Run, tmp_path: Path) -> None:
    etc = tmp_path / "home" / "etc"
    etc.mkdir(mode=0o700, parents=True)
    (tmp_path / "home").chmod(0o700)
    (etc / "config.toml").write_text(
        '[policy]\nenforce = true\napproval_required_tools = ["raw:echo"]\n'
        'blocked_tools = ["fail"]\n'
    )

    async def work(kernel: Kernel) -> None:
        await serve(kernel, talk(tmp_path), tool="echo")
        approvals = kernel._parts.principals.approvals

        async def answered(decision: str) -> Any:
            call = asyncio.ensure_future(kernel.call_tool("echo", {"text": "x"}))
            await eventually(lambda: approvals.pending() != [])
            (question,) = approvals.pending()
            assert (question.capsule, question.action) == ("talk", "call a tool")
            assert question.resource == "raw:echo"
            approvals.answer(question.id, decision, by=DEFAULT_PRINCIPAL)
            return await call

        with pytest.raises(ApprovalDeniedError):
            await answered("deny")
        assert recorded(tmp_path / "home", "mcp_tool_call") == []
        assert (await answered("approve_session")).content == "x"
        assert (await kernel.call_tool("echo", {"text": "y"})).content == "y"
        assert (await kernel.call_tool("structured")).structured == {"n": 1}
        with pytest.raises(PolicyDeniedError) as caught:
            await kernel.call_tool("fail")
        assert caught.value.rule == "policy:astrid-core:blocked_tools:fail"

    run(work)


@pytest.mark.slow
def test_a_call_that_is_given_up_asks_nobody_any_more(run: Run, tmp_path: Path) -> None:
    etc = tmp_path / "home" / "etc"
    etc.mkdir(mode=0o700, parents=True)
    (tmp_path / "home").chmod(0o700)
    (etc / "config.toml").write_text(
        '[policy]\nenforce = true\napproval_required_tools = ["raw"]\n'
    )

    async def work(kernel: Kernel) -> None:
        await serve(kernel, talk(tmp_path), tool="echo")
        approvals = kernel._parts.principals.approvals
        with pytest.raises(ToolError):
            await kernel.call_tool("echo", {"text": "x"}, timeout_s=0.3)
        await eventually(lambda: approvals.pending() == [])

    run(work)


def test_tool_denied_when_a_pattern_is_revoked(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        profile(tmp_path / "home", "bob", grants=ALL, revokes=["mcp:*:*:add_one"])
        await serve(kernel, talk(tmp_path), tool="echo")
        assert "add_one" not in [tool.name for tool in kernel.tools("bob")]
        with pytest.raises(CapabilityDeniedError) as caught:
            await kernel.call_tool("add_one", principal="bob")
        assert caught.value.rule == "revokes:mcp:*:*:add_one"

    run(work)


@pytest.mark.parametrize(
    ("shared", "counts"), [("", ["1", "2", "1"]), ("shared = true\n", ["1", "2", "3"])]
)
@pytest.mark.slow
def test_each_principal_has_a_process_of_its_own_unless_it_is_shared(
    run: Run, tmp_path: Path, shared: str, counts: list[str]
) -> None:
    async def work(kernel: Kernel) -> None:
        for who in ("ann", "bob"):
            profile(tmp_path / "home", who, grants=ALL)
            (tmp_path / "home" / "home" / who).mkdir(mode=0o700)
        await serve(kernel, talk(tmp_path, extra=shared), tool="echo")
        found = [(await kernel.call_tool("add_one", principal=who)).content
                 for who in ("ann", "ann", "bob")]  # fmt: skip
        assert found == counts

    run(work)


def test_a_principal_without_a_home_gets_no_process(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        profile(tmp_path / "home", "ghost", grants=ALL)
        await serve(kernel, talk(tmp_path), tool="echo")
        with pytest.raises(Exception, match="has no home"):
            await kernel.call_tool("echo", principal="ghost")

    run(work)


async def refused_after_a_death(kernel: Kernel) -> str:
    """The code of a call made in the pause after a server died.

    Each pause is longer than the last, so that a slow machine is in time for one of them.
    """
    for _ in range(5):
        with pytest.raises(EngineError):
            await kernel.call_tool("die")
        try:
            await kernel.call_tool("echo", {"text": "too late"})
        except EngineError as error:
            return error.code
    return "never refused"


@pytest.mark.slow
def test_a_server_that_dies_in_a_call_is_a_typed_error_and_is_started_again(
    run: Run, tmp_path: Path
) -> None:
    async def work(kernel: Kernel) -> None:
        await serve(kernel, talk(tmp_path), tool="echo")
        with pytest.raises(EngineError, match="ended with status 3") as caught:
            await kernel.call_tool("die")
        assert caught.value.code == "engine.server.ended"
        assert (await kernel.call_tool("echo", {"text": "again"})).content == "again"
        assert await refused_after_a_death(kernel) == "engine.server.backoff"
        for _ in range(100):
            with contextlib.suppress(EngineError):
                assert (await kernel.call_tool("echo", {"text": "third"})).content == "third"
                break
            await asyncio.sleep(0.1)
        else:
            pytest.fail("it was not started again")

    run(work)
    home = tmp_path / "home"
    assert len(recorded(home, "server_started")) >= 3
    assert "status 3" in recorded(home, "server_stopped")[0]["action"]["reason"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tool", "why"),
    [("garbage", "no messages"), ("huge", "more than 8 MiB"), ("flood", "messages a second")],
)
def test_a_server_that_says_too_much_is_ended(
    run: Run, tmp_path: Path, tool: str, why: str
) -> None:
    async def work(kernel: Kernel) -> None:
        await serve(kernel, talk(tmp_path), tool="echo")
        with pytest.raises(EngineError, match=why) as caught:
            await kernel.call_tool(tool)
        assert caught.value.code == "engine.server.ended"
        assert (await kernel.call_tool("echo", {"text": "fine"})).content == "fine"

    run(work)


@pytest.mark.slow
def test_a_server_that_hangs_costs_one_call(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        (tmp_path / "home" / "home" / "bob").mkdir(mode=0o700)
        profile(tmp_path / "home", "bob", grants=ALL)
        path = tmp_path / "home" / "etc" / "profiles" / "bob.toml"
        path.write_text(path.read_text() + "[quotas]\nmax_timeout_secs = 1\n")
        await serve(kernel, talk(tmp_path), tool="echo")
        with pytest.raises(GuestTimeoutError):
            await kernel.call_tool("hang", principal="bob")
        waiting = asyncio.create_task(kernel.call_tool("hang"))
        await asyncio.sleep(0.3)
        waiting.cancel()
        with pytest.raises((asyncio.CancelledError, GuestCancelledError)):
            await waiting

    run(work)


@pytest.mark.slow
def test_a_server_hears_that_a_call_is_cancelled(run: Run, tmp_path: Path) -> None:
    own = tmp_path / "home" / "home" / "default" / ".local" / "servers" / "talk" / "raw"

    async def work(kernel: Kernel) -> None:
        await serve(kernel, talk(tmp_path), tool="echo")
        with pytest.raises(ToolError) as caught:
            await kernel.call_tool("wait", timeout_s=0.3)
        assert caught.value.code == "tool.timeout"
        await eventually((own / "cancelled").exists)
        assert (await kernel.call_tool("echo", {"text": "fine"})).content == "fine"
        assert kernel.capsules()[0].stats()["starts"] == 1

    run(work)


@pytest.mark.parametrize(
    ("method", "params", "said"),
    [
        ("sampling/createMessage", {"messages": [], "maxTokens": 1}, "error"),
        ("elicitation/create", {"message": "Your password?", "requestedSchema": {}}, "error"),
        ("roots/list", {}, "/.local/servers/talk/raw"),
    ],
)
def test_what_a_server_asks_is_answered_or_refused(
    run: Run, tmp_path: Path, method: str, params: dict[str, Any], said: str
) -> None:
    async def work(kernel: Kernel) -> None:
        await serve(kernel, talk(tmp_path), tool="echo")
        answer = await kernel.call_tool("ask", {"text": json.dumps([method, params])})
        assert said in answer.content
        if said == "error":
            assert "result" not in json.loads(answer.content)

    run(work)


@pytest.mark.slow
def test_nothing_that_a_server_started_outlives_it(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        await serve(kernel, talk(tmp_path), tool="echo")
        await kernel.call_tool("fork")
        await eventually(lambda: len(children()) == 20)
        with pytest.raises(EngineError):
            await kernel.call_tool("die")
        await eventually(lambda: not children())
        await kernel.call_tool("fork")

    run(work)
    asyncio.run(eventually(lambda: not children()))


def children() -> list[int]:
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                line = Path(entry.path, "cmdline").read_bytes()
            except OSError:
                continue
            if b"astrid-test-child" in line and b"-c" in line.split(b"\0"):
                found.append(int(entry.name))
    # bwrap's own processes carry no argument of the child; what is left are the children
    return found


def test_what_a_server_writes_and_reads_is_confined(run: Run, tmp_path: Path) -> None:
    secret = Path.home() / ".netrc"

    async def work(kernel: Kernel) -> None:
        await serve(kernel, talk(tmp_path), tool="echo")
        assert (await kernel.call_tool("write", {"text": "note.txt"})).content == "written"
        for place in ("/etc/astrid-was-here", str(tmp_path / "home" / "etc" / "x"), str(secret)):
            outcome = await kernel.call_tool("write", {"text": place})
            assert outcome.is_error, place
        outcome = await kernel.call_tool(
            "read", {"text": str(tmp_path / "home" / "keys" / "runtime.key")}
        )
        assert outcome.is_error
        listener = socket.create_server(("127.0.0.1", 0))
        try:
            port = str(listener.getsockname()[1])
            assert (await kernel.call_tool("network", {"text": port})).is_error
        finally:
            listener.close()
        told = json.loads((await kernel.call_tool("environment")).content)
        assert not {name for name in told if name.startswith(("ASTRID_", "PYTEST", "VIRTUAL"))}

    run(work)
    own = tmp_path / "home" / "home" / "default" / ".local" / "servers" / "talk" / "raw"
    assert (own / "note.txt").read_text() == "written"


def test_settings_reach_a_server_by_name_and_blocked_ones_do_not(run: Run, tmp_path: Path) -> None:
    texts = {"ZONE": "UTC", "LD_PRELOAD": "/x.so", "OTHER": "no"}
    variables = "".join(
        f'[env.{key}]\ntype = "text"\ndefault = "{text}"\n' for key, text in texts.items()
    )

    async def work(kernel: Kernel) -> None:
        one = server("raw", extra='env = ["ZONE", "LD_PRELOAD"]\n') + variables
        await serve(kernel, write_servers(tmp_path / "c", "talk", one), tool="echo")
        told = json.loads((await kernel.call_tool("environment")).content)
        assert told["ZONE"] == "UTC"
        assert not {"LD_PRELOAD", "OTHER"} & told.keys()

    run(work)


def test_a_secret_reaches_the_server_of_its_principal_and_no_record(
    run: Run, tmp_path: Path
) -> None:
    word = "hunter2-of-ann"
    plugin = VaultPlugin()
    plugin.vault.set("default/talk", "TOKEN", b"the owner's")
    plugin.vault.set("ann/talk", "TOKEN", word.encode())

    async def work(kernel: Kernel) -> None:
        for who in ("ann", "bob"):
            profile(tmp_path / "home", who, grants=ALL)
            (tmp_path / "home" / "home" / who).mkdir(mode=0o700)
        one = server("raw", extra='env = ["TOKEN"]\n') + '[env.TOKEN]\ntype = "secret"\n'
        await serve(kernel, write_servers(tmp_path / "c", "talk", one), tool="echo")
        told = await kernel.call_tool("environment", principal="ann")
        assert json.loads(told.content)["TOKEN"] == word
        with pytest.raises(SecretNotFoundError):
            await kernel.call_tool("echo", principal="bob")

    run(work, plugins=[plugin])
    for place in ("var/audit", "home/ann/.local/log", "var/engines"):
        for path in (tmp_path / "home" / place).rglob("*"):
            assert path.is_dir() or word.encode() not in path.read_bytes(), path


def test_server_denied_when_the_manifest_does_not_list_its_command(
    run: Run, tmp_path: Path
) -> None:
    async def work(kernel: Kernel) -> None:
        with pytest.raises(CapsuleError, match="may not start 'python3'"):
            await install(kernel, talk(tmp_path, capabilities='host_process = ["python"]'))
        assert kernel.denials()[-1].rule == "host_process"

    run(work)


@pytest.mark.parametrize(("mode", "why"), [("exit", "status 4")])
def test_a_server_that_does_not_start_fails_the_load(
    run: Run, tmp_path: Path, mode: str, why: str
) -> None:
    async def work(kernel: Kernel) -> None:
        with pytest.raises(CapsuleError, match=why):
            await install(kernel, talk(tmp_path, mode))

    run(work)


@pytest.mark.parametrize(
    "body",
    [
        '[[mcp_server]]\nid = "a b"\ntype = "stdio"\ncommand = "python3"\n',
        '[[mcp_server]]\nid = "a"\ntype = "stdio"\n',
        '[[mcp_server]]\nid = "a"\ntype = "http"\n',
        server("a") + server("a"),
    ],
)
def test_a_declaration_that_cannot_work_fails_the_load(run: Run, tmp_path: Path, body: str) -> None:
    async def work(kernel: Kernel) -> None:
        with pytest.raises(ComponentError) as caught:
            await install(kernel, write_servers(tmp_path / "c", "talk", body))
        assert caught.value.code == "engine.component.server"

    run(work)


@pytest.mark.slow
def test_tools_are_there_at_once_after_a_restart_and_gone_after_removal(
    run: Run, tmp_path: Path
) -> None:
    async def first(kernel: Kernel) -> None:
        await serve(kernel, talk(tmp_path), tool="echo")

    async def second(kernel: Kernel) -> None:
        assert "echo" in [tool.name for tool in kernel.tools()]
        assert kernel.capsules()[0].stats()["starts"] == 0
        assert (await kernel.call_tool("echo", {"text": "x"})).content == "x"
        await kernel.remove("talk")
        assert kernel.tools() == []
        with pytest.raises(ToolNotFoundError):
            await kernel.call_tool("echo")

    run(first)
    run(second)


def test_progress_is_told_on_the_bus(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        await serve(kernel, talk(tmp_path), tool="echo")
        heard = kernel.subscribe("tool.v1.execute.progress.progress")
        try:
            assert (await kernel.call_tool("progress")).content == "done"
            said = [
                json.loads(message.payload) for message in heard.take(max_bytes=1 << 20).messages
            ]
        finally:
            heard.close()
        assert [one["progress"] for one in said] == [1, 2, 3]
        assert said[0]["message"] == "step 1"

    run(work)


@pytest.mark.slow
def test_odd_progress_is_left_out_or_cut_short(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def work(kernel: Kernel) -> None:
        await serve(kernel, talk(tmp_path), tool="echo")
        heard = kernel.subscribe("tool.v1.execute.odd_progress.progress")
        try:
            assert (await kernel.call_tool("odd_progress")).content == "done"
            said = [
                json.loads(message.payload) for message in heard.take(max_bytes=1 << 20).messages
            ]
        finally:
            heard.close()
        assert [(one["progress"], one["total"]) for one in said] == [(1, None), (3, 3)]
        assert [len(one["message"]) for one in said] == [4096, 3]

    run(work)
    assert "Traceback" not in capsys.readouterr().err


def test_resources_and_prompts_are_tools(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        await serve(kernel, talk(tmp_path, "extras"), tool="raw:read_resource")
        listed = await kernel.call_tool("raw:list_resources")
        assert [one["uri"] for one in listed.structured["resources"]] == [
            "memo://one",
            "memo://two",
        ]
        read = await kernel.call_tool("raw:read_resource", {"uri": "memo://one"})
        assert read.content == "content of memo://one"
        prompt = await kernel.call_tool(
            "raw:get_prompt", {"name": "greet", "arguments": {"who": "Eve"}}
        )
        assert prompt.content == "Hi Eve"

    run(work)
    (read,) = recorded(tmp_path / "home", "mcp_resource_read")
    assert (read["action"]["server"], read["action"]["uri"]) == ("talk:raw", "memo://one")
    (made,) = recorded(tmp_path / "home", "mcp_prompt_get")
    assert made["action"]["name"] == "greet"


@pytest.mark.slow
def test_an_evicted_process_is_started_again_without_a_pause(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        await serve(kernel, talk(tmp_path), tool="echo")
        (part,) = kernel.capsules()[0].parts
        for expected in ("1", "1", "1"):
            assert (await kernel.call_tool("add_one")).content == expected
            part.evict(DEFAULT_PRINCIPAL)
            await eventually(lambda: part.stats()["instances"] == 0)
        assert (part.stats()["starts"], part.stats()["ends"]) == (3, 0)

    run(work)


@pytest.mark.slow
def test_the_least_used_process_makes_room(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("astrid_engine_mcp.bounds.PROCESSES", 2)

    async def work(kernel: Kernel) -> None:
        for who in ("ann", "bob"):
            profile(tmp_path / "home", who, grants=ALL)
            (tmp_path / "home" / "home" / who).mkdir(mode=0o700)
        await serve(kernel, talk(tmp_path), tool="echo")
        found = [(await kernel.call_tool("add_one", principal=who)).content
                 for who in ("default", "ann", "ann", "bob", "ann", "default")]  # fmt: skip
        assert found == ["1", "1", "2", "1", "3", "1"]

    run(work)


@pytest.mark.slow
def test_a_capsule_of_many_servers_starts_a_few_at_a_time(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("astrid_engine_mcp.capsule.STARTS", 2)
    silent = [server(f"s{number}", "raw.py", "silent") for number in range(8)]

    async def work(kernel: Kernel) -> None:
        installing = asyncio.create_task(
            install(kernel, write_servers(tmp_path / "c", "x", *silent))
        )
        await eventually(lambda: bool(kernel.capsules()), timeout_s=20)
        (part,) = kernel.capsules()[0].parts
        await eventually(lambda: part.stats()["starts"] == 2, timeout_s=20)
        await asyncio.sleep(0.5)
        assert part.stats()["instances"] == 2
        installing.cancel()
        await asyncio.gather(installing, return_exceptions=True)

    run(work)


@pytest.mark.slow
def test_a_log_that_is_flooded_stays_short(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        await serve(kernel, talk(tmp_path), tool="echo")
        assert (await kernel.call_tool("complain")).content == "said"
        await asyncio.sleep(0.2)

    run(work)
    directory = tmp_path / "home" / "home" / "default" / ".local" / "log" / "talk"
    lines = [line for path in directory.glob("*.log") for line in path.read_text().splitlines()]
    assert 50 < len(lines) < 1000
    assert any("lines were left out" in line for line in lines)


def test_what_a_server_logs_is_in_the_log_of_its_capsule(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        await serve(kernel, talk(tmp_path), tool="echo")
        await kernel.call_tool("log", {"text": "mark \x1b[31m red"})
        await asyncio.sleep(0.2)

    run(work)
    directory = tmp_path / "home" / "home" / "default" / ".local" / "log" / "talk"
    text = "".join(path.read_text() for path in directory.glob("*.log"))
    assert "raw: mark \\x1b[31m red" in text or "raw: mark \\u001b[31m red" in text
