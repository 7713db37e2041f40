from __future__ import annotations

from typing import Any

import pytest

from astrid_core.domain.elicitation import Answer, ElicitError
from astrid_core.domain.server_form import (
    MAX_FIELDS,
    NO_ANSWER,
    FormField,
    confirmation,
    parse_form,
)

TEXT = {"type": "string"}


def form(properties: Any, *, message: str = "Please", required: Any = ()) -> tuple[FormField, ...]:
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return parse_form("geo", message, schema)


def field(entry: Any, *, needed: bool = True, name: str = "place") -> FormField:
    (found,) = form({name: entry}, required=[name] if needed else [])
    return found


def read(entry: Any, *texts: str, needed: bool = True) -> Any:
    """What the answer of a person is worth."""
    found = field(entry, needed=needed)
    is_array = found.question.kind == "array"
    return found.read(Answer(values=texts) if is_array else Answer(texts[0]))


def test_the_question_says_who_asks_what_and_proposes_nothing_by_itself() -> None:
    asked = field({**TEXT, "title": "Place", "description": "a town", "default": "Ulm"}).question
    assert asked.prompt == "geo asks: Please - Place; a town; it proposes 'Ulm'"
    assert asked.key == "geo.place"
    assert asked.default is None
    assert field(TEXT, needed=False).question.prompt.endswith("- empty for no answer")
    assert field(TEXT).question.prompt == "geo asks: Please - place"
    assert confirmation("geo", "Sure?").options == ("yes", "no")
    assert form({}) == ()


@pytest.mark.parametrize(
    ("entry", "texts", "value"),
    [
        (TEXT, ["x"], "x"),
        ({**TEXT, "minLength": 1, "maxLength": 3}, ["abc"], "abc"),
        ({**TEXT, "format": "email"}, ["a@b.test"], "a@b.test"),
        ({**TEXT, "format": "uri"}, ["https://b.test/"], "https://b.test/"),
        ({**TEXT, "format": "date"}, ["2026-11-26"], "2026-11-26"),
        ({**TEXT, "format": "date-time"}, ["2026-11-26T10:00:00+00:00"],
         "2026-11-26T10:00:00+00:00"),
        ({**TEXT, "format": "colour"}, ["any"], "any"),
        ({**TEXT, "format": 1}, ["any"], "any"),
        ({"type": "integer"}, ["-7"], -7),
        ({"type": "number", "minimum": 0, "maximum": 2}, ["1.5"], 1.5),
        ({"type": "boolean"}, ["yes"], True),
        ({"type": "boolean"}, ["no"], False),
        ({**TEXT, "enum": ["a", "b"]}, ["b"], "b"),
        ({**TEXT, "enum": ["a", "b"], "enumNames": ["A", "B"]}, ["B"], "b"),
        ({**TEXT, "oneOf": [{"const": "a", "title": "A"}]}, ["A"], "a"),
        ({"type": "array", "items": {"enum": ["a", "b"]}}, ["b", "a", "b"], ["b", "a"]),
        ({"type": "array", "items": {"anyOf": [{"const": "a", "title": "A"}]}}, ["A"], ["a"]),
        ({"type": "array", "items": {"enum": ["a"]}}, [], []),
    ],
)  # fmt: skip
def test_an_answer_becomes_a_value_of_its_type(entry: Any, texts: list[str], value: Any) -> None:
    found = read(entry, *texts)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("entry", "texts", "said"),
    [
        (TEXT, [""], "an answer is needed"),
        ({"type": "integer"}, [""], "an answer is needed"),
        ({**TEXT, "minLength": 3}, ["ab"], "at least 3 characters"),
        ({**TEXT, "maxLength": 3}, ["abcd"], "at most 3 characters"),
        ({**TEXT, "format": "email"}, ["nobody"], "is no email"),
        ({**TEXT, "format": "email"}, ["a b@c"], "is no email"),
        ({**TEXT, "format": "uri"}, ["nowhere"], "is no uri"),
        ({**TEXT, "format": "date"}, ["today"], "is no date"),
        ({"type": "integer"}, ["1.5"], "is no integer"),
        ({"type": "number"}, ["much"], "is no number"),
        ({"type": "number"}, ["nan"], "no number"),
        ({"type": "number"}, ["inf"], "no number"),
        ({"type": "number", "minimum": 1}, ["0"], "at least 1"),
        ({"type": "number", "maximum": 1}, ["2"], "at most 1"),
        ({"type": "array", "items": {"enum": ["a"]}}, ["x"], "none of: a"),
        ({"type": "array", "items": {"enum": ["a"]}, "minItems": 1}, [], "at least 1 items"),
    ],
)
def test_an_answer_that_the_form_does_not_allow_is_none(
    entry: Any, texts: list[str], said: str
) -> None:
    with pytest.raises(ElicitError, match=said):
        read(entry, *texts)


