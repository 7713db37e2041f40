"""What the demo is pointed at is looked at before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from astrid_core.cli.demo_files import check_target
from astrid_hookspecs.errors import ConfigError


def test_a_folder_or_a_file_is_a_target(tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("tea")
    assert check_target(tmp_path) == (tmp_path.resolve(), "")
    assert check_target(note) == (tmp_path.resolve(), "note.txt")


def test_an_empty_folder_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is empty") as refused:
        check_target(tmp_path)
    assert refused.value.hint == "give a folder with text files: astrid demo PATH"


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        check_target(tmp_path / "none")
