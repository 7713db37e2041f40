"""`astrid demo` in a process of its own: what a newcomer runs first."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

STEPS = [
    "folder", "build", "boot", "install-notes", "install-others", "read", "ask", "edit",
    "intercept", "refuse", "escape", "isolate", "stop", "prove", "settle",
]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of somebody who had not run it before: what the first test builds, others have in caches."""
    return tmp_path_factory.mktemp("newcomer")


def demo(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "astrid_core", "demo", *arguments],
        env={**os.environ, "HOME": str(home), "ASTRID_HOME": str(home / "untouched")},
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip


def test_every_step_does_what_it_says(tmp_path: Path, home: Path) -> None:
    notes = tmp_path / "my notes"
    notes.mkdir()
    (notes / "tea.md").write_text("# Tea\n\nGreen tea: three minutes. TODO: buy more tea\n")
    (notes / "coffee.txt").write_text("Coffee is not tea.\n")
    (notes / ".secret.txt").write_text("hidden")
    (notes / "untidy.md").write_text("blanks \nat the end\n\n\n")
    before = {path.name: path.read_bytes() for path in notes.iterdir()}

    done = demo(str(notes), "--json", home=home)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ok"] is True
    assert [step["name"] for step in report["steps"]] == STEPS
    assert all(step["ok"] and step["ms"] >= 0 for step in report["steps"])
    detail = {step["name"]: step["detail"] for step in report["steps"]}
    assert "read 3 files" in detail["read"]
    assert "added FIELD-NOTES.md" in detail["edit"]
    assert "modified untidy.md (+1 -3 lines)" in detail["edit"]
    assert "boundary-escape" in detail["escape"]
    assert "2 edits forgotten" in detail["settle"]
    assert "tea" in detail["ask"]
    assert "rule 'reserved-topic'" in detail["refuse"]

    assert {path.name: path.read_bytes() for path in notes.iterdir()} == before
    assert not (home / "untouched").exists()

    again = demo(str(notes), home=home)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("✓") == len(STEPS)
    assert "from the build cache" in again.stdout


def test_edits_reach_the_folder_only_when_told_to(tmp_path: Path, home: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "tea.md").write_text("Green tea: \nthree minutes.\n")

    done = demo(str(notes), "--commit", "--json", home=home)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"][-1]["detail"] == "wrote FIELD-NOTES.md; wrote tea.md"
    assert (notes / "tea.md").read_text() == "Green tea:\nthree minutes.\n"
    assert sorted(path.name for path in notes.iterdir()) == ["FIELD-NOTES.md", "tea.md"]


def test_a_folder_that_does_not_exist_is_a_clear_failure(tmp_path: Path) -> None:
    done = demo(str(tmp_path / "nowhere"), "--json", home=tmp_path)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["ok"] is False
    assert [step["name"] for step in report["steps"]] == ["folder"]
    assert "demo.path" in report["steps"][-1]["detail"]


def processes_that_name(path: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(path) in line:
                found.append(line)
    return found


def hear_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("moment", "number", "status"),
    [
        ("building field-notes.wasm", signal.SIGINT, 130),
        ("compiling field-notes.wasm", signal.SIGINT, 130),
        ("building field-notes.wasm", signal.SIGTERM, 143),
        ("compiling field-notes.wasm", signal.SIGHUP, 129),
    ],
)
def test_a_signal_ends_it_at_once_and_leaves_nothing_running(
    tmp_path: Path, home: Path, moment: str, number: signal.Signals, status: int
) -> None:
    notes = tmp_path / "notes.md"
    notes.write_text("tea")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    cache = (tmp_path if moment.startswith("building") else home) / ".cache" / "astrid"
    environ = {
        **os.environ,
        "HOME": str(tmp_path),
        "TMPDIR": str(temporary),
        "ASTRID_CACHE_DIR": str(cache),
    }
    with subprocess.Popen(
        [sys.executable, "-m", "astrid_core", "demo", str(notes)],
        env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        preexec_fn=hear_signals,  # noqa: PLW1509 - what the tests run under may ignore some
    ) as child:  # fmt: skip
        assert child.stderr is not None
        assert any(moment in line for line in child.stderr)
        child.send_signal(number)
        started = time.monotonic()
        rest = child.stderr.read()
        assert child.wait(timeout=20) == status, rest
    assert time.monotonic() - started < 10
    assert "Traceback" not in rest
    assert processes_that_name(tmp_path) == []
    assert {path.name for path in temporary.iterdir()} == set()
