"""Puts WIT texts together and replaces names by what they stand for.

Trusted with untrusted texts: cycles, unknown names and types that grow without bound when their
aliases are expanded all end in `WitSyntaxError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from astrid_core.domain.wit_lexer import WitSyntaxError
from astrid_core.domain.wit_parser import parse_document
from astrid_core.domain.wit_types import (
    Case,
    Document,
    EnumOf,
    Field,
    FlagsOf,
    Function,
    Handle,
    Interface,
    ListOf,
    NameRef,
    OptionOf,
    PackageName,
    Primitive,
    RecordOf,
    Resource,
    ResultOf,
    TupleOf,
    TypeDef,
    Use,
    UsePath,
    VariantOf,
    WitType,
    World,
)

MAX_EXPANDED_NODES: Final = 10_000
"""Largest type, counted in nodes after every alias was replaced by its structure."""

_MAX_EXPANDED_DEPTH: Final = 100


@dataclass(frozen=True, slots=True)
class Declared:
    """An interface and where it was found.

    Attributes:
        id: `astrid:kv/host@1.0.0`.
        package: The package it belongs to.
        interface: What it declares.
        aliases: Top-level `use ... as` names of its text.
    """

    id: str
    package: PackageName
    interface: Interface
    aliases: Mapping[str, UsePath]


class WitSet:
    """The interfaces and worlds of a set of WIT texts that may refer to each other.

    Args:
        documents: Parsed texts, each with its package.

    Raises:
        WitSyntaxError: Two texts declare the same thing, or a text has no package.
    """

    def __init__(self, documents: Iterable[Document]) -> None:
        self.interfaces: dict[str, Declared] = {}
        self.worlds: dict[str, tuple[Declared, World]] = {}
        self._versions: dict[str, list[Declared]] = {}
        for document in _flatten(documents):
            if document.package is None:
                raise WitSyntaxError(
                    "a WIT text does not say which package it belongs to",
                    line=0,
                    hint="start it with `package namespace:name@1.0.0;`",
                )
            self._add(document.package, document)

    @classmethod
    def from_texts(cls, texts: Mapping[str, str]) -> WitSet:
        """Parse texts, given by relative path, and put them together.

        A text without a package line belongs to the package of its directory.

        Raises:
            WitSyntaxError: A text is not WIT, or they do not fit together.
        """
        parsed = {name: parse_document(text, name=name) for name, text in sorted(texts.items())}
        packages: dict[str, set[PackageName]] = {}
        for name, document in parsed.items():
            if document.package is not None:
                packages.setdefault(_directory(name), set()).add(document.package)
        documents: list[Document] = []
        for name, document in parsed.items():
            siblings = packages.get(_directory(name), set())
            if document.package is None and len(siblings) == 1:
                documents.append(replace(document, package=next(iter(siblings))))
            else:
                documents.append(document)
        return cls(documents)

    def functions(self, interface_id: str) -> Iterator[tuple[str, Function]]:
        """The functions of an interface by their binary names, resolved, methods with `self`.

        Yields:
            `("kv-get", ...)`, `("[method]subscription.recv", ...)`; resources' members last.

        Raises:
            WitSyntaxError: The interface is unknown, or a type in it cannot be resolved.
        """
        declared = self._declared(interface_id)
        for function in declared.interface.functions:
            yield function.name, self._resolve(declared, function)
        for resource in declared.interface.resources:
            yield from self._members(declared, resource)

    def expand(self, interface_id: str, wit_type: WitType) -> WitType:
        """Replace every name in a type by what it stands for.

        Raises:
            WitSyntaxError: An unknown name, a cycle, or a type that grows too large.
        """
        return _Expansion(self).expand(self._declared(interface_id), wit_type)

    def find_type(self, name: str) -> tuple[str, TypeDef] | None:
        """The first named type of this name, and its interface; interfaces in sorted order."""
        for interface_id, declared in sorted(self.interfaces.items()):
            for definition in declared.interface.types:
                if definition.name == name:
                    return interface_id, definition
        return None

    def check(self) -> None:
        """Resolve everything once.

        Raises:
            WitSyntaxError: Something refers to what does not exist.
        """
        for interface_id, declared in self.interfaces.items():
            for definition in declared.interface.types:
                self.expand(interface_id, definition.type)
            for use in declared.interface.uses:
                self.expand(interface_id, NameRef(use.alias, line=use.line))
            for _ in self.functions(interface_id):
                pass
        for declared, world in self.worlds.values():
            self._check_world(declared, world)

    def target(self, declared: Declared, path: UsePath, *, line: int) -> Declared:
        """The interface that a path names, seen from another interface.

        Raises:
            WitSyntaxError: There is none, or the path fits several versions.
        """
        if path.package is None and path.name in declared.aliases:
            return self.target(
                replace(declared, aliases={}), declared.aliases[path.name], line=line
            )
        if path.package is None:
            found = self.interfaces.get(declared.package.interface_id(path.name))
        elif path.version is not None:
            found = self.interfaces.get(str(path))
        else:
            found = self._only_version(path, line=line)
        if found is None:
            raise WitSyntaxError(f"there is no interface `{path}`", line=line, name=declared.id)
        return found

    def _only_version(self, path: UsePath, *, line: int) -> Declared | None:
        fits = self._versions.get(f"{path.package}/{path.name}", ())
        if len(fits) > 1:
            versions = ", ".join(sorted(declared.id for declared in fits))
            raise WitSyntaxError(
                f"`{path}` fits several interfaces: {versions}", line=line, hint="add the version"
            )
        return fits[0] if fits else None

    def _add(self, package: PackageName, document: Document) -> None:
        aliases = dict(document.aliases)
        for interface in document.interfaces:
            declared = Declared(package.interface_id(interface.name), package, interface, aliases)
            self._refuse_second(declared.id, line=interface.line)
            self.interfaces[declared.id] = declared
            versions = self._versions.setdefault(declared.id.partition("@")[0], [])
            versions.append(declared)
        for world in document.worlds:
            world_id = package.interface_id(world.name)
            self._refuse_second(world_id, line=world.line)
            self.worlds[world_id] = (Declared(world_id, package, world.scope, aliases), world)

    def _refuse_second(self, name: str, *, line: int) -> None:
        if name in self.interfaces or name in self.worlds:
            raise WitSyntaxError(f"`{name}` is declared twice", line=line)

    def _declared(self, interface_id: str) -> Declared:
        found = self.interfaces.get(interface_id)
        if found is None:
            raise WitSyntaxError(f"there is no interface `{interface_id}`", line=0)
        return found

    def _members(self, declared: Declared, resource: Resource) -> Iterator[tuple[str, Function]]:
        rep = f"{declared.id}/{resource.name}"
        for member in resource.functions:
            function = self._resolve(declared, member)
            if member.kind == "method":
                self_param = Field("self", Handle(owned=False, resource=rep))
                function = replace(function, params=(self_param, *function.params))
                yield f"[method]{resource.name}.{member.name}", function
            elif member.kind == "static":
                yield f"[static]{resource.name}.{member.name}", function
            else:
                result = function.result or Handle(owned=True, resource=rep)
                yield f"[constructor]{resource.name}", replace(function, result=result)

    def _resolve(self, declared: Declared, function: Function) -> Function:
        expansion = _Expansion(self)
        params = tuple(
            replace(param, type=expansion.expand(declared, param.type)) for param in function.params
        )
        result = None if function.result is None else expansion.expand(declared, function.result)
        return replace(function, params=params, result=result)

    def _check_world(self, declared: Declared, world: World) -> None:
        expansion = _Expansion(self)
        for definition in world.scope.types:
            expansion.expand(declared, definition.type)
        for item in world.items:
            if isinstance(item.item, UsePath):
                self.target(declared, item.item, line=item.line)
            elif isinstance(item.item, Function):
                self._resolve(declared, item.item)
            else:
                inner = replace(declared, interface=item.item)
                for function in item.item.functions:
                    self._resolve(inner, function)
        for path, _ in world.includes:
            name = str(path) if path.package else declared.package.interface_id(path.name)
            if name not in self.worlds:
                raise WitSyntaxError(f"there is no world `{path}`", line=world.line)


class _Expansion:
    """One replacement of names, with the budget that keeps it finite."""

    def __init__(self, wits: WitSet) -> None:
        self._wits = wits
        self._nodes = 0
        self._open: list[tuple[str, str]] = []

    def expand(self, declared: Declared, wit_type: WitType, depth: int = 0) -> WitType:
        self._nodes += 1
        if self._nodes > MAX_EXPANDED_NODES or depth > _MAX_EXPANDED_DEPTH:
            raise WitSyntaxError(
                "a type becomes too large when its aliases are expanded",
                line=declared.interface.line,
                name=declared.id,
            )
        if isinstance(wit_type, Primitive | EnumOf | FlagsOf):
            return wit_type
        if isinstance(wit_type, NameRef):
            return self._name(declared, wit_type, depth)
        if isinstance(wit_type, Handle):
            return self._handle(declared, wit_type, depth)
        return self._compound(declared, wit_type, depth + 1)

    def _compound(
        self,
        declared: Declared,
        wit_type: ListOf | OptionOf | TupleOf | ResultOf | RecordOf | VariantOf,
        depth: int,
    ) -> WitType:
        def inner(part: WitType) -> WitType:
            return self.expand(declared, part, depth)

        def arm(part: WitType | None) -> WitType | None:
            return None if part is None else inner(part)

        match wit_type:
            case ListOf(element):
                return ListOf(inner(element))
            case OptionOf(some):
                return OptionOf(inner(some))
            case TupleOf(items):
                return TupleOf(tuple(inner(item) for item in items))
            case ResultOf(ok, err):
                return ResultOf(arm(ok), arm(err))
            case RecordOf(fields):
                return RecordOf(tuple(Field(f.name, inner(f.type), f.docs) for f in fields))
            case _:
                cases = wit_type.cases
                return VariantOf(tuple(Case(c.name, arm(c.type), c.docs) for c in cases))

    def _name(self, declared: Declared, ref: NameRef, depth: int) -> WitType:
        key = (declared.id, ref.name)
        if key in self._open:
            raise WitSyntaxError(f"`{ref.name}` contains itself", line=ref.line, name=declared.id)
        self._open.append(key)
        try:
            match declared.interface.names.get(ref.name):
                case TypeDef(type=definition):
                    return self.expand(declared, definition, depth + 1)
                case Resource(name=name):
                    return Handle(owned=True, resource=f"{declared.id}/{name}")
                case Use(path=path, name=name, line=line):
                    source = self._wits.target(declared, path, line=line)
                    return self.expand(source, NameRef(name, line=line), depth + 1)
        finally:
            self._open.pop()
        raise WitSyntaxError(f"unknown type `{ref.name}`", line=ref.line, name=declared.id)

    def _handle(self, declared: Declared, handle: Handle, depth: int) -> Handle:
        if "/" in handle.resource:
            return handle
        target = self._name(declared, NameRef(handle.resource), depth + 1)
        if not isinstance(target, Handle) or not target.owned:
            raise WitSyntaxError(
                f"`{handle.resource}` is not a resource, so there is no handle to it",
                line=declared.interface.line,
                name=declared.id,
            )
        return Handle(handle.owned, target.resource)


def _directory(name: str) -> str:
    return name.rpartition("/")[0]


def _flatten(documents: Iterable[Document]) -> Iterator[Document]:
    """Documents and the packages nested in them; a text of nested packages only adds nothing."""
    for document in documents:
        if document.interfaces or document.worlds or not document.nested:
            yield document
        yield from document.nested
