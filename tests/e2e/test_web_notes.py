"""The example `web-notes` through the real tool chain: built, installed, asked, refused."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

from astrid_sdk_host.builder import PythonCapsuleBuilder
from astrid_sdk_host.cache import BuildCache
from tests.support.heartbeat import once
from tests.support.shell import PATIENCE_S, STORE_PLUGIN, Shell, add_plugin, on_terminal

pytestmark = pytest.mark.slow
EXAMPLE = Path(__file__).parents[2] / "examples/capsules/web-notes"
KEY = "k-from-a-person"


class Site(BaseHTTPRequestHandler):
    """A page, and a service that takes notes."""

    def do_GET(self) -> None:
        self._answer(200, b"<title>Bread &amp; butter</title>")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        seen = (self.path, self.headers["authorization"], json.loads(body))
        self.server.seen.append(seen)  # type: ignore[attr-defined]
        self._answer(201, b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class Service(NamedTuple):
    url: str
    seen: list[tuple[str, str, dict[str, str]]]


@pytest.fixture
def site() -> Iterator[Service]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.seen = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Service(f"http://127.0.0.1:{server.server_port}", server.seen)  # type: ignore[attr-defined]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def astrid(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, site: Service) -> Shell:
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
    host = site.url.removeprefix("http://")
    (etc / "config.toml").write_text(f'[network]\nlocal_egress = ["{host}"]\n')
    (etc / "config.toml").chmod(0o600)
    capsule = shutil.copytree(base / "built", tmp_path / "web-notes")
    values = ("--var", f"API_KEY={KEY}", "--var", f"NOTES_URL={site.url}")
    ended = shell("capsule", "install", str(capsule), "--yes", *values)
    assert ended.status == 0, ended.stderr
    return shell


def test_pages_are_noted_and_sent_when_a_person_agrees(astrid: Shell, site: Service) -> None:
    run = ("capsule", "run", "web-notes")
    page = f"{site.url}/page"
    ended = astrid(*run, "note", "--args", json.dumps({"url": page}))
    assert "Bread & butter" in ended.stdout, ended.stderr
    refused = astrid(*run, "note", "--args", '{"url": "http://127.0.0.2/"}')
    assert refused.status != 0
    assert "capability-denied" in refused.stdout + refused.stderr

    for answer, said in (("n", "a person said no"), ("y", "sent 1 notes")):
        assert site.seen == []
        with on_terminal(astrid, *run, "send") as (process, talk):
            assert f"send notes to {site.url}/notes: 1 titles" in talk(r"\[n\] no: ", f"{answer}\n")
            talk(said)
            assert process.wait(PATIENCE_S) == 0
    assert site.seen == [("/notes", f"Bearer {KEY}", {page: "Bread & butter"})]
    assert KEY not in astrid("audit", "query", "--json").stdout