@pytest.mark.parametrize(
    ("entry", "texts"),
    [
        (TEXT, [""]),
        ({"type": "integer"}, [""]),
        ({"type": "boolean"}, [NO_ANSWER]),
        ({**TEXT, "enum": ["a"]}, [NO_ANSWER]),
        ({"type": "array", "items": {"enum": ["a"]}}, []),
    ],
)
def test_what_is_not_required_can_be_left_out(entry: Any, texts: list[str]) -> None:
    assert read(entry, *texts, needed=False) is None


@pytest.mark.parametrize(
    ("name", "entry", "message"),
    [
        ("password", TEXT, "Please"),
        ("apiKey", TEXT, "Please"),
        ("API_KEY", TEXT, "Please"),
        ("x", {**TEXT, "title": "Access token"}, "Please"),
        ("x", {**TEXT, "description": "your seed phrase"}, "Please"),
        ("x", {**TEXT, "format": "password"}, "Please"),
        ("x", {**TEXT, "writeOnly": True}, "Please"),
        ("PIN", {"type": "integer"}, "Please"),
        ("x", TEXT, "Enter your password"),
        ("x", TEXT, "What is the private key?"),
    ],
)
def test_form_denied_when_it_asks_for_a_secret(name: str, entry: Any, message: str) -> None:
    with pytest.raises(ElicitError) as caught:
        form({name: entry}, message=message)
    assert caught.value.code == "elicit.secret"


def test_words_about_secrets_are_no_secrets() -> None:
    assert field(TEXT, name="maxTokens").is_free
    assert field({**TEXT, "description": "do not give us your pin"}).is_free
    assert form({"x": {"type": "boolean"}}, message="Reset your password?")


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "array"},
        {"type": "object", "properties": []},
        {"type": "object", "properties": {"x": "text"}},
        {"type": "object", "properties": {"x": {"type": "object"}}},
        {"type": "object", "properties": {"x": {"type": "array"}}},
        {"type": "object", "properties": {"x": {"type": "array", "items": {"type": "string"}}}},
        {"type": "object", "properties": {"x": {"type": "string", "enum": []}}},
        {"type": "object", "properties": {"x": {"type": "string", "enum": [1]}}},
        {"type": "object", "properties": {"x": {"type": "string", "enum": "ab"}}},
        {"type": "object", "properties": {"x": {"type": "string", "enum": [NO_ANSWER]}}},
        {"type": "object", "properties": {"x": {"type": "string", "oneOf": ["a"]}}},
        {"type": "object", "properties": {"x/y": {"type": "string"}}},
        {"type": "object", "properties": {f"x{n}": TEXT for n in range(MAX_FIELDS + 1)}},
        {"type": "object", "properties": {"x": {**TEXT, "title": "hidden\u200bsign"}}},
        {"type": "object", "properties": {"x": {**TEXT, "title": "long" * 300}}},
    ],
)
def test_what_is_no_form_is_refused(schema: Any) -> None:
    with pytest.raises(ElicitError) as caught:
        parse_form("geo", "Please", schema)
    assert caught.value.code == "elicit.invalid"
