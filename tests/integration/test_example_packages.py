"""The example packages, installed as users install them: found, checked, and tested."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = {
    "minimal_plugin": {"audit-sink": ["stderr"]},
    "backend_extension": {"vfs-backend": ["fsspec", "fsspec-memory", "fsspec-zip"]},
    "authz_policy": {"authz-policy": ["astrid_authorize"]},
    "custom_distribution": {},
}


@pytest.fixture(params=EXAMPLES)
def installed(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    name: str = request.param
    target = tmp_path / "site"
    source = ROOT / "examples" / name
    command = ["uv", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    return name, target


def run(arguments: list[str], target: Path, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(target), "ASTRID_HOME": str(home / "home")},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


@pytest.mark.slow
def test_an_example_is_found_and_passes_its_own_tests(
    installed: tuple[str, Path], tmp_path: Path
) -> None:
    name, target = installed
    listed = run(["astrid_core", "plugins", "list", "--json"], target, tmp_path)
    assert listed.returncode == 0, listed.stderr
    rows = json.loads(listed.stdout)
    for kind, names in EXAMPLES[name].items():
        found = {row["name"] for row in rows if row["kind"] == kind and row["error"] is None}
        assert found >= set(names)

    tests = str(ROOT / "examples" / name / "tests")
    options = ["--timeout=60", f"--basetemp={tmp_path / 'base'}", "-p", "no:cacheprovider"]
    ended = run(["pytest", "-q", "-n", "0", *options, tests], target, tmp_path)
    assert ended.returncode == 0, ended.stdout[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_a_copy_elsewhere_is_clean_by_the_settings_that_it_brings(
    name: str, tmp_path: Path
) -> None:
    copy = tmp_path / name
    shutil.copytree(
        ROOT / "examples" / name, copy, ignore=shutil.ignore_patterns("__pycache__", ".*")
    )
    for tool in (["ruff", "check", "--no-cache"], ["ruff", "format", "--check", "--no-cache"]):
        done = run([*tool, str(copy)], copy / "src", copy)
        assert done.returncode == 0, done.stdout
    typed = run(
        ["mypy", "--cache-dir", str(tmp_path / "cache"), "src", "tests"], copy / "src", copy
    )
    assert typed.returncode == 0, typed.stdout
