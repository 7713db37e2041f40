"""Type hints as contracts: the JSON Schema they mean, and the conversion that enforces it.

Both come from one walk over the hint, so what a tool advertises is what it accepts. The walk is
done once, when the capsule is imported; a hint that JSON can not express is refused there.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin

from astrid_sdk.docstrings import parse_docstring
from astrid_sdk.encode import to_jsonable
from astrid_sdk.errors import ArgumentError, DeclarationError

Schema = dict[str, Any]
Convert = Callable[[Any, str], Any]


class Shape(NamedTuple):
    """What one hint means.

    Attributes:
        schema: JSON Schema, a fresh dict.
        convert: Checks a JSON value and makes the Python value; raises `ArgumentError`.
        expected: What is accepted, in words.
    """

    schema: Schema
    convert: Convert
    expected: str


class Field(NamedTuple):
    """A named part: a parameter, a dataclass field, a key of a typed dict."""

    name: str
    shape: Shape
    description: str
    required: bool
    default: object = None


def describe_value(value: object) -> str:
    """The JSON type of a value, in words; never the value."""
    names: dict[type, str] = {
        bool: "a boolean",
        int: "an integer",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return "null" if value is None else names.get(type(value), f"a {type(value).__name__}")


def shape_of(hint: object, *, seen: tuple[type, ...] = ()) -> Shape:
    """What a resolved type hint means.

    Args:
        hint: The hint, with forward references resolved and `Annotated` kept.
        seen: Classes being walked, to find recursion.

    Raises:
        DeclarationError: JSON can not express the hint.
    """
    while isinstance(hint, typing.NewType):
        hint = hint.__supertype__
    if type(hint).__name__ == "TypeAliasType":
        return shape_of(typing.cast("Any", hint).__value__, seen=seen)
    if _is_scalar(hint):
        shape = _SCALARS[hint]
        return shape._replace(schema=dict(shape.schema))
    origin = get_origin(hint)
    if origin is not None:
        return _generic(hint, origin, seen)
    if isinstance(hint, type):
        return _class(hint, seen)
    raise _without_form(repr(hint))


def _is_scalar(hint: object) -> bool:
    try:
        return hint in _SCALARS
    except TypeError:  # metadata of an annotation need not be hashable
        return False


def fields_shape(fields: tuple[Field, ...], *, build: Callable[..., Any], what: str) -> Shape:
    """An object with these fields and no others; `build` gets them as keyword arguments."""
    properties: dict[str, Schema] = {}
    for field in fields:
        schema = dict(field.shape.schema)
        if field.description:
            schema["description"] = field.description
        if not field.required and field.default is not None:
            schema["default"] = to_jsonable(field.default)
        properties[field.name] = schema
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if required := [field.name for field in fields if field.required]:
        schema["required"] = required
    by_name = {field.name: field for field in fields}

    def convert(value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            raise ArgumentError(path or "arguments", expected=what, found=describe_value(value))
        return build(**_convert_fields(value, by_name, f"{path}." if path else ""))

    return Shape(schema, convert, what)


def _convert_fields(
    value: Mapping[str, Any], by_name: Mapping[str, Field], prefix: str
) -> dict[str, Any]:
    for name in value:
        if name not in by_name:
            known = ", ".join(by_name) or "none"
            raise ArgumentError(prefix + name, expected=f"one of: {known}", found="this name")
    out = {}
    for name, field in by_name.items():
        if name in value:
            out[name] = field.shape.convert(value[name], prefix + name)
        elif field.required:
            raise ArgumentError(prefix + name, expected=field.shape.expected, found="nothing")
    return out


def _scalar(kind: str, expected: str, accept: Callable[[Any], bool]) -> Shape:
    def convert(value: Any, path: str) -> Any:
        if not accept(value):
            raise ArgumentError(path, expected=expected, found=describe_value(value))
        return value

    return Shape({"type": kind}, convert, expected)


def _integer(value: Any, path: str) -> int:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ArgumentError(path, expected="an integer", found=describe_value(value))
    return value


def _number(value: Any, path: str) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        if is_number and math.isfinite(number := float(value)):
            return number
    except OverflowError:
        pass
    raise ArgumentError(path, expected="a number", found=describe_value(value))


_ANYTHING: Final = Shape({}, lambda value, _path: value, "any value")
_SCALARS: Final[dict[object, Shape]] = {
    str: _scalar("string", "a string", lambda value: isinstance(value, str)),
    bool: _scalar("boolean", "true or false", lambda value: isinstance(value, bool)),
    None: _scalar("null", "null", lambda value: value is None),
    type(None): _scalar("null", "null", lambda value: value is None),
    int: Shape({"type": "integer"}, _integer, "an integer"),
    float: Shape({"type": "number"}, _number, "a number"),
    list: _scalar("array", "a list", lambda value: isinstance(value, list)),
    dict: _scalar("object", "an object", lambda value: isinstance(value, dict)),
    Any: _ANYTHING,
    object: _ANYTHING,
}
_SEQUENCES: Final[dict[object, Callable[[list[Any]], Any]]] = {
    list: list,
    collections.abc.Sequence: list,
    collections.abc.Iterable: list,
    set: set,
    frozenset: frozenset,
}
_MAPPINGS: Final = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


def _generic(hint: object, origin: object, seen: tuple[type, ...]) -> Shape:
    arguments = get_args(hint)
    if origin is Annotated:
        shape = shape_of(arguments[0], seen=seen)
        text = next((item for item in arguments[1:] if isinstance(item, str)), None)
        return (
            shape if text is None else shape._replace(schema=shape.schema | {"description": text})
        )
    if origin in (typing.Required, typing.NotRequired, typing.Final):
        return shape_of(arguments[0], seen=seen)
    if origin is Literal:
        return _choice(list(arguments), {item: item for item in arguments})
    if origin in (Union, types.UnionType):
        return _union([shape_of(item, seen=seen) for item in arguments])
    return _container(hint, origin, seen)


def _container(hint: object, origin: object, seen: tuple[type, ...]) -> Shape:
    arguments = get_args(hint)
    if origin is tuple:
        return _tuple(arguments, seen)
    if origin in _SEQUENCES:
        unique = origin in (set, frozenset)
        return _sequence(shape_of(arguments[0], seen=seen), _SEQUENCES[origin], unique=unique)
    if origin in _MAPPINGS:
        if arguments[0] is not str:
            raise DeclarationError(f"{hint}: a JSON object has text keys, write dict[str, ...]")
        return _mapping(shape_of(arguments[1], seen=seen))
    raise _without_form(str(hint))


def _class(hint: type, seen: tuple[type, ...]) -> Shape:
    if hint in seen:
        raise DeclarationError(f"{hint.__name__} contains itself; a tool schema can not express it")
    if issubclass(hint, enum.Enum):
        return _choice([item.value for item in hint], {item.value: item for item in hint})
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint, (*seen, hint))
    if typing.is_typeddict(hint):
        return _typed_dict(hint, (*seen, hint))
    if hint is tuple:
        return shape_of(list[Any], seen=seen)
    raise _without_form(hint.__name__)


def _without_form(hint: str) -> DeclarationError:
    return DeclarationError(
        f"the type hint {hint} has no JSON form; use str, int, float, bool, list, dict, Literal, "
        "an Enum, a dataclass or a TypedDict"
    )


def _choice(values: list[Any], members: Mapping[Any, Any]) -> Shape:
    for value in values:
        if value is not None and not isinstance(value, str | int | bool):
            raise DeclarationError(f"a choice must be text, a number or null, not {value!r}")
    expected = "one of " + ", ".join(repr(value) for value in values)
    schema: Schema = {"enum": values}
    if all(isinstance(value, str) for value in values):
        schema = {"type": "string", "enum": values}

    def convert(value: Any, path: str) -> Any:
        for known, member in members.items():
            if value == known and type(value) is type(known):
                return member
        found = "another string" if isinstance(value, str) else describe_value(value)
        raise ArgumentError(path, expected=expected, found=found)

    return Shape(schema, convert, expected)


def _union(members: list[Shape]) -> Shape:
    expected = " or ".join(member.expected for member in members)
    solid = [member for member in members if member.schema.get("type") != "null"]

    def convert(value: Any, path: str) -> Any:
        if value is not None and len(solid) == 1:
            return solid[0].convert(value, path)  # its error is more exact than "a or null"
        for member in members:
            try:
                return member.convert(value, path)
            except ArgumentError:
                continue
        raise ArgumentError(path, expected=expected, found=describe_value(value))

    return Shape({"anyOf": [member.schema for member in members]}, convert, expected)


def _sequence(item: Shape, build: Callable[[list[Any]], Any], *, unique: bool) -> Shape:
    schema: Schema = {"type": "array", "items": item.schema}
    if unique:
        schema["uniqueItems"] = True

    def convert(value: Any, path: str) -> Any:
        if not isinstance(value, list):
            raise ArgumentError(path, expected="a list", found=describe_value(value))
        return build([item.convert(part, f"{path}[{at}]") for at, part in enumerate(value)])

    return Shape(schema, convert, "a list")


def _tuple(arguments: tuple[Any, ...], seen: tuple[type, ...]) -> Shape:
    if arguments[1:] == (Ellipsis,):
        return _sequence(shape_of(arguments[0], seen=seen), tuple, unique=False)
    items = [shape_of(item, seen=seen) for item in arguments]
    size = len(items)
    expected = f"a list of {size}"
    schema: Schema = {
        "type": "array",
        "prefixItems": [item.schema for item in items],
        "minItems": size,
        "maxItems": size,
    }

    def convert(value: Any, path: str) -> Any:
        if not isinstance(value, list) or len(value) != size:
            found = f"a list of {len(value)}" if isinstance(value, list) else describe_value(value)
            raise ArgumentError(path, expected=expected, found=found)
        pairs = enumerate(zip(items, value, strict=True))
        return tuple(item.convert(part, f"{path}[{at}]") for at, (item, part) in pairs)

    return Shape(schema, convert, expected)


def _mapping(item: Shape) -> Shape:
    def convert(value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            raise ArgumentError(path, expected="an object", found=describe_value(value))
        return {key: item.convert(part, f"{path}.{key}") for key, part in value.items()}

    return Shape({"type": "object", "additionalProperties": item.schema}, convert, "an object")


def resolve_hints(thing: Any) -> dict[str, Any]:
    """Type hints of a class or function with `Annotated` kept.

    Raises:
        DeclarationError: A name in a hint can not be resolved.
    """
    try:
        return typing.get_type_hints(thing, include_extras=True)
    except (NameError, TypeError) as error:
        name = getattr(thing, "__qualname__", repr(thing))
        raise DeclarationError(f"{name}: cannot read the type hints: {error}") from error


def _dataclass(hint: type, seen: tuple[type, ...]) -> Shape:
    hints = resolve_hints(hint)
    texts = parse_docstring(inspect.getdoc(hint)).fields
    fields = []
    for item in dataclasses.fields(hint):
        if not item.init:
            continue
        shape = shape_of(hints[item.name], seen=seen)
        missing = dataclasses.MISSING
        required = item.default is missing and item.default_factory is missing
        default = None if item.default is missing else item.default
        fields.append(Field(item.name, shape, texts.get(item.name, ""), required, default))
    return fields_shape(tuple(fields), build=hint, what="an object")


def _typed_dict(hint: Any, seen: tuple[type, ...]) -> Shape:
    hints = resolve_hints(hint)
    texts = parse_docstring(inspect.getdoc(hint)).fields
    fields = []
    for name, part in hints.items():
        # the class does not see a marker inside a postponed annotation, so look again
        marker = get_origin(part)
        required = marker is typing.Required or (
            name in hint.__required_keys__ and marker is not typing.NotRequired
        )
        fields.append(Field(name, shape_of(part, seen=seen), texts.get(name, ""), required))
    return fields_shape(tuple(fields), build=dict, what="an object")
