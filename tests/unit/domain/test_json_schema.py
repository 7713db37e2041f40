from __future__ import annotations

from typing import Any

import pytest

from astrid_core.domain.json_schema import MAX_DEPTH, find_schema
from astrid_core.domain.wit import WitSet, WitSyntaxError

INTEGER = {"type": "integer"}
STRING = {"type": "string"}


def schema_of(wit_type: str, more: str = "") -> Any:
    text = f"package a:b@1.0.0; interface i {{ {more} resource res; record r {{ f: {wit_type} }} }}"
    schema = find_schema(WitSet.from_texts({"t.wit": text}), "r")
    return schema["properties"]["f"]


@pytest.mark.parametrize(
    ("wit_type", "expected"),
    [
        ("bool", {"type": "boolean"}),
        *[(name, INTEGER) for name in ("u8", "u16", "u32", "s8", "s16", "s32")],
        *[(name, {"type": "integer", "format": "int64"}) for name in ("u64", "s64")],
        *[(name, {"type": "number"}) for name in ("f32", "f64")],
        ("char", STRING),
        ("string", STRING),
        ("list<u8>", {"type": "array", "items": INTEGER}),
        ("list<option<string>>", {"type": "array", "items": STRING}),
        ("tuple<u8, string>", {"type": "array", "prefixItems": [INTEGER, STRING]}),
        ("option<u8>", INTEGER),
        ("res", STRING),
        ("borrow<res>", STRING),
        (
            "result<u8, string>",
            {
                "oneOf": [
                    {"type": "object", "properties": {"ok": INTEGER}, "required": ["ok"]},
                    {"type": "object", "properties": {"err": STRING}, "required": ["err"]},
                ]
            },
        ),
        (
            "result",
            {
                "oneOf": [
                    {"type": "object", "properties": {name: {"type": "null"}}, "required": [name]}
                    for name in ("ok", "err")
                ]
            },
        ),
    ],
)
def test_types(wit_type: str, expected: Any) -> None:
    assert schema_of(wit_type) == expected


def test_enum_and_flags_keep_kebab_names() -> None:
    names = {"type": "string", "enum": ["one-a", "two"]}
    assert schema_of("e", "enum e { one-a, two }") == names
    assert schema_of("e", "flags e { one-a, two }") == {"type": "array", "items": names}


def test_variant() -> None:
    assert schema_of("v", "variant v { none-of-it, /// How many.\n some-of-it(u8) }") == {
        "oneOf": [
            {
                "type": "object",
                "properties": {"tag": {"const": "none-of-it"}},
                "required": ["tag"],
            },
            {
                "description": "How many.",
                "type": "object",
                "properties": {"tag": {"const": "some-of-it"}, "value": INTEGER},
                "required": ["tag", "value"],
            },
        ]
    }


def test_record_with_docs_optional_fields_and_aliases_across_interfaces() -> None:
    text = """
    package a:b@1.0.0;
    interface types { /// Not shown.
        type amount = u32; }
    interface notes {
        use types.{amount as count};
        /// A saved note.
        record note-saved {
            /// Which note.
            note-id: string,
            word-count: option<count>,
            inner: nested,
        }
        record nested { a: option<bool> }
    }
    """
    assert find_schema(WitSet.from_texts({"notes.wit": text}), "note-saved") == {
        "description": "A saved note.",
        "type": "object",
        "properties": {
            "note_id": {"description": "Which note.", "type": "string"},
            "word_count": INTEGER,
            "inner": {"type": "object", "properties": {"a": {"type": "boolean"}}},
        },
        "required": ["note_id", "inner"],
    }


def test_deep_nesting_ends_in_a_string() -> None:
    schema = schema_of("list<" * 60 + "u8" + ">" * 60)
    depth = 0
    while schema["type"] == "array":
        schema, depth = schema["items"], depth + 1
    assert (schema, depth) == (STRING, MAX_DEPTH)


def test_unknown_name_is_refused() -> None:
    wits = WitSet.from_texts({"t.wit": "package a:b@1.0.0; interface i { record r { f: u8 } }"})
    with pytest.raises(WitSyntaxError, match="no interface declares a type `nope`"):
        find_schema(wits, "nope")
