"""The tree that a WIT text becomes: types, functions, interfaces, worlds, packages.

Holds values only. The parser builds these trees from untrusted text with names still unresolved
(`NameRef`); `wit_resolve` replaces every name by its structure. Documentation and line numbers are
carried along but take no part in comparisons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

PRIMITIVES: Final = frozenset(
    {
        "bool", "u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64", "f32", "f64", "char",
        "string",
    }
)  # fmt: skip
"""Types that are a single word."""


@dataclass(frozen=True, slots=True)
class Primitive:
    """One of `PRIMITIVES`."""

    name: str


@dataclass(frozen=True, slots=True)
class ListOf:
    """`list<element>`."""

    element: WitType


@dataclass(frozen=True, slots=True)
class OptionOf:
    """`option<some>`."""

    some: WitType


@dataclass(frozen=True, slots=True)
class TupleOf:
    """`tuple<...>` with at least one item."""

    items: tuple[WitType, ...]


@dataclass(frozen=True, slots=True)
class ResultOf:
    """`result<ok, err>`; an arm without a value is None."""

    ok: WitType | None = None
    err: WitType | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """A record field or a function parameter."""

    name: str
    type: WitType
    docs: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Case:
    """A case of a variant, or a name of an enum or of flags (which carry no type)."""

    name: str
    type: WitType | None = None
    docs: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class RecordOf:
    """`record`; the order of the fields is part of the binary form."""

    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class VariantOf:
    """`variant`; the order of the cases is part of the binary form."""

    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class EnumOf:
    """`enum`; a variant whose cases carry nothing."""

    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class FlagsOf:
    """`flags`; a set of names."""

    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Handle:
    """A resource handle, owned or borrowed.

    Attributes:
        owned: `own<...>` rather than `borrow<...>`.
        resource: As written while unresolved; afterwards `package/interface@version/name` of the
            interface that declares the resource.
    """

    owned: bool
    resource: str


@dataclass(frozen=True, slots=True)
class NameRef:
    """A name that the surrounding interface or world defines or imports."""

    name: str
    line: int = field(default=0, compare=False)


WitType: TypeAlias = (
    Primitive
    | ListOf
    | OptionOf
    | TupleOf
    | ResultOf
    | RecordOf
    | VariantOf
    | EnumOf
    | FlagsOf
    | Handle
    | NameRef
)

FunctionKind: TypeAlias = Literal["free", "method", "static", "constructor"]


@dataclass(frozen=True, slots=True)
class Function:
    """A function, or a member of a resource.

    Attributes:
        name: As written, without the resource; empty for a constructor.
        params: In order, without the implied `self` of a method.
        result: None for a function that returns nothing.
    """

    name: str
    params: tuple[Field, ...]
    result: WitType | None = None
    kind: FunctionKind = "free"
    docs: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class TypeDef:
    """A named type: alias, record, variant, enum or flags."""

    name: str
    type: WitType
    docs: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource and its members in the order of the text."""

    name: str
    functions: tuple[Function, ...] = ()
    docs: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class UsePath:
    """The name of an interface or a world: `poll`, or `astrid:io/poll@1.0.0`.

    Attributes:
        name: Last part.
        package: `astrid:io`, None for the package of the text.
        version: None where the text gives none.
    """

    name: str
    package: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        head = f"{self.package}/" if self.package else ""
        return f"{head}{self.name}" + (f"@{self.version}" if self.version else "")


@dataclass(frozen=True, slots=True)
class Use:
    """`use path.{name as alias}`, one object per name."""

    path: UsePath
    name: str
    alias: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface with everything it declares.

    Attributes:
        names: What the name of a type stands for in it.
    """

    name: str
    uses: tuple[Use, ...] = ()
    types: tuple[TypeDef, ...] = ()
    resources: tuple[Resource, ...] = ()
    functions: tuple[Function, ...] = ()
    docs: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)
    names: Mapping[str, TypeDef | Resource | Use] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the names: texts have tens of thousands, and types refer to as many."""
        names: dict[str, TypeDef | Resource | Use] = {use.alias: use for use in self.uses}
        names.update((resource.name, resource) for resource in self.resources)
        names.update((definition.name, definition) for definition in self.types)
        object.__setattr__(self, "names", names)


@dataclass(frozen=True, slots=True)
class WorldItem:
    """One import or export of a world.

    Attributes:
        direction: Which of the two.
        item: A named interface elsewhere, a function, or an interface written in place.
    """

    direction: Literal["import", "export"]
    item: UsePath | Function | Interface
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class World:
    """A world: what a component gets and what it gives.

    Attributes:
        scope: Types, resources and uses at the level of the world.
        items: Imports and exports in the order of the text.
        includes: Worlds whose items belong to this one too, with their `with` renames.
    """

    name: str
    scope: Interface
    items: tuple[WorldItem, ...] = ()
    includes: tuple[tuple[UsePath, tuple[tuple[str, str], ...]], ...] = ()
    docs: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class PackageName:
    """`namespace:name@version`."""

    namespace: str
    name: str
    version: str | None = None

    def __str__(self) -> str:
        return f"{self.namespace}:{self.name}" + (f"@{self.version}" if self.version else "")

    def interface_id(self, interface: str) -> str:
        """The name under which a component imports an interface: `astrid:kv/host@1.0.0`."""
        version = f"@{self.version}" if self.version else ""
        return f"{self.namespace}:{self.name}/{interface}{version}"


@dataclass(frozen=True, slots=True)
class Document:
    """One WIT text, or one nested package of it.

    Attributes:
        package: None for a text that leaves its package to a sibling file.
        aliases: Top-level `use path as name`.
        nested: Packages written inside this text.
    """

    package: PackageName | None
    interfaces: tuple[Interface, ...] = ()
    worlds: tuple[World, ...] = ()
    aliases: tuple[tuple[str, UsePath], ...] = ()
    nested: tuple[Document, ...] = ()
    docs: str = field(default="", compare=False)
