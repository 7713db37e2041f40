"""Reading and hashing files of a capsule without leaving its directory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from astrid_core.kernel.install.content import hash_inside, read_inside
from astrid_core.kernel.install.tree import CHUNK
from astrid_hookspecs.errors import CapsuleError

Reader = Callable[..., object]
BOTH = pytest.mark.parametrize("reader", [read_inside, hash_inside], ids=["read", "hash"])


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_the_hash_is_that_of_what_is_read(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "f").write_bytes(content)
    assert read_inside(tmp_path, "f", limit=size, what="it") == content
    assert hash_inside(tmp_path, "f", limit=size, what="it") == blake3(content).hexdigest()


@BOTH
@pytest.mark.parametrize("size", [1, CHUNK + 1, 2 * CHUNK])
def test_a_file_above_the_limit_is_refused(tmp_path: Path, reader: Reader, size: int) -> None:
    (tmp_path / "f").write_bytes(bytes(size))
    with pytest.raises(CapsuleError, match=f"larger than {size - 1} bytes"):
        reader(tmp_path, "f", limit=size - 1, what="it")


@BOTH
def test_links_and_other_things_than_files_are_refused(tmp_path: Path, reader: Reader) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"secret")
    root = tmp_path / "root"
    (root / "directory").mkdir(parents=True)
    (root / "link").symlink_to(outside)
    (root / "up").symlink_to(tmp_path)
    os.mkfifo(root / "pipe")
    for name in ("link", "up/outside", "directory", "pipe", "missing"):
        with pytest.raises(CapsuleError) as caught:
            reader(root, name, limit=100, what="it")
        assert caught.value.code == "capsule.file"


@BOTH
def test_a_directory_that_went_away_is_said(tmp_path: Path, reader: Reader) -> None:
    with pytest.raises(CapsuleError, match=r"it 'f' cannot be read: No such file") as caught:
        reader(tmp_path / "gone", "f", limit=100, what="it")
    assert caught.value.code == "capsule.file"
