"""Typed access to tables, where profiles, settings and manifests do not show it."""

from __future__ import annotations

import pytest

from astrid_core.domain.toml_document import Document
from astrid_core.domain.toml_table import I64_END, Table
from astrid_hookspecs.errors import ConfigError


def table(text: str) -> Table:
    return Table.root(Document(text, path="a.toml"))


def test_a_missing_section_is_empty_and_knows_its_place() -> None:
    section = table("").section("a")
    assert list(section) == []
    assert section.at == ("a",)
    assert list(table("[a]\nb = 1\n").section("a")) == ["b"]


@pytest.mark.parametrize(
    ("value", "bounds", "problem"),
    [
        (3, range(1, 4), None),
        (4, range(1, 4), "from 1 to 3"),
        (0, range(1, I64_END), "from 1"),
    ],
)
def test_numbers_within_bounds(value: int, bounds: range, problem: str | None) -> None:
    read = table(f"n = {value}\n")
    if problem is None:
        assert read.bounded("n", bounds, rule="E-VALUE") == value
        assert read.bounded("m", bounds, rule="E-VALUE") is None
        return
    with pytest.raises(ConfigError) as caught:
        read.bounded("n", bounds, rule="E-VALUE")
    assert str(caught.value).endswith(f"is out of bounds: {problem} (E-VALUE)")


def test_an_unknown_word_gets_a_suggestion_or_the_list() -> None:
    hints = []
    for text, known in (("lebel = 1", ("level",)), ("q = 1", ("b", "a")), ("q = 1", ())):
        with pytest.raises(ConfigError) as caught:
            table(text).only(known)
        hints.append(caught.value.hint)
    assert hints == ["did you mean 'level'?", "known here: a, b", None]


def test_other_values_keep_names_and_lines_and_are_checked() -> None:
    document = Document("a = 1\nb = 2\n", path="a.toml")
    other = document.replaced({"b": "x"})
    assert (document.data, other.data) == ({"a": 1, "b": 2}, {"b": "x"})
    with pytest.raises(ConfigError, match=r"a\.toml:2 \[b\]"):
        Table.root(other).integer("b")
    with pytest.raises(ConfigError, match="NUL"):
        document.replaced({"b": "\0"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", 1.0), ("0.5", 0.5), ("-9223372036854775808", -(2.0**63))],
)
def test_a_number_may_be_written_with_or_without_a_fraction(text: str, expected: float) -> None:
    assert table(f"n = {text}\n").number("n") == expected


def test_a_number_is_absent_or_one() -> None:
    assert table("").number("n") is None
    with pytest.raises(ConfigError):
        table("n = true\n").number("n")
