from __future__ import annotations

import pytest

from astrid_engine_mcp.names import hidden_characters, is_server_id, plain_name


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("get_time", "get_time"),
        ("a.b/c:d", "a_b_c_d"),
        ("x" * 100, "x" * 64),
        ("zeit\u202e", "zeit_"),
    ],
)
def test_names_on_the_bus(name: str, plain: str) -> None:
    assert plain_name(name) == plain


@pytest.mark.parametrize(
    ("text", "is_id"), [("time", True), ("a-b_1", True), ("", False), ("a:b", False), ("é", False)]
)
def test_ids_of_servers(text: str, is_id: bool) -> None:
    assert is_server_id(text) is is_id


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("plain text,\n\ttabs and ümläuts, 日本語, 🎉", []),
        ("⚠\ufe0f careful", []),
        ("a\u202eb", ["U+202E"]),
        ("zero\u200bwidth", ["U+200B"]),
        ("soft\u00adhyphen", ["U+00AD"]),
        ("tags\U000e0041\U000e0042", ["U+E0041", "U+E0042"]),
        ("style\ufe0f\ufe0f", ["U+FE0F"]),
        ("carried\U000e0101", ["U+E0101"]),
        ("filler\u3164", ["U+3164"]),
        ("escape\x1b[8m", ["U+001B"]),
        ("lines\u2028", ["U+2028"]),
        ("private\ue000", ["U+E000"]),
    ],
)
def test_what_a_person_does_not_see_is_found(text: str, found: list[str]) -> None:
    assert hidden_characters({"description": text}) == found


def test_every_text_of_a_definition_is_looked_at() -> None:
    definition = {"inputSchema": {"properties": {"a\u200b": {"enum": ["x", "y\u202e"]}}}}
    assert hidden_characters(definition) == ["U+200B", "U+202E"]
