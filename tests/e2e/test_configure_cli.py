"""What a capsule still lacks: `astrid capsule configure`, and the first use on a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import wasmtime

from tests.support.guests import ECHO
from tests.support.shell import PATIENCE_S, STORE_PLUGIN, Shell, add_plugin, on_terminal

MANIFEST = """
[package]
name = "echoes"
version = "1.0.0"
[[component]]
file = "guest.wasm"
[publish]
"tool.v1.execute.echo.result" = { wit = "opaque" }
[subscribe]
"tool.v1.execute.echo" = { wit = "opaque", handler = "tool_execute_echo" }
[env.region]
type = "select"
request = "Region"
enum_values = ["eu", "us"]
[env.token]
type = "secret"
request = "Access token"
"""
pytestmark = pytest.mark.slow
WORD = "hunter2-once-more"
CALL = ("echoes.echo", '{"text": "hi"}')


@pytest.fixture
def astrid(tmp_path: Path) -> Shell:
    """A shell with a capsule that has lost its answers."""
    shell = Shell(tmp_path)
    add_plugin(shell, "plainsecrets", STORE_PLUGIN)
    source = tmp_path / "src"
    source.mkdir()
    (source / "Capsule.toml").write_text(MANIFEST)
    (source / "guest.wasm").write_bytes(bytes(wasmtime.wat2wasm(ECHO.read_text())))
    options = ("--var", "region=eu", "--var", f"token={WORD}")
    ended = shell("capsule", "install", str(source), "--yes", *options)
    assert ended.status == 0, ended.stderr
    settings(shell).unlink()
    (shell.home / "secrets/plain/default_echoes/token").unlink()
    return shell


def settings(astrid: Shell) -> Path:
    return astrid.home / "home/default/.config/env/echoes.env.json"


def kept(astrid: Shell) -> tuple[object, bytes]:
    secret = (astrid.home / "secrets/plain/default_echoes/token").read_bytes()
    return json.loads(settings(astrid).read_text()), secret


def test_answers_are_given_and_changed_without_a_daemon(astrid: Shell) -> None:
    ended = astrid("capsule", "configure", "echoes", "--json")
    assert ended.status == 6
    assert "region, token" in ended.json["error"]["message"]
    ended = astrid("capsule", "configure", "echoes", "--var", "region=us", "--json")
    assert ended.json == {"name": "echoes", "missing": ["token"]}
    assert "still lacks token" in ended.stderr
    ended = astrid("capsule", "configure", "echoes", "--var", "region=mars")
    assert ended.status == 1
    with on_terminal(astrid, "capsule", "configure", "echoes") as (process, talk):
        talk(r"Access token \(hidden\): ", f"{WORD}\n")
        shown = talk(r"has all it asks for")
        assert process.wait(PATIENCE_S) == 0
    assert WORD not in shown
    assert kept(astrid) == ({"region": "us"}, WORD.encode())
    assert astrid("capsule", "configure", "nobody", "--var", "a=b").status == 1


@pytest.mark.parametrize("command", [("configure", "echoes"), ("run", "echoes", "echo")])
def test_one_ctrl_c_at_a_question_ends_the_command(astrid: Shell, command: tuple[str, ...]) -> None:
    with on_terminal(astrid, "capsule", *command) as (process, talk):
        talk(r"number: ", "\x03")
        assert process.wait(PATIENCE_S) == 130
    assert not settings(astrid).exists()


def test_the_first_use_on_a_terminal_asks(astrid: Shell) -> None:
    ended = astrid("capsule", "run", "echoes", "echo", "--args", '{"text": "hi"}')
    assert ended.status == 0, ended.stderr
    assert "echoes lacks region, token: astrid capsule configure echoes" in ended.stderr
    run = ("capsule", "run", "echoes", "echo", "--args", '{"text": "hi"}')
    with on_terminal(astrid, *run) as (process, talk):
        talk(r"number: ", "2\n")
        talk(r"Access token \(hidden\): ", f"{WORD}\n")
        talk(r"hi")
        assert process.wait(PATIENCE_S) == 0
    assert kept(astrid) == ({"region": "us"}, WORD.encode())
    assert "lacks" not in astrid(*run).stderr


def test_the_first_use_by_way_of_a_daemon_asks(astrid: Shell) -> None:
    assert astrid("start").status == 0
    try:
        assert astrid("call", *CALL).status == 0
        with on_terminal(astrid, "call", *CALL) as (process, talk):
            talk(r"number: ", "2\n")
            talk(r"Access token \(hidden\): ", f"{WORD}\n")
            talk(r"hi")
            assert process.wait(PATIENCE_S) == 0
        assert kept(astrid) == ({"region": "us"}, WORD.encode())
        ended = astrid("capsule", "configure", "echoes", "--var", "region=eu", "--json")
        assert ended.json == {"name": "echoes", "missing": []}
        assert kept(astrid) == ({"region": "eu"}, WORD.encode())
    finally:
        astrid("stop")
    rows = astrid("audit", "query", "--json").json
    assert WORD not in json.dumps(rows)
    assert "capsule.configure" in [row["action"]["type"] for row in rows]


def test_an_installation_while_a_daemon_runs(astrid: Shell) -> None:
    """The daemon installs and loads; this process asks for consent and answers."""
    source = astrid.root / "live"
    source.mkdir()
    (source / "Capsule.toml").write_text(MANIFEST.replace('"echoes"', '"lives"'))
    (source / "guest.wasm").write_bytes((astrid.root / "src/guest.wasm").read_bytes())
    assert astrid("capsule", "remove", "echoes").status == 0  # there is one tool of a name
    assert astrid("start").status == 0
    try:
        refused = astrid("capsule", "install", str(source), "--json")
        assert refused.status == 6
        assert "region, token" in refused.json["error"]["message"]
        with on_terminal(astrid, "capsule", "install", str(source)) as (process, talk):
            talk(r"\[y/N\] ", "y\n")
            talk(r"number: ", "2\n")
            talk(r"Access token \(hidden\): ", f"{WORD}\n")
            shown = talk(r"installed lives 1\.0\.0")
            assert process.wait(PATIENCE_S) == 0
        assert WORD not in shown
        assert astrid("call", "lives.echo", '{"text": "hi"}').stdout == "hi\n"
        text = (source / "Capsule.toml").read_text().replace("1.0.0", "1.1.0")
        (source / "Capsule.toml").write_text(text)
        again = astrid("capsule", "install", str(source), "--yes", "--json")
        assert (again.json["outcome"], again.json["loaded"]) == ("upgraded", True)
        project = ("capsule", "install", str(source), "--yes", "--workspace", "--json")
        elsewhere = astrid(*project, cwd=source)
        assert elsewhere.json["error"]["code"] == "cli.workspace"
    finally:
        astrid("stop")
