"""A person at a pseudo-terminal: answers what an installation asks, and decides while tools run.

Real processes, a real component. Spec: cli-and-ux 9, 10, T-13 to T-16, T-28, T-29.
"""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from astrid_sdk_host.builder import PythonCapsuleBuilder
from tests.support.heartbeat import once
from tests.support.people_probe import MANIFEST
from tests.support.probe import probe_home, probe_project
from tests.support.shell import PATIENCE_S, STORE_PLUGIN, Shell, add_plugin, on_terminal
from tests.support.web_server import Exchange, WebServer, serving

pytestmark = pytest.mark.slow
WORD = "hunter2-in-the-box"
CHOICES = r"\[n\] no: "


@pytest.fixture
def astrid(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A shell with a secret store, and a home that has the component compiled."""
    shell = Shell(tmp_path)
    probe_home(tmp_path_factory, shell.home)
    add_plugin(shell, "plainsecrets", STORE_PLUGIN)
    return shell


@pytest.fixture
def courier(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The capsule's directory, ready to be installed."""
    with once(tmp_path_factory, "courier") as (base, is_first):
        if is_first:
            net = 'net = ["127.0.0.1"]'
            text = MANIFEST.format(name="courier", capabilities=net, asks="yes")
            project = probe_project(base / "project", text)
            builder = PythonCapsuleBuilder()  # the one that `probe_home` has compiled
            builder.build(project, base / "built", progress=lambda _step, _fraction: None)
    return Path(shutil.copytree(base / "built", tmp_path / "courier"))


def install(astrid: Shell, courier: Path) -> None:
    """Without a person."""
    values = ("name=Ann", "region=eu", 'hosts=["x"]', f"token={WORD}")
    options = [option for value in values for option in ("--var", value)]
    ended = astrid("capsule", "install", str(courier), "--yes", *options)
    assert ended.status == 0, ended.stderr


def begin(talk: Any, *, server: str = "") -> None:
    """What comes before the hook's questions."""
    talk(r"\[y/N\] ", "y\n")
    talk(r"for asks \[yes\]: ", "\n")
    talk(r"for server \[.*\]: ", f"{server}\n")


def letter(exchange: Exchange) -> None:
    """What a service that wants a token says."""
    seen = exchange.seen
    is_known = seen.values("authorization") == [f"Bearer {WORD}"]
    to = json.loads(seen.body)["to"]
    exchange.answer(f"a letter to {to}".encode(), status=201 if is_known else 401)


@pytest.fixture
def letters() -> Iterator[WebServer]:
    with serving({"/letters": letter}) as server:
        yield server


def audited(astrid: Shell) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = astrid("audit", "query", "--json").json
    return found


def test_a_person_installs_answers_decides_and_finds_all_of_it_in_the_audit(
    astrid: Shell, courier: Path, letters: WebServer
) -> None:
    """The acceptance of the whole: T-29, and what comes after."""
    (astrid.home / "etc").mkdir(mode=0o700, exist_ok=True)
    host = f"127.0.0.1:{letters.port}"
    (astrid.home / "etc/config.toml").write_text(f'[network]\nlocal_egress = ["{host}"]\n')
    (astrid.home / "etc/config.toml").chmod(0o600)
    with on_terminal(astrid, "capsule", "install", str(courier)) as (process, talk):
        begin(talk, server=f"http://{host}")
        talk(r"Your name \[guest\]: ", "\n")
        talk(r"number: ", "9\n")
        talk(r"none of the options\s[\s\S]*number: ", "2\n")
        talk(r"Hosts, one per line, an empty line ends:\s+", "x\n")
        talk(r"  ", "y\n")
        talk(r"  ", "\n")
        talk(r"Access token \(hidden\): ", f"{WORD}\n")
        shown = talk(r"installed courier")
        assert process.wait(PATIENCE_S) == 0
    assert WORD not in shown
    told = astrid("capsule", "run", "courier", "answers", "--json").json
    assert told == {
        "name": "guest", "region": "us", "hosts": ["x", "y"], "has": True, "token": len(WORD)
    }  # fmt: skip
    holders = [p for p in astrid.home.rglob("*") if p.is_file() and WORD.encode() in p.read_bytes()]
    assert holders == [astrid.home / "secrets/plain/default_courier/token"]

    run = ("capsule", "run", "courier", "deliver", "--args")
    with on_terminal(astrid, *run, '{"to": "bob"}') as (process, talk):
        asked = talk(CHOICES, "y\n")
        assert "courier asks for permission" in asked
        assert "send letter bob" in asked
        assert "would cover: send letter *" in asked
        talk(r'"sent": true, "said": "a letter to bob"')
        assert process.wait(PATIENCE_S) == 0
    with on_terminal(astrid, *run, '{"to": "bob"}') as (process, talk):
        talk(CHOICES, "n\n")
        talk(r'"sent": false')
        assert process.wait(PATIENCE_S) == 0
    assert [(one.path, one.values("authorization")) for one in letters.seen] == [
        ("/letters", [f"Bearer {WORD}"])
    ]  # with the key, and only what was allowed

    rows = audited(astrid)
    assert WORD not in json.dumps(rows)
    story = [
        (row["action"]["type"], row["action"].get("key") or row["action"].get("response"))
        for row in reversed(rows)
        if row["action"]["type"].partition(".")[0] in ("elicit", "approval")
    ]
    assert "http.request" in [row["action"]["type"] for row in rows]
    expected = [
        pair
        for key in ("name", "region", "hosts", "token")
        for pair in (("elicit.request", key), ("elicit.answer", key))
    ]
    expected += [
        ("approval.request", None),
        ("approval.answer", "once"),
        ("approval.request", None),
        ("approval.answer", "denied"),
    ]
    assert sorted(map(str, story)) == sorted(map(str, expected))
    assert astrid("audit", "verify").status == 0


def test_ctrl_c_while_a_hook_asks_installs_nothing(astrid: Shell, courier: Path) -> None:
    with on_terminal(astrid, "capsule", "install", str(courier)) as (process, talk):
        begin(talk)
        talk(r"Your name \[guest\]: ", "\x03")
        talk(None)
        assert process.wait(PATIENCE_S) == 130
    assert astrid.installed == []


def test_wrong_answers_three_times_are_none(astrid: Shell, courier: Path) -> None:
    with on_terminal(astrid, "capsule", "install", str(courier)) as (process, talk):
        begin(talk)
        talk(r"Your name \[guest\]: ", "Ann\n")
        for _ in range(3):
            talk(r"number: ", "99\n")
        talk(r"no usable answer for region")
        assert process.wait(PATIENCE_S) == 1
    assert astrid.installed == []


def test_without_a_person_the_missing_answer_is_named(astrid: Shell, courier: Path) -> None:
    """T-28."""
    ended = astrid("capsule", "install", str(courier), "--yes", "--json")
    assert ended.status == 6
    assert ended.json["error"]["code"] == "cli.needs-answer"
    assert "region" in ended.json["error"]["message"]
    assert "--var region=" in ended.json["error"]["hint"]
    assert astrid.installed == []
    missing = ("--var", "region=eu", "--var", "hosts=x")
    ended = astrid("capsule", "install", str(courier), "--yes", "--json", *missing)
    assert "token" in ended.json["error"]["message"]
    assert "name" not in ended.json["error"]["message"]  # it has a default
    ended = astrid(
        "capsule", "install", str(courier), "--yes", *missing, env={"ASTRID_VAR_TOKEN": WORD}
    )
    assert ended.status == 0, ended.stderr
    told = astrid("capsule", "run", "courier", "answers", "--json").json
    assert (told["name"], told["hosts"], told["token"]) == ("guest", ["x"], len(WORD))


def test_without_a_person_nobody_decides_and_the_question_waits(
    astrid: Shell, courier: Path
) -> None:
    """T-13, T-14 and T-16: refused at once, allowed afterwards, used by the retry."""
    install(astrid, courier)
    run = ("capsule", "run", "courier", "people", "--json", "--args")
    ask = (*run, '{"act": "approve", "arguments": ["send letter", "send letter bob"]}')
    began = time.monotonic()
    ended = astrid(*ask)
    assert time.monotonic() - began < 30  # not the minute that a person would have
    assert ended.json == {"refused": "timeout"}
    assert "send letter send letter bob" in ended.stderr
    (row,) = astrid("approvals", "list", "--json").json
    assert f"astrid approvals allow {row['id']}" in ended.stderr
    assert astrid("approvals", "allow", row["id"], "--always").status == 0
    assert astrid(*ask).json == {"got": "allowance"}
    other = (*run, '{"act": "approve", "arguments": ["send letter", "send letter ann"]}')
    assert astrid(*other).json == {"got": "allowance"}
    (allowed,) = astrid("caps", "allowance", "list", "--json").json
    assert astrid("caps", "allowance", "remove", allowed["id"], "--yes").status == 0
    assert astrid(*other).json == {"refused": "timeout"}
    assert astrid(*other, "--yes").json == {"got": "approved"}
    assert astrid(*other, "--approve", "send postcard*").json == {"refused": "timeout"}
    assert astrid(*other, "--approve", "send letter *").json == {"got": "approved"}
    assert astrid(*other, "--approve", "[").status == 1


def test_a_person_decides_for_a_tool_that_a_daemon_runs(astrid: Shell, courier: Path) -> None:
    install(astrid, courier)
    assert astrid("start").status == 0
    try:
        act = '{"act": "approve", "arguments": ["send letter", "send letter bob"]}'
        with on_terminal(astrid, "call", "courier.people", act) as (process, talk):
            talk(CHOICES, "e\n")
            talk(r"scope \[send letter \*\]: ", "ls *\n")
            talk(r"does not cover[\s\S]*scope \[send letter \*\]: ", "send letter b*\n")
            talk(r"send letter b\*: .* no: ", "a\n")
            talk(r'"got": "approved-always"')
            assert process.wait(PATIENCE_S) == 0
        assert astrid("call", "courier.people", act, "--json").json == {"got": "allowance"}
        ann = act.replace("bob", "ann")
        ended = astrid("call", "courier.people", ann, "--json")
        assert ended.json == {"refused": "timeout"}
        with on_terminal(astrid, "call", "courier.people", ann) as (process, talk):
            talk(CHOICES)
            process.send_signal(signal.SIGINT)
            talk(None)
            assert process.wait(PATIENCE_S) == 130
        until = time.monotonic() + PATIENCE_S
        while astrid("approvals", "list", "--json").json:  # who asked has gone
            assert time.monotonic() < until
    finally:
        astrid("stop")


def test_a_hook_that_a_daemon_runs_asks_the_person_who_installs(
    astrid: Shell, courier: Path
) -> None:
    assert astrid("start").status == 0
    try:
        with on_terminal(astrid, "capsule", "install", str(courier)) as (process, talk):
            begin(talk)
            talk(r"Your name \[guest\]: ", "Ann\n")
            talk(r"number: ", "1\n")
            talk(r"an empty line ends:\s+", "\n")
            talk(r"Access token \(hidden\): ", f"{WORD}\n")
            shown = talk(r"installed courier")
            assert process.wait(PATIENCE_S) == 0
        assert WORD not in shown
        told = astrid("call", "courier.answers", "--json").json
        assert told == {"name": "Ann", "region": "eu", "hosts": [], "has": True, "token": len(WORD)}
        assert astrid("capsule", "configure", "courier", "--var", "asks=no").status == 0
    finally:
        astrid("stop")
    ended = astrid("capsule", "remove", "courier", "--purge")
    assert ended.status == 0
    assert astrid("start").status == 0
    try:
        ended = astrid("capsule", "install", str(courier), "--yes", "--json")
        assert ended.status == 6
        assert "region" in ended.json["error"]["message"]
        assert astrid.installed == []
    finally:
        astrid("stop")
