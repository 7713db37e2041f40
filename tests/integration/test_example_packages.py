"""The example packages, installed as users install them: found, checked, and tested."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = {
    "minimal_plugin": {"audit-sink": ["stderr"]},
    "backend_extension": {"vfs-backend": ["fsspec", "fsspec-memory", "fsspec-zip"]},
    "authz_policy": {"authz-policy": ["astrid_authorize"]},
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
        timeout=100,
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
    ended = run(["pytest", "-q", "-n", "0", "-p", "no:cacheprovider", tests], target, tmp_path)
    assert ended.returncode == 0, ended.stdout[-3000:]
