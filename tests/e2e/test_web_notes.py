"""The example `web-notes` through the real tool chain: built, installed, asked, refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from astrid_sdk_host.builder import PythonCapsuleBuilder
from astrid_sdk_host.cache import BuildCache
from tests.support.heartbeat import once
from tests.support.shell import PATIENCE_S, STORE_PLUGIN, Shell, add_plugin, on_terminal
from tests.support.web_server import WebServer, serving

pytestmark = pytest.mark.slow
EXAMPLE = Path(__file__).parents[2] / "examples/capsules/web-notes"
KEY = "k-from-a-person"


@pytest.fixture
def site() -> Iterator[WebServer]:
    """A page, and a service that takes notes."""
    page = b"<title>Bread &amp; butter</title>"
    routes = {
        "/page": lambda exchange: exchange.answer(page),
        "/notes": lambda exchange: exchange.answer(status=201),
    }
    with serving(routes) as server:
        yield server


@pytest.fixture
def astrid(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, site: WebServer) -> Shell:
    """A shell that has the example installed, and whose operator allows the site."""
    with once(tmp_path_factory, "web-notes") as (base, is_first):
        if is_first:
            builder = PythonCapsuleBuilder(cache=BuildCache(base / "cache"))
            project = Path(
                shutil.copytree(
                    EXAMPLE, base / "project", ignore=shutil.ignore_patterns("build", ".*")
                )
            )
            builder.build(project, base / "built", progress=lambda _step, _fraction: None)
    shell = Shell(tmp_path)
    add_plugin(shell, "plainsecrets", STORE_PLUGIN)
    etc = shell.home / "etc"
    etc.mkdir(mode=0o700, parents=True, exist_ok=True)
    host = f"127.0.0.1:{site.port}"
    (etc / "config.toml").write_text(f'[network]\nlocal_egress = ["{host}"]\n')
    (etc / "config.toml").chmod(0o600)
    capsule = shutil.copytree(base / "built", tmp_path / "web-notes")
    values = ("--var", f"API_KEY={KEY}", "--var", f"NOTES_URL=http://{host}")
    ended = shell("capsule", "install", str(capsule), "--yes", *values)
    assert ended.status == 0, ended.stderr
    return shell


def sent_to(site: WebServer) -> list[tuple[str, list[str], Any]]:
    return [
        (one.path, one.values("authorization"), json.loads(one.body))
        for one in site.seen
        if one.method == "POST"
    ]


def test_pages_are_noted_and_sent_when_a_person_agrees(astrid: Shell, site: WebServer) -> None:
    run = ("capsule", "run", "web-notes")
    where = f"http://127.0.0.1:{site.port}"
    page = f"{where}/page"
    ended = astrid(*run, "note", "--args", json.dumps({"url": page}))
    assert "Bread & butter" in ended.stdout, ended.stderr
    refused = astrid(*run, "note", "--args", '{"url": "http://127.0.0.2/"}')
    assert refused.status != 0
    assert "capability-denied" in refused.stdout + refused.stderr

    for answer, said in (("n", "a person said no"), ("y", "sent 1 notes")):
        assert sent_to(site) == []
        with on_terminal(astrid, *run, "send") as (process, talk):
            assert f"send notes to {where}/notes: 1 titles" in talk(r"\[n\] no: ", f"{answer}\n")
            talk(said)
            assert process.wait(PATIENCE_S) == 0
    assert sent_to(site) == [("/notes", [f"Bearer {KEY}"], {page: "Bread & butter"})]
    assert KEY not in astrid("audit", "query", "--json").stdout
