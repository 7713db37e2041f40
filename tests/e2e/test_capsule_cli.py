"""`astrid capsule` in real processes, on homes of their own: the transcripts T-23 to T-29."""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
import signal
import tarfile
from pathlib import Path
from typing import Any

import pytest

from astrid_hookspecs.exits import EXIT_NEEDS_ANSWER, EXIT_NOT_RUNNING
from tests.support.guests import slow_to_compile
from tests.support.shell import (
    PATIENCE_S,
    STORE_PLUGIN,
    Shell,
    add_plugin,
    on_terminal,
)

HOOKED = """(component
  (core module $M (func (export "ok")) (func (export "bad") unreachable))
  (core instance $m (instantiate $M))
  (func (export "astrid-install") (canon lift (core func $m "ok")))
  (func (export "astrid-upgrade") (canon lift (core func $m "bad"))))
"""
ENV = """
[env.name]
type = "text"
request = "Your name"
default = "guest"
[env.token]
type = "text"
request = "Access token"
[env.hosts]
type = "array"
request = "Hosts"
"""


@pytest.fixture
def astrid(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.mark.slow
def test_from_nothing_to_an_installed_capsule(astrid: Shell) -> None:
    """T-23 with the builder that needs no tool chain."""
    made = astrid("capsule", "new", "tick", "--kind", "wat")
    assert made.status == 0
    assert "astrid capsule install dist/tick.capsule" in made.stdout
    project = astrid.workspace / "tick"
    assert astrid("capsule", "new", "tick", "--kind", "wat").status == 1
    assert astrid("capsule", "new", "tick", "--kind", "wat", "--force").status == 0
    assert astrid("capsule", "check", cwd=project).status == 0
    built = astrid("capsule", "build", "--json", cwd=project)
    assert built.status == 0
    archive = Path(built.json["path"])
    assert archive == project / "dist" / "tick.capsule"
    first = archive.read_bytes()
    assert astrid("capsule", "build", cwd=project).status == 0
    assert archive.read_bytes() == first
    installed = astrid("capsule", "install", "dist/tick.capsule", "--yes", "--json", cwd=project)
    assert installed.status == 0, installed.stderr
    assert installed.json["outcome"] == "installed"
    assert installed.json["requests"] == [{"kind": "intercept", "value": "tick.v1.event"}]
    again = astrid("capsule", "install", str(project), "--yes", "--json")
    assert again.json["outcome"] == "unchanged"
    assert astrid("capsule", "check", "tick").status == 0
    assert astrid("capsule", "list", "--json").json["capsules"][0]["name"] == "tick"
    shown = astrid("capsule", "show", "tick", "--json").json
    assert {"name", "version", "source", "wasm_hash", "installed_at", "updated_at", "manifest"} <= (
        set(shown)
    )
    assert astrid("capsule", "remove", "tick").status == 0
    assert astrid("capsule", "remove", "tick").status == 1
    assert astrid.installed == []


@pytest.mark.parametrize("name", ["Weather", "1x", "a--b", "a-", "a b", "../a", ""])
@pytest.mark.parametrize("kind", ["python", "wat"])
@pytest.mark.slow
def test_names_that_no_capsule_may_have(astrid: Shell, name: str, kind: str) -> None:
    assert astrid("capsule", "new", name, "--kind", kind).status == 1
    assert list(astrid.workspace.iterdir()) == []
    assert not (astrid.root / "a").exists()


@pytest.mark.slow
def test_python_project_is_checked_and_tested_without_a_build(astrid: Shell) -> None:
    """T-23 and T-24; the tutorial's test builds, installs and calls it."""
    assert astrid("capsule", "new", "weather").status == 0
    project = astrid.workspace / "weather"
    assert astrid("capsule", "check", cwd=project).status == 0
    assert astrid("capsule", "test", cwd=project).status == 0
    quiet = astrid("capsule", "test", "-q", "-k", "greets", cwd=project)
    assert "1 passed, 1 deselected" in quiet.stdout
    assert "session starts" not in quiet.stdout
    assert astrid("capsule", "test", ".", "--", "--no-such-option", cwd=project).status == 1
    (project / "tests" / "test_weather.py").write_text("def test_fails():\n    assert 1 == 2\n")
    assert astrid("capsule", "test", cwd=project).status == 1
    with (project / "Capsule.toml").open("a") as file:
        file.write('[subscribe]\n"tool.v1.execute.other" = { wit = "opaque", handler = "x" }\n')
    found = astrid("capsule", "check", "--json", cwd=project)
    assert found.status == 1
    assert found.json["findings"][0]["line"] > 0
    with (project / "src/weather/__init__.py").open("a") as file:
        file.write("\n\ndef later() -> str:\n    return fs.read_text('a.txt')\n")
        file.write("\n\nfrom astrid_sdk import fs\n")
    refused = astrid("capsule", "install", ".", "--yes", cwd=project)  # T-24
    assert refused.status == 1
    assert 'add fs_read = ["workspace://a.txt"] below [capabilities]' in refused.stderr


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(stream.getvalue())


def member(name: str, content: bytes = b"x", *, kind: bytes = tarfile.REGTYPE) -> Any:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = "/etc/passwd"
    return info, content if kind == tarfile.REGTYPE else b""


MANIFEST = member("Capsule.toml", b'[package]\nname = "evil"\nversion = "1.0.0"\n')


@pytest.mark.slow
@pytest.mark.parametrize(
    ("named", "members"),
    [
        pytest.param("escape", [member("/tmp/escape")], id="abs"),
        pytest.param("escape", [member("../../escape")], id="dotdot"),
        pytest.param("escape", [member("escape", kind=tarfile.SYMTYPE)], id="symlink"),
        pytest.param("escape", [member("escape", kind=tarfile.LNKTYPE)], id="hardlink"),
        pytest.param("escape", [member("escape", kind=tarfile.CHRTYPE)], id="device"),
        pytest.param("Capsule.toml", [MANIFEST], id="twice"),
        pytest.param("readme.md", [member("README.md"), member("readme.md")], id="case"),
        pytest.param("expands", [member("zeros", bytes(60 * 1024 * 1024))], id="bomb"),
    ],
)
def test_hostile_archives(astrid: Shell, named: str, members: list[Any]) -> None:
    """T-26."""
    archive = astrid.root / "evil.capsule"
    archive.write_bytes(tar(MANIFEST, *members))
    ended = astrid("capsule", "install", str(archive), "--yes")
    assert ended.status == 1
    assert named in ended.stderr
    assert astrid.installed == []
    assert not list(astrid.root.rglob("*escape*"))
    checked = astrid("capsule", "check", str(archive), "--json")
    assert checked.status == 1
    assert checked.json["findings"][0]["rule"].startswith("archive.")


@pytest.mark.slow
def test_failing_upgrade_changes_nothing(astrid: Shell) -> None:
    """T-27 with the real engine: the new version's upgrade hook traps."""
    component = '[[component]]\nfile = "hooked.wasm"\n'
    for version in ("1.0.0", "2.0.0"):
        astrid.capsule(
            "hooked",
            version=version,
            manifest=component,
            files={"hooked.wat": HOOKED, "note.md": version},
        )
    source = astrid.root / "src"
    assert astrid("capsule", "install", str(source / "hooked-1.0.0"), "--yes").status == 0
    ended = astrid("capsule", "install", str(source / "hooked-2.0.0"), "--yes")
    assert ended.status == 1
    assert "astrid-upgrade" in ended.stderr or "unreachable" in ended.stderr
    assert astrid("capsule", "show", "hooked", "--json").json["version"] == "1.0.0"
    assert astrid.installed == ["hooked"]


@pytest.mark.slow
def test_nobody_to_ask(astrid: Shell) -> None:
    """T-28."""
    asks = astrid.capsule("asks", manifest=ENV.replace('default = "guest"\n', ""))
    ended = astrid("capsule", "install", str(asks))
    assert ended.status == 6
    for key, question in (("name", "Your name"), ("token", "Access token"), ("hosts", "Hosts")):
        assert f"missing: {key} - {question}" in ended.stderr
    assert "--var" in ended.stderr
    assert astrid.installed == []
    net = astrid.capsule("needs-net", manifest='[capabilities]\nnet = ["example.org"]\n')
    ended = astrid("capsule", "install", str(net))
    assert ended.status == 6
    assert "connect to example.org over the network" in ended.stderr
    assert "--yes" in ended.stderr
    assert astrid.installed == []
    ended = astrid(
        "capsule",
        "install",
        str(asks),
        "--yes",
        "--var",
        "name=a",
        "--var",
        'hosts=["x","y"]',
        env={"ASTRID_VAR_TOKEN": "b"},
    )
    assert ended.status == 0, ended.stderr
    stored = json.loads((astrid.home / "home/default/.config/env/asks.env.json").read_text())
    assert stored == {"name": "a", "token": "b", "hosts": '["x", "y"]'}


@pytest.mark.slow
def test_upgrade_asks_for_the_difference(astrid: Shell) -> None:
    """T-28, last line."""
    grants = '[capabilities]\nnet = ["a.example"{}]\n'
    one = astrid.capsule("netty", manifest=grants.format(""))
    two = astrid.capsule("netty", version="1.1.0", manifest=grants.format(""))
    more = astrid.capsule("netty", version="1.2.0", manifest=grants.format(', "b.example"'))
    assert astrid("capsule", "install", str(one), "--yes").status == 0
    assert astrid("capsule", "install", str(two)).status == 0  # nothing new: no question
    ended = astrid("capsule", "install", str(more))
    assert ended.status == 6
    assert "b.example" in ended.stderr
    assert "a.example" not in ended.stderr


@pytest.mark.slow
def test_answers_on_a_terminal(astrid: Shell) -> None:
    """T-29."""
    asks = astrid.capsule("asks", manifest=ENV)
    with on_terminal(astrid, "capsule", "install", str(asks)) as (process, talk):
        talk(r"Your name \[guest\]: ", "\n")
        talk(r"Access token: ", "abc\n")
        talk(r"Hosts, one per line", "x\n")
        talk(r"  ", "y\n")
        talk(r"  ", "\n")
        talk(r"installed asks 1\.0\.0")
        assert process.wait(PATIENCE_S) == 0
    stored = json.loads((astrid.home / "home/default/.config/env/asks.env.json").read_text())
    assert stored == {"token": "abc", "hosts": '["x", "y"]'}


VAULT = '[env.TOKEN]\ntype = "secret"\nrequest = "Access token"\n'


@pytest.mark.slow
def test_secrets_are_typed_blind_and_kept_in_the_store(astrid: Shell) -> None:
    """T-29: the terminal shows no character of the secret."""
    source = astrid.capsule("vault", manifest=VAULT)
    add_plugin(astrid, "plainsecrets", STORE_PLUGIN)
    with on_terminal(astrid, "capsule", "install", str(source)) as (process, talk):
        asked = talk(r"\[y/N\] ", "y\n")
        assert "use the secret TOKEN" in asked
        talk(r"Access token \(hidden\): ", "hunter2\n")
        shown = talk(r"installed vault")
        assert process.wait(PATIENCE_S) == 0
    assert "hunter2" not in shown
    stored = astrid.home / "secrets" / "plain" / "default_vault" / "TOKEN"
    assert stored.read_bytes() == b"hunter2"
    holders = [p for p in astrid.home.rglob("*") if p.is_file() and b"hunter2" in p.read_bytes()]
    assert holders == [stored]
    assert astrid("capsule", "install", str(source)).status == 0  # the answer is remembered
    assert astrid("capsule", "remove", "vault", "--purge").status == 0
    assert not stored.exists()


def test_secrets_without_a_store_are_not_asked_for(astrid: Shell) -> None:
    assert astrid("plugins", "disable", "secrets-keychain").status == 0
    source = astrid.capsule("vault", manifest=VAULT)
    ended = astrid("capsule", "install", str(source), "--yes", "--json")
    assert ended.json["error"]["code"] == "secret.no-store"
    assert astrid.installed == []


@pytest.mark.parametrize(
    "text", ['{"name": "a", "token": "b", "hosts": ["x"]}', '# c\nname=a\ntoken=b\nhosts=["x"]\n']
)
@pytest.mark.slow
def test_answers_from_a_file(astrid: Shell, text: str) -> None:
    source = astrid.capsule("asks", manifest=ENV)
    file = astrid.root / "answers"
    file.write_text(text)
    ended = astrid("capsule", "install", str(source), "--yes", "--var-file", str(file))
    assert ended.status == 0, ended.stderr
    stored = json.loads((astrid.home / "home/default/.config/env/asks.env.json").read_text())
    assert stored == {"name": "a", "token": "b", "hosts": '["x"]'}


@pytest.mark.parametrize("text", ["{", "name", "=x"])
@pytest.mark.slow
def test_malformed_answer_files(astrid: Shell, text: str) -> None:
    file = astrid.root / "answers"
    file.write_text(text)
    source = astrid.capsule("asks", manifest=ENV)
    ended = astrid("capsule", "install", str(source), "--var-file", str(file), "--json")
    assert (ended.status, ended.json["error"]["code"]) == (1, "cli.variable")


@pytest.mark.slow
def test_wrong_choice_is_asked_again_three_times(astrid: Shell) -> None:
    """T-29, last line."""
    choice = '[env.mode]\ntype = "select"\nrequest = "Mode"\nenum_values = ["fast", "exact"]\n'
    source = astrid.capsule("choosy", manifest=choice)
    with on_terminal(astrid, "capsule", "install", str(source)) as (process, talk):
        for _ in range(3):
            talk(r"number: ", "99\n")
        talk(r"no usable answer for mode")
        assert process.wait(PATIENCE_S) == 1
    assert astrid.installed == []
    with on_terminal(astrid, "capsule", "install", str(source)) as (process, talk):
        talk(r"number: ", "2\n")
        talk(r"installed choosy")
    stored = json.loads((astrid.home / "home/default/.config/env/choosy.env.json").read_text())
    assert stored == {"mode": "exact"}


@pytest.mark.slow
def test_saying_no_and_ctrl_c_leave_nothing(astrid: Shell) -> None:
    source = astrid.capsule("needs-net", manifest='[capabilities]\nnet = ["example.org"]\n')
    with on_terminal(astrid, "capsule", "install", str(source)) as (process, talk):
        asked = talk(r"\[y/N\] ", "n\n")
        assert "connect to example.org" in asked
        talk(r"you said no")
        assert process.wait(PATIENCE_S) == 1
    assert astrid.installed == []
    with on_terminal(astrid, "capsule", "install", str(source)) as (process, talk):
        talk(r"\[y/N\] ", "\x03")
        assert process.wait(PATIENCE_S) == 130
    assert astrid.installed == []
    with on_terminal(astrid, "capsule", "install", str(source)) as (process, talk):
        talk(r"\[y/N\] ", "y\n")
        talk(r"installed needs-net")
        assert process.wait(PATIENCE_S) == 0


@pytest.mark.slow
def test_ctrl_c_while_it_compiles_installs_nothing(astrid: Shell) -> None:
    source = astrid.capsule("large", manifest='[[component]]\nfile = "large.wasm"\n')
    (source / "large.wasm").write_bytes(slow_to_compile())
    cache = astrid.home / "cache" / "wasm"
    with on_terminal(astrid, "capsule", "install", str(source), "--yes") as (process, talk):
        talk("compiling", "\x03")
        assert process.wait(PATIENCE_S) == 130
    assert astrid.installed == []
    assert list(cache.iterdir()) == []
    with on_terminal(astrid, "capsule", "install", str(source), "--yes") as (process, talk):
        talk("installed large")
        assert process.wait(PATIENCE_S) == 0


@pytest.mark.slow
def test_dependencies(astrid: Shell) -> None:
    """T-25."""
    store = astrid.capsule("session-store", manifest='[exports.astrid]\nsession = "1.0.0"\n')
    loop = astrid.capsule("agent-loop", manifest='[imports.astrid]\nsession = "^1"\n')
    first = astrid("capsule", "install", str(loop))
    assert first.status == 0
    assert "nothing installed provides astrid/session ^1" in first.stderr
    assert astrid("capsule", "install", str(store)).status == 0
    assert astrid("capsule", "tree", "--json").json["unsatisfied"] == []
    refused = astrid("capsule", "remove", "session-store")
    assert refused.status == 1
    assert "sole provider of astrid/session, needed by agent-loop" in refused.stderr
    assert astrid("capsule", "remove", "session-store", "--force").status == 0
    checked = astrid("capsule", "tree", "--check")
    assert checked.status == 1
    assert "Unsatisfied Imports" in checked.stdout
    assert astrid("capsule", "tree").status == 0
    local = astrid("capsule", "install", str(store), "--workspace", "--json")
    assert local.json["scope"] == "workspace"
    assert (astrid.workspace / ".astrid/capsules/session-store/meta.json").exists()
    assert astrid("capsule", "tree", "--check").status == 0
    assert astrid("capsule", "remove", "session-store").status == 1  # it is not the user's
    assert astrid("capsule", "remove", "session-store", "--workspace", "--force").status == 0


def test_tampering_is_refused_with_its_own_status(astrid: Shell) -> None:
    source = astrid.capsule("notes")
    astrid("capsule", "install", str(source))
    manifest = astrid.home / "home/default/.local/capsules/notes/Capsule.toml"
    manifest.write_text(manifest.read_text() + '[capabilities]\nhost_process = ["sh"]\n')
    for command in (["show", "notes"], ["check", "notes"], ["run", "notes", "any"]):
        ended = astrid("capsule", *command)
        assert ended.status == 7, (command, ended.stderr)
    listed = astrid("capsule", "list", "--json")
    assert listed.json["capsules"] == []
    assert listed.json["unusable"][0]["code"] == "integrity.tree"
    repaired = astrid("capsule", "install", str(source))
    assert repaired.status == 0
    assert astrid("capsule", "show", "notes").status == 0


@pytest.mark.slow
def test_second_process_is_told_who_holds_the_home(astrid: Shell) -> None:
    asks = astrid.capsule("asks", manifest=ENV)
    with on_terminal(astrid, "capsule", "install", str(asks)) as (process, talk):
        talk(r"Your name")
        refused = astrid("capsule", "install", str(asks), "--yes", "--json")
        assert refused.status == 1
        assert refused.json["error"]["code"] == "home.locked"
        assert str(process.pid) in refused.json["error"]["message"]
        assert astrid("capsule", "list").status == 0  # reading needs no lock


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["install", "@org/repo"], 1, "capsule.remote-source"),
        (["install", "./absent"], 1, "capsule.source"),
        (["show", "absent"], 1, "capsule.not-found"),
        (["show", "../x"], 1, "capsule.invalid-id"),
        (["remove", "absent"], 1, "capsule.not-found"),
        (["run", "absent", "tool"], 1, "tool.not-found"),
        (["run", "absent", "tool", "--args", "{"], 1, "tool.arguments"),
        (["run", "absent", "tool", "--args", "[]"], 1, "tool.arguments"),
        (["new", "x", "--kind", "cobol"], 1, "plugin.missing"),
        (["build", "absent"], 1, "capsule.source"),
        (["test", "absent"], 1, "capsule.source"),
        (["install"], 2, "cli.usage"),
        (["frobnicate"], 2, "cli.usage"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_are_json_on_a_clean_stdout(
    astrid: Shell, arguments: list[str], status: int, code: str
) -> None:
    ended = astrid("capsule", *arguments, "--json")
    assert (ended.status, ended.json["error"]["code"]) == (status, code)


@pytest.mark.parametrize(
    ("manifest", "files", "rule", "line"),
    [
        ("[unknown]\nx = 1\n", {}, "E-UNKNOWN", 4),
        ('[[component]]\nfile = "x.wasm"\n', {}, "file", None),
        ('[[component]]\nfile = "x.wasm"\n', {"x.wasm": "junk"}, "engine.component", None),
        ('[[skill]]\nname = "a"\nfile = "a.md"\n', {}, "missing-file", None),
    ],
    ids=["typo", "no-component", "bad-component", "no-file"],
)
def test_check_names_the_place(
    astrid: Shell, manifest: str, files: dict[str, str], rule: str, line: int | None
) -> None:
    source = astrid.capsule("checked", manifest=manifest, files=files)
    ended = astrid("capsule", "check", str(source), "--json")
    assert ended.status == 1
    finding = ended.json["findings"][0]
    assert finding["rule"].startswith(rule)
    assert finding["line"] == line
    assert finding["severity"] == "error"
    assert astrid("capsule", "check", str(source)).status == 1


@pytest.mark.slow
def test_development_loop(astrid: Shell) -> None:
    """Change a file, see the new version; break it, keep the old one; Ctrl-C ends."""
    example = Path(__file__).parents[2] / "examples" / "capsules" / "tally"
    project = astrid.workspace / "tally"
    shutil.copytree(example, project)
    manifest = project / "Capsule.toml"
    with on_terminal(astrid, "capsule", "dev", str(project), "--yes") as (process, talk):
        talk(r"tally \S+ is loaded \(installed\)")
        good = manifest.read_text()
        manifest.write_text(re.sub(r'version = "[^"]+"', 'version = "9.9.9"', good, count=1))
        talk(r"changed: Capsule\.toml")
        talk(r"tally 9\.9\.9 is loaded \(upgraded\)")
        manifest.write_text("[package\n")
        talk(r"keeps running")
        manifest.write_text(good)
        talk(r"is loaded \(upgraded\)")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
    assert astrid.installed == ["tally"]


@pytest.mark.slow
def test_one_ctrl_c_at_the_question_of_a_development_loop_ends_it(astrid: Shell) -> None:
    example = Path(__file__).parents[2] / "examples" / "capsules" / "tally"
    project = astrid.workspace / "tally"
    shutil.copytree(example, project)
    with on_terminal(astrid, "capsule", "dev", str(project)) as (process, talk):
        talk(r"\[y/N\] ", "\x03")
        assert process.wait(PATIENCE_S) == 0
    assert astrid.installed == []


@pytest.mark.slow
def test_a_development_loop_serves_other_terminals_until_it_is_stopped(astrid: Shell) -> None:
    project = _tally_project(astrid)
    with on_terminal(astrid, "capsule", "dev", str(project), "--yes") as (process, talk):
        talk(r"watching .*/tally")
        status = astrid("status", "--json")
        assert status.status == 0
        assert status.json["pid"] == process.pid
        assert "asking the running daemon" in astrid("capsule", "run", "tally", "nope").stderr
        assert astrid("stop").status == 0
        assert process.wait(PATIENCE_S) == 0
    assert astrid("status").status == EXIT_NOT_RUNNING


@pytest.mark.slow
def test_a_development_loop_begins_with_a_broken_project(astrid: Shell) -> None:
    """It waits for the next change; nobody has to start it again."""
    project = _tally_project(astrid)
    manifest = project / "Capsule.toml"
    good = manifest.read_text()
    manifest.write_text("[package\n")
    with on_terminal(astrid, "capsule", "dev", str(project), "--yes") as (process, talk):
        talk(r"nothing is loaded yet; the next change tries again")
        manifest.write_text(good)
        talk(r"is loaded \(installed\)")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
    assert astrid.installed == ["tally"]


@pytest.mark.slow
def test_a_development_loop_ends_where_no_change_helps(astrid: Shell) -> None:
    """Nobody can be asked for consent, or there is no project."""
    unasked = astrid("capsule", "dev", str(_tally_project(astrid)))
    assert unasked.status == EXIT_NEEDS_ANSWER
    (astrid.workspace / "empty").mkdir()
    assert "no builder knows" in astrid("capsule", "dev", "empty").stderr
    missing = astrid("capsule", "dev", "nowhere")
    assert (missing.status, "capsule new NAME" in missing.stderr) == (1, True)
    (astrid.workspace / "file").touch()
    assert "is a file" in astrid("capsule", "build", "file").stderr


def _tally_project(astrid: Shell) -> Path:
    project = astrid.workspace / "tally"
    shutil.copytree(Path(__file__).parents[2] / "examples" / "capsules" / "tally", project)
    return project


def test_every_command_has_an_example(astrid: Shell) -> None:
    leaves = astrid("commands", "--json").json
    ours = {leaf["command"] for leaf in leaves if leaf["command"].startswith("astrid capsule ")}
    assert {name.rpartition(" ")[2] for name in ours} >= {
        "new",
        "check",
        "build",
        "test",
        "dev",
        "install",
        "run",
        "list",
        "show",
        "tree",
        "remove",
    }
    assert all(leaf["example"].startswith("astrid") for leaf in leaves)


@pytest.mark.slow
def test_what_cannot_be_installed_is_named(astrid: Shell) -> None:
    (astrid.workspace / "odd.capsule").write_text("no archive")
    ended = astrid("capsule", "install", "odd.capsule", "--yes", "--json")
    assert ended.json["error"]["code"] == "capsule.archive.not-gzip"
    assert ended.json["error"]["message"].startswith("odd.capsule: ")
    (astrid.workspace / "d" / "Capsule.toml").mkdir(parents=True)
    assert "is a directory" in astrid("capsule", "install", "d", "--yes").stderr
    (astrid.workspace / "l").mkdir()
    (astrid.workspace / "l" / "Capsule.toml").symlink_to("Capsule.toml")
    assert "symbolic link to itself" in astrid("capsule", "install", "l", "--yes").stderr


@pytest.mark.slow
def test_a_tool_of_a_server_that_is_not_understood(astrid: Shell) -> None:
    assert astrid("config", "set", "logging.level", "info").status == 0
    (astrid.home / "etc" / "servers.toml").write_text("[[[")
    ended = astrid("capsule", "run", "clock", "now", "--json")
    error = ended.json["error"]
    assert error["code"] == "tool.not-found"
    assert "etc/servers.toml:1" in error["message"]
