"""Public servers of both registries, started by the engine in the sandbox, and called."""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from astrid_core import Kernel
from astrid_core.kernel.install.sources import Source
from astrid_hookspecs.errors import CapabilityDeniedError
from tests.support.front import Front
from tests.support.mcp import profile, serve, write_servers
from tests.support.models import add_model
from tests.support.real_servers import from_npm, from_pypi
from tests.support.sandboxes import sandbox_or_skip

Run = Callable[..., Any]
CLOCK = Path(__file__).parents[2] / "examples" / "mcp" / "clock"
FETCH = ("--ignore-robots-txt", "--allow-private-ips")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def programs(request: pytest.FixtureRequest) -> Path:
    sandbox_or_skip()
    return Path(request.config.cache.mkdir("mcp-servers"))


def declared(
    directory: Path,
    name: str,
    program: Path,
    *arguments: str,
    network: bool = False,
    more: str = "",
) -> Any:
    args = json.dumps([*arguments])
    body = f'[[mcp_server]]\nid = "{name}"\ntype = "stdio"\ncommand = "{program}"\nargs = {args}\n'
    capabilities = f'host_process = ["{program}"]\n{more}' + ('net = ["*"]' if network else "")
    return write_servers(directory, f"real-{name}", body, capabilities=capabilities)


