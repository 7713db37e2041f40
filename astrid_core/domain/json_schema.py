"""JSON Schema of a WIT type, for the payloads that a capsule's manifest describes by a record.

Pure and safe on untrusted WIT: types are expanded under `WitSet`'s bounds, and what nests too
deeply to be useful in a schema becomes a plain string. Spec: capsules-and-bus 2.6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from astrid_core.domain.wit_lexer import WitSyntaxError
from astrid_core.domain.wit_resolve import WitSet
from astrid_core.domain.wit_types import (
    Case,
    EnumOf,
    FlagsOf,
    ListOf,
    NameRef,
    OptionOf,
    Primitive,
    RecordOf,
    ResultOf,
    TupleOf,
    VariantOf,
    WitType,
)

MAX_DEPTH: Final = 32
"""Deepest nesting that is described; below it everything is a string."""

JsonSchema: TypeAlias = dict[str, Any]

_STRING: Final[JsonSchema] = {"type": "string"}
_INTEGER: Final[JsonSchema] = {"type": "integer"}
_INT64: Final[JsonSchema] = {"type": "integer", "format": "int64"}
_NUMBER: Final[JsonSchema] = {"type": "number"}
_PRIMITIVES: Final[Mapping[str, JsonSchema]] = {
    "bool": {"type": "boolean"},
    **dict.fromkeys(("u8", "u16", "u32", "s8", "s16", "s32"), _INTEGER),
    **dict.fromkeys(("u64", "s64"), _INT64),
    **dict.fromkeys(("f32", "f64"), _NUMBER),
}


def find_schema(wits: WitSet, name: str) -> JsonSchema:
    """The schema of the type of this name, wherever the texts declare it.

    Args:
        wits: The WIT texts of a capsule.
        name: Name of a record or another type, in kebab-case.

    Raises:
        WitSyntaxError: No interface declares it, or it refers to what does not exist.
    """
    found = wits.find_type(name)
    if found is None:
        raise WitSyntaxError(
            f"no interface declares a type `{name}`",
            line=0,
            hint="name a record of a .wit file in the capsule's wit/ directory",
        )
    interface_id, definition = found
    schema = type_schema(wits.expand(interface_id, NameRef(name, line=definition.line)))
    return {"description": definition.docs, **schema} if definition.docs else schema


def type_schema(wit_type: WitType, *, depth: int = 0) -> JsonSchema:
    """The schema of a resolved type.

    Args:
        wit_type: Without names left to resolve.
        depth: Nesting so far.
    """
    if depth > MAX_DEPTH:
        return {"type": "string"}
    below = depth + 1
    match wit_type:
        case Primitive(name):
            schema = dict(_PRIMITIVES.get(name, _STRING))
        case OptionOf(some):
            schema = type_schema(some, depth=below)
        case ListOf(element):
            schema = {"type": "array", "items": type_schema(element, depth=below)}
        case TupleOf(items):
            parts = [type_schema(item, depth=below) for item in items]
            schema = {"type": "array", "prefixItems": parts}
        case RecordOf():
            schema = _record_schema(wit_type, depth=below)
        case ResultOf(ok, err):
            arms = (("ok", ok), ("err", err))
            schema = {"oneOf": [_arm_schema(name, arm, depth=below) for name, arm in arms]}
        case VariantOf() | EnumOf() | FlagsOf():
            schema = _cases_schema(wit_type, depth=below)
        case _:
            schema = dict(_STRING)
    return schema


def _cases_schema(wit_type: VariantOf | EnumOf | FlagsOf, *, depth: int) -> JsonSchema:
    if isinstance(wit_type, VariantOf):
        return {"oneOf": [_case_schema(case, depth=depth) for case in wit_type.cases]}
    names: JsonSchema = {"type": "string", "enum": [case.name for case in wit_type.cases]}
    return names if isinstance(wit_type, EnumOf) else {"type": "array", "items": names}


def _record_schema(record: RecordOf, *, depth: int) -> JsonSchema:
    properties: JsonSchema = {}
    required: list[str] = []
    for field in record.fields:
        name = field.name.replace("-", "_")
        schema = type_schema(field.type, depth=depth)
        properties[name] = {"description": field.docs, **schema} if field.docs else schema
        if not isinstance(field.type, OptionOf):
            required.append(name)
    schema = {"type": "object", "properties": properties}
    return {**schema, "required": required} if required else schema


def _case_schema(case: Case, *, depth: int) -> JsonSchema:
    properties: JsonSchema = {"tag": {"const": case.name}}
    if case.type is not None:
        properties["value"] = type_schema(case.type, depth=depth)
    schema: JsonSchema = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }
    return {"description": case.docs, **schema} if case.docs else schema


def _arm_schema(name: str, arm: WitType | None, *, depth: int) -> JsonSchema:
    schema = {"type": "null"} if arm is None else type_schema(arm, depth=depth)
    return {"type": "object", "properties": {name: schema}, "required": [name]}
