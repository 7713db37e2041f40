"""`astrid mcp add`, `list`, `call`, `remove`, `import` and `config` in real processes."""

from __future__ import annotations

import json
import shutil
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from astrid_core.cli.mcp.clients import CLIENTS
from tests.support.commands import run_astrid
from tests.support.daemon import short_directory
from tests.support.mcp import SERVERS
from tests.support.sandboxes import sandbox_or_skip
from tests.support.shell import PATIENCE_S, Shell, on_terminal


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory() as made:
        yield made


def astrid(directory: Path, *arguments: str, status: int = 0) -> Any:
    environment = {"ASTRID_HOME": str(directory / "h"), "NO_COLOR": "1"}
    ended = run_astrid(*arguments, cwd=directory, env=environment)
    assert ended.returncode == status, ended.stdout + ended.stderr
    return ended


def configured(directory: Path) -> dict[str, Any]:
    text = (directory / "h/etc/servers.toml").read_text()
    found: dict[str, Any] = tomllib.loads(text)["servers"]
    return found


def listed(directory: Path) -> dict[str, dict[str, Any]]:
    rows = json.loads(astrid(directory, "mcp", "list", "--json").stdout)
    return {row["name"]: row for row in rows}


@pytest.mark.slow
def test_a_server_is_added_called_and_removed_while_the_daemon_runs(directory: Path) -> None:
    sandbox_or_skip()
    astrid(directory, "start")
    place = directory / "h/var/servers/talk"
    place.mkdir(mode=0o700, parents=True)
    shutil.copy(SERVERS / "raw.py", place)
    try:
        options = ["--env", "A=b", "--elicitation"]
        astrid(directory, "mcp", "add", "talk", *options, "--", "python3", "./raw.py")
        assert configured(directory)["talk"]["args"] == ["./raw.py"]
        assert configured(directory)["talk"]["allow_elicitation"] is True
        assert "allow_sampling" not in configured(directory)["talk"]
        for _ in range(100):
            if listed(directory)["talk"]["tools"]:
                break
            time.sleep(0.1)
        assert listed(directory)["talk"]["state"] == "ready"
        called = astrid(directory, "mcp", "call", "talk", "echo", '{"text": "hello"}')
        assert called.stdout.strip() == "hello"
        schema = {"type": "object", "properties": {"name": {"type": "string", "default": "x"}}}
        asks = ["elicitation/create", {"message": "Who?", "requestedSchema": schema}]
        asked = json.dumps({"text": json.dumps(asks)})
        began = time.monotonic()
        said = astrid(directory, "mcp", "call", "talk", "ask", asked).stdout  # nobody is there
        assert json.loads(said)["result"] == {"action": "cancel"}
        assert time.monotonic() - began < 60
        tools = json.loads(astrid(directory, "mcp", "tools", "--json").stdout)
        assert "talk__echo" in {tool["served_as"] for tool in tools}
        shown = json.loads(astrid(directory, "mcp", "inspect", "talk").stdout)
        assert "echo" in {tool["name"] for tool in shown["tools"]}
        astrid(directory, "mcp", "remove", "talk", "--yes")
        assert listed(directory) == {}
        astrid(directory, "mcp", "remove", "talk", "--yes", status=1)
    finally:
        astrid(directory, "stop")


@pytest.mark.slow
def test_comments_of_the_operator_stay(directory: Path) -> None:
    astrid(directory, "mcp", "add", "one", "--", "true")
    path = directory / "h/etc/servers.toml"
    path.write_text("# mine\n" + path.read_text().replace("command", "# why\ncommand"))
    astrid(directory, "mcp", "add", "two", "https://search.example/mcp", "--secret", "TOKEN")
    text = path.read_text()
    assert "# mine" in text
    assert "# why" in text
    assert configured(directory)["two"] == {
        "transport": "http",
        "url": "https://search.example/mcp",
        "secrets": ["TOKEN"],
    }
    path.write_text(text + "\n[servers.three]\ntrusted = true\n")
    before = path.read_text()
    refused = astrid(directory, "mcp", "add", "four", "--", "true", status=1)
    assert "trusted is not used" in refused.stderr
    assert path.read_text() == before


