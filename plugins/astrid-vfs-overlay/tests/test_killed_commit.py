"""`kill -9` during a commit: every file old or new, nothing lost, and the next commit completes.

`ASTRID_KILL_ROUNDS` sets how often.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.doomed_commit import contents
from tests.support.overlay import Workspace

ROUNDS = int(os.environ.get("ASTRID_KILL_ROUNDS", "20"))
ROOT = Path(__file__).parents[3]


def files(tree: Mapping[str, bytes | None]) -> dict[str, bytes]:
    return {path: data for path, data in tree.items() if data is not None}


def kill_during_commit(lower: Path, store: Path, turn: int, *, after_s: float) -> bool:
    """Whether the process died before it was done."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.support.doomed_commit", str(lower), str(store), str(turn)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "go\n"
        time.sleep(after_s)
        child.kill()
        return "done" not in child.stdout.read()


@pytest.mark.slow
@pytest.mark.timeout(max(120, 3 * ROUNDS))
def test_each_file_is_old_or_new_and_a_second_commit_completes(tmp_path: Path) -> None:
    lower, store = tmp_path / "lower", tmp_path / "store"
    dice = random.Random(5)  # noqa: S311 - moments of death
    interrupted = 0
    for turn in range(1, ROUNDS + 1):
        old, new = files(tree_of(lower)), contents(turn)
        interrupted += kill_during_commit(lower, store, turn, after_s=dice.uniform(0, 0.06))
        on_disk = files(tree_of(lower))
        for path, data in on_disk.items():
            if ".astrid-tmp-" not in path:
                assert data in (old.get(path), new.get(path)), f"{path} is a mixture"
        for path in old.keys() - on_disk.keys():
            assert path not in new, f"{path} is lost"

        workspace = Workspace(lower, store)
        try:
            assert files(workspace.seen()) == new, "the upper layer is not intact"
            report = workspace.view.commit()
            assert not report.conflicts
            assert not report.failed
            assert files(workspace.tree()) == new, "not everything is committed, or more is left"
            assert workspace.changed() == {}
        finally:
            workspace.close()
    assert interrupted, "no commit was interrupted: the test has to kill earlier"


def tree_of(lower: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(lower)): None if path.is_dir() else path.read_bytes()
        for path in lower.rglob("*")
    }
