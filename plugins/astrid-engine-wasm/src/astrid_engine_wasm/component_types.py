"""Reads a component's types into WIT types; what the wrapper knows about them stays in here.

Trusted with limits alone: the types are the guest author's, so their number and size is bounded
before anything is built from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from wasmtime import Engine
from wasmtime import component as wc

from astrid_engine_wasm.wit_types import (
    PRIMITIVES,
    Enum,
    Flags,
    Handle,
    List,
    Option,
    Primitive,
    Record,
    Result,
    Signature,
    Tuple,
    Variant,
    WitType,
)
from astrid_hookspecs.errors import ComponentError

MAX_NODES = 4096
"""Type nodes of one signature; the largest of the ABI has about 60."""
MAX_IMPORTS = 8192
"""Exports of all imported instances together."""


@dataclass(slots=True)
class TypeWalk:
    """Reads an engine's component types; knows the resources that were declared so far."""

    engine: Engine
    seen: int = 0
    nodes: int = 0
    handles: int = 0
    resources: list[tuple[wc.ResourceType, str]] = field(default_factory=list)
    named: dict[type, list[tuple[wc.ValType, WitType, int]]] = field(default_factory=dict)

    def items(self, name: str, instance: wc.ComponentInstanceType) -> dict[str, wc.ComponentItem]:
        """What an imported interface consists of.

        Raises:
            ComponentError: The imports are too many, or of a kind that cannot be linked.
        """
        exports = instance.exports(self.engine)
        self.seen += len(exports)
        if self.seen > MAX_IMPORTS:
            raise forbidden_import(name, f"the imports hold more than {MAX_IMPORTS} items")
        return {key: component_item(value, f"{name}#{key}") for key, value in exports.items()}

    def resource_name(self, found: wc.ResourceType) -> str | None:
        """`interface/name` of the import that declared a resource first; None for a new one."""
        return next((name for known, name in self.resources if known == found), None)

    def signature(self, function: wc.FuncType, where: str) -> Signature:
        """A function's types.

        Raises:
            ComponentError: Names `where` and what cannot cross or is too large.
        """
        self.nodes = 0
        try:
            params = tuple((name, self._type(item)) for name, item in function.params)
            result = function.result
            return Signature(params, None if result is None else self._type(result))
        except _UnknownTypeError as error:
            raise ComponentError(
                f"{where}: {error}",
                code="engine.component.type",
                hint="rebuild the component against the interfaces of this release",
            ) from error

    def _maybe(self, item: wc.ValType | None) -> WitType | None:
        return None if item is None else self._type(item)

    def _type(self, item: wc.ValType) -> WitType:  # noqa: PLR0911 - one case per type
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise _UnknownTypeError(f"the signature has more than {MAX_NODES} types")
        name = _PRIMITIVE_NAMES.get(type(item))
        if name is not None:
            return Primitive(name)
        if type(item) in _NAMED:
            return self._named(item)
        match item:
            case wc.OwnType() | wc.BorrowType():
                resource = self.resource_name(item.ty)
                if resource is None:
                    raise _UnknownTypeError("it uses a resource that no import declares")
                self.handles += 1
                return Handle(resource, owned=isinstance(item, wc.OwnType))
            case wc.ListType():
                return List(self._type(item.element))
            case wc.OptionType():
                return Option(self._type(item.payload))
            case wc.ResultType():
                return Result(self._maybe(item.ok), self._maybe(item.err))
            case wc.TupleType():
                return Tuple(tuple(self._type(part) for part in item.elements))
        raise _UnknownTypeError(f"type {type(item).__name__} cannot cross the host boundary")

    def _named(self, item: wc.ValType) -> WitType:
        """A type that interfaces give a name, and so use in many functions: read once.

        Only types without handles are remembered: the library aborts the process when it compares
        two that hold resources of a component which is not instantiated.
        """
        known = self.named.setdefault(type(item), [])
        for other, found, size in known:
            if other == item:
                self.nodes += size
                return found
        nodes, handles = self.nodes, self.handles
        found = self._expand(item)
        if self.handles == handles:
            known.append((item, found, self.nodes - nodes))
        return found

    def _expand(self, item: wc.ValType) -> WitType:
        match item:
            case wc.RecordType():
                return Record(tuple((name, self._type(part)) for name, part in item.fields))
            case wc.VariantType():
                return Variant(tuple((name, self._maybe(part)) for name, part in item.cases))
            case wc.EnumType():
                return Enum(tuple(item.names))
            case wc.FlagsType():
                return Flags(tuple(item.names))
        raise _UnknownTypeError(f"type {type(item).__name__} cannot cross the host boundary")


class _UnknownTypeError(Exception):
    pass


_NAMED = frozenset({wc.RecordType, wc.VariantType, wc.EnumType, wc.FlagsType})


_PRIMITIVE_NAMES: Mapping[type, str] = {
    getattr(wc, name.capitalize()): name for name in sorted(PRIMITIVES)
}


def imported_instances(
    component: wc.Component, engine: Engine
) -> Iterator[tuple[str, wc.ComponentInstanceType]]:
    """Imported interfaces in the component's order.

    Raises:
        ComponentError: Something else is imported, a function or a module.
    """
    for name, extern in component.type.imports(engine).items():
        item = component_item(extern, name)
        if not isinstance(item, wc.ComponentInstanceType):
            raise forbidden_import(name, "it is not an interface; capsules import interfaces only")
        yield name, item


def component_item(extern: object, where: str) -> wc.ComponentItem:
    """What an import or export is.

    Raises:
        ComponentError: It is of a kind that the wrapper does not know.
    """
    try:
        found: wc.ComponentItem = extern.ty  # type: ignore[attr-defined]
    except TypeError as error:  # the wrapper's answer to kinds of item that it does not know
        raise forbidden_import(where, "this kind of import is not supported") from error
    return found


def forbidden_import(name: str, why: str, hint: str | None = None) -> ComponentError:
    """The error for an import that cannot be linked."""
    return ComponentError(
        f"the component imports {name[:200]}: {why}", code="engine.component.import", hint=hint
    )
