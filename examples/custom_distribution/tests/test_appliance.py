"""Run where the package is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def home(tmp_path: Path) -> Path:
    directory = tmp_path / "home"
    (directory / "etc").mkdir(parents=True, mode=0o700)
    directory.chmod(0o700)
    return directory


def astrid(home: Path, *arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "astrid_core", *arguments, "--json"],
        env={**os.environ, "ASTRID_HOME": str(home)},
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def plugins_in_use(home: Path) -> set[str]:
    return {row["plugin"] for row in astrid(home, "plugins", "list") if row["enabled"]}


def test_its_plugins_are_loaded_and_no_others(home: Path) -> None:
    expected = {"core", "engine-mcp", "engine-wasm", "secrets-keychain", "vfs-overlay"}
    assert plugins_in_use(home) == expected


def test_its_settings_hold_until_the_operator_says_something_else(home: Path) -> None:
    (home / "etc" / "config.toml").write_text("[audit]\nmax_age_days = 30\n")
    shown = astrid(home, "config", "show")
    assert shown["audit"]["strict"] is True
    assert shown["audit"]["_source"]["strict"] == "distribution"
    assert shown["audit"]["max_age_days"] == 30
    assert shown["audit"]["_source"]["max_age_days"] == "user file"


def test_an_operator_switches_a_plugin_off_and_keeps_the_rest(home: Path) -> None:
    astrid(home, "plugins", "disable", "engine-mcp")
    assert plugins_in_use(home) == {"core", "engine-wasm", "secrets-keychain", "vfs-overlay"}
