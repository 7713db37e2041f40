"""Directories that change, or cannot be read, while a capsule is taken from them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from astrid_core.kernel.install.tree import walk_source
from astrid_hookspecs.errors import ArchiveError, CapsuleError

NOBODY = 65534


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    root.mkdir()
    root.chmod(0o755)
    for name in ("a", "b"):
        (root / name).write_text(name)
    return root


@contextmanager
def bound_by_modes() -> Iterator[None]:
    """Root may read everything; whom modes keep out is somebody else."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(was)


def test_a_file_that_goes_away_meanwhile_is_named(source: Path) -> None:
    entries = walk_source(source)
    assert next(entries).parts == ("a",)
    (source / "b").unlink()
    with pytest.raises(ArchiveError, match=r"entry 'b' went away") as caught:
        next(entries)
    assert caught.value.code == "capsule.archive.changed"


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_cannot_be_read_is_named(source: Path, kind: str) -> None:
    if kind == "directory":
        (source / "b").unlink()
        (source / "b").mkdir()
    (source / "b").chmod(0)
    entries = walk_source(source)
    assert next(entries).parts == ("a",)
    with bound_by_modes(), pytest.raises(ArchiveError, match=r"entry 'b' cannot be read") as caught:
        next(entries)
    assert caught.value.code == "capsule.archive.unreadable"


def test_a_directory_that_went_away_is_said(source: Path) -> None:
    with pytest.raises(CapsuleError, match="No such file") as caught:
        next(walk_source(source / "gone"))
    assert caught.value.code == "capsule.source"
