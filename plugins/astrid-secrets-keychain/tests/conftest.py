"""A real Secret Service: gnome-keyring in a D-Bus session of its own, for the time of the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[[str], subprocess.CompletedProcess[str]]
NEEDED = ("dbus-run-session", "gnome-keyring-daemon")
UNLOCK = 'printf "%s" "a password" | gnome-keyring-daemon --unlock --components=secrets >/dev/null'


@pytest.fixture
def session(tmp_path: Path) -> Run:
    """Runs a program in a session with an unlocked, empty keychain."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing and os.environ.get("CI") is None:
        pytest.skip(f"{', '.join(missing)} not installed")
    assert not missing, "CI installs them"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "KEEP": str(tmp_path),
    }
    (tmp_path / "run").mkdir(mode=0o700)

    def run(program: str, *, unlock: str = UNLOCK) -> subprocess.CompletedProcess[str]:
        script = tmp_path / "program.py"
        script.write_text(textwrap.dedent(program))
        return subprocess.run(
            ["dbus-run-session", "--", "sh", "-c", f"{unlock}; exec {sys.executable} {script}"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run
