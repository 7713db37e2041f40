"""Python values to JSON: what tools return, handlers publish, and state looks like at rest."""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Mapping


def to_jsonable(value: object) -> object:
    """`value` with dataclasses, enums, tuples and sets replaced by JSON types.

    Raises:
        TypeError: Some part has no JSON form; says which type.
    """
    if isinstance(value, enum.Enum):  # first: members of mixed enums are text or numbers as well
        return to_jsonable(value.value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: to_jsonable(getattr(value, field.name)) for field in fields}
    if isinstance(value, Mapping):
        return {_key(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((to_jsonable(item) for item in value), key=repr)
    if isinstance(value, list | tuple):
        return [to_jsonable(item) for item in value]
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form")


def _key(key: object) -> str:
    if isinstance(key, enum.Enum):
        key = key.value
    if not isinstance(key, str):
        raise TypeError(f"a JSON object needs text keys, not {type(key).__name__}")
    return key


def to_json_text(value: object) -> str:
    """Compact JSON text.

    Raises:
        TypeError: Some part has no JSON form.
        ValueError: A number is not finite.
    """
    return json.dumps(
        to_jsonable(value), separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
