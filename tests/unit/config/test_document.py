"""Files of the operator: bounded, regular, parsed, every complaint with its line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from astrid_core.config.document import parse_document, read_document
from astrid_core.domain.toml_document import MAX_BYTES, Document
from astrid_hookspecs.errors import ConfigError


def parse(text: str) -> Document:
    return parse_document(text.encode(), name="config.toml")


def test_a_missing_file_is_none(tmp_path: Path) -> None:
    assert read_document(tmp_path / "config.toml") is None


@pytest.mark.parametrize("size", [MAX_BYTES, MAX_BYTES + 1])
def test_the_size_is_bounded(tmp_path: Path, size: int) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"#" * size)
    if size <= MAX_BYTES:
        assert read_document(path) is not None
        return
    with pytest.raises(ConfigError) as caught:
        read_document(path)
    assert caught.value.code == "config.size"


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    os.mkfifo(path)
    with pytest.raises(ConfigError) as caught:
        read_document(path)
    assert caught.value.code == "config.unreadable"


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_document(tmp_path)
    assert caught.value.code == "config.unreadable"


def test_a_path_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError) as caught:
        read_document(tmp_path / "file" / "config.toml")
    assert caught.value.code == "config.unreadable"


@pytest.mark.parametrize(
    "data",
    [b"a = ", b"[a\n", b"a = 1\na = 2\n", b"\xff\xfe", b"x = " + b"[" * 100_000],
    ids=["value", "table", "twice", "bytes", "deep"],
)
def test_what_is_no_toml_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigError, match=r"config\.toml") as caught:
        parse_document(data, name="config.toml")
    assert caught.value.code == "config.toml"


def test_a_syntax_error_names_the_line() -> None:
    with pytest.raises(ConfigError, match=r"config\.toml:3: "):
        parse("[a]\nb = 1\nc = \n")
