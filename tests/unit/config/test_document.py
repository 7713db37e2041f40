"""Files of the operator: bounded, regular, parsed, every complaint with its line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from astrid_core.config.document import MAX_BYTES, Document, parse_document, read_document
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
    assert caught.value.code == "config.too-large"


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
    assert caught.value.code == "config.syntax"


def test_a_syntax_error_names_the_line() -> None:
    with pytest.raises(ConfigError, match=r"config\.toml:3: "):
        parse("[a]\nb = 1\nc = \n")


def test_values_come_back_with_their_defaults() -> None:
    document = parse('[a]\ntext = "x"\nnumber = 3\nlist = ["y"]\n')
    assert document.text("a.text", default="d") == "x"
    assert document.text("a.other", default="d") == "d"
    assert document.text("b.other", default=None) is None
    assert document.integer("a.number", default=1, minimum=0, maximum=9) == 3
    assert document.integer("a.other", default=1, minimum=0, maximum=9) == 1
    assert document.texts("a.list") == ["y"]
    assert document.texts("a.other") == []
    assert document.table("a.deeper.still") == {}


@pytest.mark.parametrize(
    ("value", "read", "code"),
    [
        ("1", "text", "config.type"),
        ('""', "text", "config.value"),
        ('"z"', "choice", "config.value"),
        ('"1"', "integer", "config.type"),
        ("true", "integer", "config.type"),
        ("1.0", "integer", "config.type"),
        ("-1", "integer", "config.value"),
        ("10", "integer", "config.value"),
        ('"y"', "texts", "config.type"),
        ("[1]", "texts", "config.type"),
        ("3", "table", "config.type"),
    ],
)
def test_a_wrong_value_names_file_line_and_key(value: str, read: str, code: str) -> None:
    document = parse(f"[a]\n\nkey = {value}\n")
    readers: dict[str, Callable[[], object]] = {
        "text": lambda: document.text("a.key", default=None),
        "choice": lambda: document.text("a.key", default=None, choices=("x", "y")),
        "integer": lambda: document.integer("a.key", default=1, minimum=0, maximum=9),
        "texts": lambda: document.texts("a.key"),
        "table": lambda: document.table("a.key"),
    }
    with pytest.raises(ConfigError) as caught:
        readers[read]()
    assert caught.value.code == code
    assert caught.value.message.startswith("config.toml:3: a.key: ")


def test_an_unknown_key_gets_a_suggestion_or_the_list() -> None:
    document = parse("[a]\nbackand = 1\n[b]\nqqq = 1\n")
    with pytest.raises(ConfigError) as near:
        document.refuse_unknown("a", allowed=("backend", "level"))
    assert near.value.hint == "did you mean 'backend'?"
    with pytest.raises(ConfigError) as far:
        document.refuse_unknown("b", allowed=("backend", "level"))
    assert far.value.hint == "known here: backend, level"


def test_a_long_value_is_not_repeated_whole() -> None:
    document = parse(f'[a]\nkey = "{"x" * 5000}"\n')
    with pytest.raises(ConfigError) as caught:
        document.text("a.key", default=None, choices=("x",))
    assert len(caught.value.message) < 200
