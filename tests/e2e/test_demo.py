"""`astrid demo` in a process of its own: what a newcomer runs first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

STEPS = [
    "files", "boot", "install-notes", "install-others", "read", "ask", "intercept", "refuse",
    "isolate", "stop",
]  # fmt: skip


def demo(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "astrid_core", "demo", *arguments],
        env={**os.environ, "HOME": str(home), "ASTRID_HOME": str(home / "untouched")},
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip


def test_every_step_does_what_it_says(tmp_path: Path) -> None:
    notes = tmp_path / "my notes"
    notes.mkdir()
    (notes / "tea.md").write_text("# Tea\n\nGreen tea: three minutes. TODO: buy more tea\n")
    (notes / "coffee.txt").write_text("Coffee is not tea.\n")
    (notes / ".secret.txt").write_text("hidden")
    before = sorted(path.name for path in notes.iterdir())

    done = demo(str(notes), "--json", home=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ok"] is True
    assert [step["name"] for step in report["steps"]] == STEPS
    assert all(step["ok"] and step["ms"] >= 0 for step in report["steps"])
    detail = {step["name"]: step["detail"] for step in report["steps"]}
    assert detail["read"].startswith("2 files")
    assert "tea" in detail["ask"]
    assert "rule 'reserved-topic'" in detail["refuse"]

    assert sorted(path.name for path in notes.iterdir()) == before
    assert not (tmp_path / "untouched").exists()

    again = demo(str(notes), home=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("✓") == len(STEPS)
    assert "from the build cache" in again.stdout


def test_a_folder_that_does_not_exist_is_a_clear_failure(tmp_path: Path) -> None:
    done = demo(str(tmp_path / "nowhere"), "--json", home=tmp_path)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["ok"] is False
    assert [step["name"] for step in report["steps"]] == ["files"]
    assert "demo.path" in report["steps"][-1]["detail"]
