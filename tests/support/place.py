"""A home and a project of its own for `astrid` in real processes, daemons included."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import short_directory

ASTRID = str(Path(sys.executable).with_name("astrid"))
START = ("start", "--timeout", "90")


class Place:
    """A home and a project of its own."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "h"
        self.project = directory / "ws"
        self.run = self.home / "run"
        self.project.mkdir()

    def environ(self, **more: str) -> dict[str, str]:
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        return {**kept, "ASTRID_HOME": str(self.home), "NO_COLOR": "1", "CI": "1", **more}

    def ask(
        self,
        *arguments: str,
        status: int | None = 0,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run `astrid`; None for a status that is the caller's to judge."""
        ended = subprocess.run(
            [ASTRID, *arguments],
            env=self.environ(**(environ or {})),
            cwd=cwd or self.project,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if status is not None:
            assert ended.returncode == status, f"{arguments}: {ended.stdout}{ended.stderr}"
        return ended

    def json(self, *arguments: str, status: int | None = 0, **more: Any) -> Any:
        return json.loads(self.ask(*arguments, "--json", status=status, **more).stdout)

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `astrid`; the caller waits for it."""
        return subprocess.Popen(
            [ASTRID, *arguments],
            env=self.environ(),
            cwd=self.project,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def pid(self) -> int:
        """Of the daemon that answers."""
        found: int = self.json("status")["pid"]
        return found

    def end(self) -> None:
        """Leave nothing running."""
        self.ask("stop", "--force", status=None)


@contextlib.contextmanager
def place(template: Path | None = None) -> Iterator[Place]:
    with short_directory() as directory:
        made = Place(directory)
        if template is not None:
            shutil.copytree(template, made.home)
        try:
            yield made
        finally:
            made.end()


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.02)
    pytest.fail("the condition never came true")