@pytest.mark.slow
def test_servers_of_another_client_are_taken_over(directory: Path) -> None:
    file = directory / "mcp.json"
    file.write_text(
        json.dumps(
            {
                "mcpServers": {
                    "My Time": {
                        "command": "mcp-server-time",
                        "args": ["--x"],
                        "env": {"K": "v3ry"},
                    },
                    "web": {"url": "https://search.example/mcp"},
                }
            }
        )
    )
    astrid(directory, "mcp", "import", str(file))
    assert set(configured(directory)) == {"my-time", "web"}
    assert configured(directory)["my-time"]["secrets"] == ["K"]
    assert "v3ry" not in (directory / "h/etc/servers.toml").read_text()
    secrets = json.loads(astrid(directory, "secret", "list", "--json").stdout)
    assert [(row["capsule"], row["key"]) for row in secrets] == [("my-time", "K")]
    again = astrid(directory, "mcp", "import", str(file))
    assert "--replace" in again.stderr


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"mcpServers": {"a": {}}}', '{"mcpServers": {"a": {"command": 3}}}']
)
def test_a_file_without_servers_is_refused(directory: Path, text: str) -> None:
    file = directory / "mcp.json"
    file.write_text(text)
    assert "no servers" in astrid(directory, "mcp", "import", str(file), status=1).stderr
    assert not (directory / "h/etc/servers.toml").exists()


@pytest.mark.parametrize("client", CLIENTS)
def test_a_snippet_is_what_its_client_reads(directory: Path, client: str) -> None:
    shown = astrid(directory, "mcp", "config", client, "--only", "notes.*", "--json").stdout
    text = json.loads(shown)["text"]
    if client == "codex":
        entry = tomllib.loads(text)["mcp_servers"]["astrid"]
        words = [entry["command"], *entry["args"]]
    elif client == "claude-code":
        words = text.split(" -- ")[1].split()
    else:
        (section,) = json.loads(text).values()
        words = [section["astrid"]["command"], *section["astrid"]["args"]]
    assert words[0].endswith("astrid")
    assert words[1:] == ["--principal", "default", "mcp", "serve", "--only", "notes.*"]


def test_an_unknown_client_is_told_what_is_known(directory: Path) -> None:
    assert "claude-desktop" in astrid(directory, "mcp", "config", "emacs", status=1).stderr


@pytest.mark.slow
def test_what_a_server_asks_is_asked_on_the_terminal_of_the_call(tmp_path: Path) -> None:
    sandbox_or_skip()
    shell = Shell(tmp_path)
    place = shell.home / "var/servers/talk"
    place.mkdir(mode=0o700, parents=True)
    shell.home.chmod(0o700)
    shutil.copy(SERVERS / "raw.py", place)
    options = ["mcp", "add", "talk", "--elicitation", "--", "python3", "./raw.py"]
    assert shell(*options).status == 0
    schema = {
        "type": "object",
        "properties": {"age": {"type": "integer"}, "pet": {"type": "string", "enum": ["cat"]}},
        "required": ["age", "pet"],
    }
    asks = ["elicitation/create", {"message": "Who is it?", "requestedSchema": schema}]
    asked = json.dumps({"text": json.dumps(asks)})
    try:
        assert shell("start").status == 0
        with on_terminal(shell, "mcp", "call", "talk", "ask", asked) as (process, talk):
            talk(r"talk asks: Who is it\? - age: ", "old\n")
            talk(r"- age: ", "41\n")  # asked again
            talk(r"number: ", "1\n")
            said = talk(r'"action": "accept"')
            assert process.wait(PATIENCE_S) == 0
        assert '"age": 41' in said
        assert '"pet": "cat"' in said
    finally:
        shell("stop")
