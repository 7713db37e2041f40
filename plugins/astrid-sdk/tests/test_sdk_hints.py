"""Type hints as contracts: schema and conversion come from one table."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Any, Literal, NewType, NotRequired, Optional, TypedDict

import pytest

from astrid_sdk.errors import ArgumentError, DeclarationError
from astrid_sdk.hints import shape_of

UserId = NewType("UserId", str)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclass
class Point:
    """A place.

    Attributes:
        x: How far right.
    """

    x: int
    y: int = 0
    tags: list[str] = field(default_factory=list)


class Options(TypedDict):
    limit: int
    note: NotRequired[str]


@dataclass
class Node:
    children: list[Node]


STRING = {"type": "string"}
SCHEMAS: list[tuple[Any, dict[str, Any]]] = [
    (str, STRING),
    (int, {"type": "integer"}),
    (float, {"type": "number"}),
    (bool, {"type": "boolean"}),
    (None, {"type": "null"}),
    (Any, {}),
    (object, {}),
    (list, {"type": "array"}),
    (dict, {"type": "object"}),
    (UserId, STRING),
    (list[str], {"type": "array", "items": STRING}),
    (Sequence[int], {"type": "array", "items": {"type": "integer"}}),
    (set[str], {"type": "array", "items": STRING, "uniqueItems": True}),
    (tuple[str, ...], {"type": "array", "items": STRING}),
    (
        tuple[str, int],
        {
            "type": "array",
            "prefixItems": [STRING, {"type": "integer"}],
            "minItems": 2,
            "maxItems": 2,
        },
    ),
    (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
    (Mapping[str, Any], {"type": "object", "additionalProperties": {}}),
    (Optional[str], {"anyOf": [STRING, {"type": "null"}]}),  # noqa: UP045 - the old spelling
    (int | str, {"anyOf": [{"type": "integer"}, STRING]}),
    (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
    (Literal["a", 1], {"enum": ["a", 1]}),
    (Colour, {"type": "string", "enum": ["red", "blue"]}),
    (Level, {"enum": [1, 2]}),
    (Annotated[str, "a name"], {"type": "string", "description": "a name"}),
    (
        Point,
        {
            "type": "object",
            "properties": {
                "x": {"type": "integer", "description": "How far right."},
                "y": {"type": "integer", "default": 0},
                "tags": {"type": "array", "items": STRING},
            },
            "additionalProperties": False,
            "required": ["x"],
        },
    ),
    (
        Options,
        {
            "type": "object",
            "properties": {"limit": {"type": "integer"}, "note": STRING},
            "additionalProperties": False,
            "required": ["limit"],
        },
    ),
]


@pytest.mark.parametrize(("hint", "schema"), SCHEMAS, ids=[str(hint) for hint, _ in SCHEMAS])
def test_schema_of_hint(hint: Any, schema: dict[str, Any]) -> None:
    assert shape_of(hint).schema == schema
    json.dumps(schema)


CONVERSIONS: list[tuple[Any, Any, Any]] = [
    (str, "a", "a"),
    (int, 3, 3),
    (int, 3.0, 3),
    (float, 3, 3.0),
    (list[int], [1, 2], [1, 2]),
    (set[str], ["a", "a"], {"a"}),
    (tuple[str, int], ["a", 1], ("a", 1)),
    (Optional[int], None, None),  # noqa: UP045 - the old spelling
    (int | str, "x", "x"),
    (Colour, "red", Colour.RED),
    (Level, 2, Level.HIGH),
    (Point, {"x": 1}, Point(1)),
    (list[Point], [{"x": 1, "y": 2, "tags": ["t"]}], [Point(1, 2, ["t"])]),
    (Options, {"limit": 1}, {"limit": 1}),
    (dict[str, float], {"a": 1}, {"a": 1.0}),
]


@pytest.mark.parametrize(("hint", "value", "expected"), CONVERSIONS)
def test_conversion(hint: Any, value: Any, expected: Any) -> None:
    found = shape_of(hint).convert(value, "arg")

    assert found == expected
    assert type(found) is type(expected)


REFUSED: list[tuple[Any, Any, str]] = [
    (str, 7, "argument 'arg': expected a string, found an integer"),
    (int, True, "argument 'arg': expected an integer, found a boolean"),
    (int, 1.5, "argument 'arg': expected an integer, found a number"),
    (int, "1", "argument 'arg': expected an integer, found a string"),
    (float, False, "argument 'arg': expected a number, found a boolean"),
    (float, 10**400, "argument 'arg': expected a number, found an integer"),
    (bool, 1, "argument 'arg': expected true or false, found an integer"),
    (list[int], [1, "x"], "argument 'arg[1]': expected an integer, found a string"),
    (list[int], {"a": 1}, "argument 'arg': expected a list, found an object"),
    (tuple[str, int], ["a"], "argument 'arg': expected a list of 2, found a list of 1"),
    (
        Literal["a", "b"],
        "secret-value",
        "argument 'arg': expected one of 'a', 'b', found another string",
    ),
    (Literal[1], True, "argument 'arg': expected one of 1, found a boolean"),
    (Colour, None, "argument 'arg': expected one of 'red', 'blue', found null"),
    (int | str, [], "argument 'arg': expected an integer or a string, found a list"),
    (Point | None, {"x": "a"}, "argument 'arg.x': expected an integer, found a string"),
    (Point, {}, "argument 'arg.x': expected an integer, found nothing"),
    (Point, {"x": 1, "z": 2}, "argument 'arg.z': expected one of: x, y, tags, found this name"),
    (dict[str, int], {"k": "v"}, "argument 'arg.k': expected an integer, found a string"),
]


@pytest.mark.parametrize(("hint", "value", "message"), REFUSED)
def test_refusal_names_place_and_kind_but_never_the_value(
    hint: Any, value: Any, message: str
) -> None:
    with pytest.raises(ArgumentError) as caught:
        shape_of(hint).convert(value, "arg")

    assert str(caught.value) == message
    assert "secret-value" not in message


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (date, "no JSON form; use str, int"),
        (bytes, "no JSON form"),
        (dict[int, str], "text keys"),
        (Node, "contains itself"),
        (Literal[b"x"], "a choice must be"),
        (type[int], "no JSON form; use str, int"),
        (3, "no JSON form"),
    ],
)
def test_hint_without_json_form_is_refused_at_declaration(hint: Any, words: str) -> None:
    with pytest.raises(DeclarationError, match=words):
        shape_of(hint)
