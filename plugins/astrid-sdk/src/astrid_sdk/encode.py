"""Python values to JSON: what tools return, handlers publish, and state looks like at rest."""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Mapping
from typing import Any, Final


def _plain(value: object) -> object:
    """A value JSON does not know, in terms of values it knows; one level."""
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form")


_ENCODER: Final = json.JSONEncoder(
    separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain
)


def to_json_text(value: object) -> str:
    """Compact JSON text; dataclasses, enums, tuples, sets and mappings are welcome.

    Raises:
        TypeError: Some part has no JSON form; says which type.
        ValueError: A number is not finite, or a value contains itself.
    """
    return _ENCODER.encode(value)


def to_jsonable(value: object) -> Any:
    """`value` as JSON types.

    Raises:
        TypeError, ValueError: As `to_json_text`.
    """
    return json.loads(to_json_text(value))
