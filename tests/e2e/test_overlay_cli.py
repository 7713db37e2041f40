"""`astrid overlay` in real processes: what an agent changed, shown, committed, forgotten."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from astrid_core.kernel.assembly import assemble
from astrid_hookspecs.values import Principal
from astrid_hookspecs.vfs import VfsDirectory
from tests.support.commands import run_astrid

ASTRID = str(Path(sys.executable).with_name("astrid"))
BEFORE = "one\ntwo\nthree\n"
AFTER = "one\n2\nthree\nfour\n"


class Ended(NamedTuple):
    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


class Project:
    """A project directory, a runtime home, and agents that edit through their overlays."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.path = root / "project"
        (self.path / ".git").mkdir(parents=True)
        (self.path / "src").mkdir()
        (self.path / "numbers.txt").write_text(BEFORE)
        (self.path / "src" / "old.py").write_text("print('old')\n")

    def edit(self, change: Callable[[VfsDirectory], object], *, principal: str = "default") -> None:
        parts = assemble(self.home, workspace=self.path)
        try:
            with parts.mounts.lease(Principal(principal), "workspace") as lease:
                change(lease.mount.root)
        finally:
            parts.release.close()

    def __call__(self, *arguments: str, cwd: Path | None = None) -> Ended:
        environment = {"ASTRID_HOME": str(self.home), "NO_COLOR": "1"}
        ended = run_astrid("overlay", *arguments, cwd=cwd or self.path, env=environment)
        return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def edits(root: VfsDirectory) -> None:
    root.replace("numbers.txt", [AFTER.encode()])
    root.unlink("src/old.py")
    root.replace("src/new.py", [b"print('new')\n"])
    root.replace("logo.png", [b"\x89PNG\0\xff"])


@pytest.mark.slow
def test_an_untouched_workspace_has_no_changes(project: Project) -> None:
    assert project("status").stdout == "no changes\n"
    assert project("diff").stdout == "no changes\n"
    assert project("status", "--json").json == []
    assert project("commit").status == 0
    assert project("rollback").status == 0


@pytest.mark.slow
def test_edits_are_shown_and_stay_off_the_disk_until_they_are_committed(project: Project) -> None:
    project.edit(edits)
    assert (project.path / "numbers.txt").read_text() == BEFORE
    assert not (project.path / "src" / "new.py").exists()

    rows = project("status", "--json").json
    assert [(row["path"], row["change"]) for row in rows] == [
        ("logo.png", "added"),
        ("numbers.txt", "modified"),
        ("src/new.py", "added"),
        ("src/old.py", "deleted"),
    ]
    shown = project("diff").stdout
    assert "--- a/numbers.txt\n+++ b/numbers.txt\n" in shown
    assert "-two\n+2\n three\n+four\n" in shown
    assert "--- /dev/null\n+++ b/src/new.py\n@@ -0,0 +1 @@\n+print('new')\n" in shown
    assert "--- a/src/old.py\n+++ /dev/null\n" in shown
    assert "added logo.png (binary)" in shown

    asked = project("commit")
    assert asked.status == 6
    assert "--yes" in asked.stderr
    assert (project.path / "numbers.txt").read_text() == BEFORE

    done = project("commit", "--yes", "--json")
    assert done.status == 0
    assert done.json["committed"] == ["logo.png", "numbers.txt", "src/new.py", "src/old.py"]
    assert (project.path / "numbers.txt").read_text() == AFTER
    assert (project.path / "src" / "new.py").read_text() == "print('new')\n"
    assert not (project.path / "src" / "old.py").exists()
    assert project("status", "--json").json == []
    assert sorted(path.name for path in project.path.iterdir()) == [
        ".git",
        "logo.png",
        "numbers.txt",
        "src",
    ]


@pytest.mark.slow
def test_chosen_paths_are_relative_to_where_the_person_stands(project: Project) -> None:
    project.edit(edits)
    done = project("commit", "new.py", "--yes", "--json", cwd=project.path / "src")
    assert done.json["committed"] == ["src/new.py"]
    assert (project.path / "numbers.txt").read_text() == BEFORE
    forgotten = project("rollback", "../logo.png", "--yes", "--json", cwd=project.path / "src")
    assert forgotten.json == {"forgotten": ["logo.png"]}
    left = project("status", "--json").json
    assert [row["path"] for row in left] == ["numbers.txt", "src/old.py"]
    outside = project("status", "../elsewhere")
    assert outside.status == 1
    assert "is not in the workspace" in outside.stderr


@pytest.mark.slow
def test_a_file_that_changed_on_the_disk_is_not_overwritten(project: Project) -> None:
    project.edit(edits)
    (project.path / "numbers.txt").write_text("mine\n")
    row = next(row for row in project("status", "--json").json if row["path"] == "numbers.txt")
    assert row["conflict"]
    refused = project("commit", "--yes")
    assert refused.status == 1
    assert "numbers.txt" in refused.stderr
    assert "--overwrite" in refused.stderr
    assert (project.path / "numbers.txt").read_text() == "mine\n"
    assert not (project.path / "src" / "new.py").exists()
    assert project("commit", "--yes", "--overwrite").status == 0
    assert (project.path / "numbers.txt").read_text() == AFTER


@pytest.mark.slow
def test_each_principal_has_changes_of_its_own(project: Project) -> None:
    project.edit(lambda root: root.replace("ada.txt", [b"ada"]), principal="ada")
    project.edit(lambda root: root.replace("bob.txt", [b"bob"]), principal="bob")
    assert project("status", "--json").json == []
    for name in ("ada", "bob"):
        rows = project("status", "--json", "--principal", name).json
        assert [row["path"] for row in rows] == [f"{name}.txt"]
    assert project("status", "--principal", "../ada").status == 1


@pytest.mark.slow
def test_what_other_tools_run_by_themselves_is_pointed_out(project: Project) -> None:
    def plant(root: VfsDirectory) -> None:
        root.mkdir(".git/hooks")
        root.replace(".git/hooks/pre-commit", [b"#!/bin/sh\n"], mode=0o755)

    project.edit(plant)
    rows = project("status", "--json").json
    assert all(row["sensitive"] for row in rows)
    done = project("commit", "--yes")
    assert "other tools act on this file by themselves" in done.stderr
