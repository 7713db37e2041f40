"""`astrid` as a person runs it: in a clean shell, and on a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.commands import kept_environment, run_astrid

ASTRID = str(Path(sys.executable).with_name("astrid"))
PATIENCE_S = 150


class Ended(NamedTuple):
    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


class Shell:
    """Runs `astrid` as a clean shell would."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "home"
        self.workspace = root / "ws"
        self.workspace.mkdir()
        self.environ = {
            **kept_environment(),
            "ASTRID_HOME": str(self.home),
            "ASTRID_CACHE_DIR": str(root / "cache"),
            "NO_COLOR": "1",
            "COLUMNS": "200",
        }

    def __call__(
        self, *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> Ended:
        ended = run_astrid(
            *arguments, cwd=cwd or self.workspace, env={**self.environ, **(env or {})}
        )
        assert "Traceback" not in ended.stderr
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def capsule(
        self,
        name: str,
        *,
        version: str = "1.0.0",
        manifest: str = "",
        files: Mapping[str, str] | None = None,
    ) -> Path:
        directory = self.root / "src" / f"{name}-{version}"
        directory.mkdir(parents=True, exist_ok=True)
        text = f'[package]\nname = "{name}"\nversion = "{version}"\n{manifest}'
        for path, content in {"Capsule.toml": text, **(files or {})}.items():
            (directory / path).write_text(content)
        return directory

    @property
    def installed(self) -> list[str]:
        """Everything in the capsule directory, leftovers included."""
        directory = self.home / "home/default/.local/capsules"
        return sorted(p.name for p in directory.iterdir()) if directory.exists() else []


@contextlib.contextmanager
def on_terminal(shell: Shell, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], Any]]:
    """Run a command on a pseudo-terminal; yields the process and `talk(wait_for, answer)`."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [ASTRID, *arguments],
        cwd=shell.workspace,
        env={**shell.environ, "TERM": "xterm"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        # Makes the terminal the controlling one, so that Ctrl-C reaches the process.
        preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),  # noqa: PLW1509
    )
    os.close(slave)
    seen = ""

    def talk(wait_for: str | None, answer: str | None = None) -> str:
        nonlocal seen
        deadline = time.monotonic() + PATIENCE_S
        while wait_for is None or not re.search(wait_for, seen):
            ready, _, _ = select.select([master], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"waited for {wait_for!r}, saw: {seen}"
            try:
                piece = os.read(master, 4096)
            except OSError:
                piece = b""
            if not piece:
                assert wait_for is None, f"waited for {wait_for!r}, saw: {seen}"
                break
            seen += piece.decode()
        before, seen = seen, ""
        if answer is not None:
            os.write(master, answer.encode())
        return before

    try:
        yield process, talk
    finally:
        process.kill()
        process.wait(PATIENCE_S)
        os.close(master)


STORE_PLUGIN = """
import pathlib
from astrid_hookspecs import hookimpl
from astrid_hookspecs.secrets import SecretStoreRecord

class Files:
    def __init__(self, directory):
        self.directory = directory / "plain"

    def _path(self, scope, name):
        return self.directory / scope.replace("/", "_") / name

    def get(self, scope, name):
        path = self._path(scope, name)
        return path.read_bytes() if path.exists() else None

    def set(self, scope, name, value):
        path = self._path(scope, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(value)

    def delete(self, scope, name):
        found = self.get(scope, name) is not None
        self._path(scope, name).unlink(missing_ok=True)
        return found

    def names(self, scope):
        directory = self._path(scope, "x").parent
        return sorted(p.name for p in directory.iterdir()) if directory.exists() else []

@hookimpl
def astrid_register_secret_stores():
    return [SecretStoreRecord(name="plain", priority=1, factory=Files)]
"""


def add_plugin(astrid: Shell, name: str, source: str) -> None:
    site = astrid.root / "site"
    info = site / f"astrid_{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (site / f"e2e_plugin_{name}.py").write_text(source)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: astrid-{name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[astrid.plugins]\n{name} = e2e_plugin_{name}\n")
    astrid.environ["PYTHONPATH"] = str(site)
