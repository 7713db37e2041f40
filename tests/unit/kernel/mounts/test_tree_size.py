"""Measuring what guests store, wherever they put it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from astrid_core.builtin.host_vfs import open_host_directory
from astrid_core.kernel.mounts.tree_size import ENTRY_BYTES, MAX_DEPTH, TreeSize, tree_size

NAME = "x" * 200
Bury = Callable[[int], None]


@pytest.fixture
def bury(tmp_path: Path) -> Iterator[Bury]:
    """Puts a file of 1000 bytes below so many directories, each made above the others."""
    with ExitStack() as stack:
        root = open_host_directory(tmp_path, foreign=False)
        stack.callback(root.close)

        def digger(levels: int) -> None:
            root.replace(NAME, [b"x" * 1000])
            for _ in range(levels):
                root.mkdir("above")
                root.rename(NAME, f"above/{NAME}")
                root.rename("above", NAME)
                stack.callback(unearth)

        def unearth() -> None:
            root.rename(f"{NAME}/{NAME}", "below")
            root.rmdir(NAME)
            root.rename("below", NAME)

        yield digger


def test_names_and_contents_count_and_links_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "file").write_bytes(b"x" * 100)
    (tmp_path / "link").symlink_to(tmp_path / "d")
    (tmp_path / "left-out").mkdir()
    (tmp_path / "left-out" / "file").write_bytes(b"x" * 100)
    (tmp_path / "d" / "left-out").touch()
    found = tree_size(tmp_path, leave_out=frozenset({"left-out"}))
    assert found == TreeSize(4 * ENTRY_BYTES + 100, is_whole=True)
    assert tree_size(tmp_path / "absent") == TreeSize(0, is_whole=True)
    assert tree_size(tmp_path / "link") == TreeSize(0, is_whole=False)


def test_a_file_too_deep_for_any_path_counts(tmp_path: Path, bury: Bury) -> None:
    bury(40)
    assert tree_size(tmp_path) == TreeSize(41 * ENTRY_BYTES + 1000, is_whole=True)


def test_what_is_deeper_than_anybody_looks_is_not_taken_for_nothing(
    tmp_path: Path, bury: Bury
) -> None:
    bury(MAX_DEPTH // len(NAME) + 2)
    assert not tree_size(tmp_path).is_whole