def test_time_from_pypi_one_tool_allowed_and_another_not(
    run: Run, tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{from_pypi(programs)}:{os.environ['PATH']}")

    async def work(kernel: Kernel) -> None:
        profile(tmp_path / "home", "bob", grants=["mcp:clock:time:convert_time"])
        (tmp_path / "home" / "home" / "bob").mkdir(mode=0o700)
        await serve(kernel, Source(CLOCK, "directory"), tool="convert_time")
        when = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
        result = await kernel.call_tool("convert_time", when, principal="bob")
        assert "T21:00:00+09:00" in result.content
        with pytest.raises(CapabilityDeniedError):
            await kernel.call_tool("get_current_time", {"timezone": "UTC"}, principal="bob")
        assert [tool.name for tool in kernel.tools("bob")] == ["convert_time"]

    run(work)


def test_git_from_pypi_works_on_a_repository_of_its_own(
    run: Run, tmp_path: Path, programs: Path
) -> None:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")

    async def work(kernel: Kernel) -> None:
        program = from_pypi(programs) / "mcp-server-git"
        await serve(kernel, declared(tmp_path / "c", "git", program), tool="git_status")
        own = tmp_path / "home" / "home" / "default" / ".local" / "servers" / "real-git" / "git"
        init = ["git", "init", "-q", str(own / "repo")]
        await asyncio.to_thread(subprocess.run, init, check=True)
        (own / "repo" / "new.txt").write_text("x")
        status = await kernel.call_tool("git_status", {"repo_path": str(own / "repo")})
        assert "new.txt" in status.content
        outside = await kernel.call_tool("git_status", {"repo_path": str(tmp_path / "home")})
        assert outside.is_error

    run(work)


@pytest.fixture
def page() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/plain")
            self.end_headers()
            self.wfile.write(b"the page that was asked for")

        def log_message(self, *_arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


@pytest.mark.parametrize("network", [True, False])
def test_fetch_from_pypi_reaches_what_it_may(
    run: Run, tmp_path: Path, programs: Path, page: str, *, network: bool
) -> None:
    config = tmp_path / "home" / "etc" / "config.toml"
    config.parent.mkdir(mode=0o700, parents=True)
    config.parent.parent.chmod(0o700)
    config.write_text('[processes]\nnetwork = "allow"\n')

    async def work(kernel: Kernel) -> None:
        program = from_pypi(programs) / "mcp-server-fetch"
        source = declared(tmp_path / "c", "fetch", program, *FETCH, network=network)
        await serve(kernel, source, tool="fetch")
        result = await kernel.call_tool("fetch", {"url": page, "raw": True})
        assert ("the page that was asked for" in result.content) is network

    run(work)


def needs_npm() -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")


def test_everything_from_npm(run: Run, tmp_path: Path, programs: Path) -> None:
    needs_npm()

    async def work(kernel: Kernel) -> None:
        program = from_npm(programs) / "mcp-server-everything"
        await serve(kernel, declared(tmp_path / "c", "all", program, "stdio"), tool="echo")
        assert "hello" in (await kernel.call_tool("echo", {"message": "hello"})).content
        image = await kernel.call_tool("get-tiny-image")
        assert "image" in [block["type"] for block in image.blocks]
        listed = await kernel.call_tool("all:list_resources")
        first = listed.structured["resources"][0]["uri"]
        assert (await kernel.call_tool("all:read_resource", {"uri": first})).content
        assert (await kernel.call_tool("all:list_prompts")).structured["prompts"]

    run(work)


def test_everything_from_npm_asks_a_person_and_a_model(
    run: Run, tmp_path: Path, programs: Path
) -> None:
    """Its form has a field of every kind that MCP knows."""
    needs_npm()
    may = 'mcp_elicitation = ["all"]\nmcp_sampling = ["all"]\n'
    values = {
        "name": "Ann",
        "check": "yes",
        "firstLine": "",
        "email": "ann@example.test",
        "homepage": "https://example.test/",
        "birthdate": "2000-02-29",
        "integer": "7",
        "number": "2.5",
        "untitledSingleSelectEnum": "Ross",
        "untitledMultipleSelectEnum": ["Piano", "Bass"],
        "titledSingleSelectEnum": "Superman",
        "titledMultipleSelectEnum": ["Tuna"],
        "legacyTitledEnum": "Dogs",
    }

    async def work(kernel: Kernel) -> None:
        await add_model(kernel, tmp_path / "m", provider="scripted")
        program = from_npm(programs) / "mcp-server-everything"
        source = declared(tmp_path / "c", "all", program, "stdio", more=may)
        await serve(kernel, source, tool="trigger-elicitation-request")
        says = ({"values" if isinstance(one, list) else "value": one} for one in values.values())
        front = Front(kernel, *says, {"decision": "approve"})
        filled = await kernel.call_tool("trigger-elicitation-request")
        assert [one["field"]["key"] for one in front.heard] == [f"all.{key}" for key in values]
        raw = json.loads(filled.content[filled.content.index("{") :])
        assert raw["action"] == "accept"
        assert "firstLine" not in raw["content"]
        assert raw["content"]["integer"] == 7
        assert raw["content"]["titledMultipleSelectEnum"] == ["fish-1"]
        assert raw["content"]["legacyTitledEnum"] == "pet-2"
        said = await kernel.call_tool("trigger-sampling-request", {"prompt": "and then?"})
        assert "and then?" in said.content
        assert '"model": "scripted"' in said.content

    run(work)


def test_memory_from_npm_remembers_for_each_principal(
    run: Run, tmp_path: Path, programs: Path
) -> None:
    needs_npm()

    async def work(kernel: Kernel) -> None:
        for who in ("ann", "bob"):
            profile(tmp_path / "home", who, grants=["mcp:real-memory:*"])
            (tmp_path / "home" / "home" / who).mkdir(mode=0o700)
        program = from_npm(programs) / "mcp-server-memory"
        body = '[env.MEMORY_FILE_PATH]\ntype = "text"\ndefault = "${SERVER_DIR}/memory.jsonl"\n'
        source = declared(tmp_path / "c", "memory", program)
        path = tmp_path / "c" / "Capsule.toml"
        path.write_text(path.read_text() + body)
        await serve(kernel, source, tool="create_entities")
        tea = {"name": "tea", "entityType": "drink", "observations": ["3 minutes"]}
        made = await kernel.call_tool("create_entities", {"entities": [tea]}, principal="ann")
        assert not made.is_error, made.content
        read = {who: (await kernel.call_tool("read_graph", principal=who)).content
                for who in ("ann", "bob")}  # fmt: skip
        assert "3 minutes" in read["ann"]
        assert "3 minutes" not in read["bob"]

    run(work)
