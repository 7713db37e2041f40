"""Parses what stands inside an interface: uses, types, resources and functions.

Trusted with untrusted text, as `wit_parser`, which builds whole texts from these pieces.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from astrid_core.domain.wit_reader import TokenReader
from astrid_core.domain.wit_types import (
    PRIMITIVES,
    Case,
    EnumOf,
    Field,
    FlagsOf,
    Function,
    FunctionKind,
    Handle,
    Interface,
    ListOf,
    NameRef,
    OptionOf,
    Primitive,
    RecordOf,
    Resource,
    ResultOf,
    TupleOf,
    TypeDef,
    Use,
    VariantOf,
    WitType,
)

MAX_TYPE_DEPTH: Final = 64
"""Deepest nesting of `list<option<...>>` in the text."""

_MAX_FLAGS: Final = 32
_T = TypeVar("_T")


class Scope:
    """Collects the declarations of one interface or world and keeps their names unique."""

    def __init__(self, name: str, *, docs: str, line: int) -> None:
        self._name = name
        self._docs = docs
        self._line = line
        self.names: set[str] = set()
        self.uses: list[Use] = []
        self.types: list[TypeDef] = []
        self.resources: list[Resource] = []
        self.functions: list[Function] = []

    def finish(self) -> Interface:
        """The collected declarations as a value."""
        return Interface(
            self._name,
            uses=tuple(self.uses),
            types=tuple(self.types),
            resources=tuple(self.resources),
            functions=tuple(self.functions),
            docs=self._docs,
            line=self._line,
        )


class ItemParser(TokenReader):
    """The rules below the level of packages."""

    def new_scope(self, name: str, *, line: int, docs: str = "") -> Scope:
        """An empty scope."""
        return Scope(name, docs=docs, line=line)

    def interface(self, *, docs: str) -> Interface:
        """`name { ... }`, after the keyword."""
        line = self.peek().line
        return self.interface_body(
            self.identifier("the name of the interface"), docs=docs, line=line
        )

    def interface_body(self, name: str, *, docs: str, line: int) -> Interface:
        """`{ ... }` of an interface."""
        self.expect("{")
        scope = self.new_scope(name, line=line, docs=docs)
        while not self.at_symbol("}"):
            token = self.peek()
            self.feature_gates()
            if self.type_level_item(scope, docs=token.docs):
                continue
            line = self.peek().line
            function = self.identifier("a function, a type, `use` or `}`")
            self.unique(function, scope.names, "something else here")
            self.expect(":")
            scope.names.add(function)
            scope.functions.append(self.function(function, docs=token.docs, line=line))
        self.expect("}")
        return scope.finish()

    def type_level_item(self, scope: Scope, *, docs: str) -> bool:
        """Parse `use` or a type definition into the scope; False when neither stands here."""
        line = self.peek().line
        if self.at_keyword("use"):
            self._use_names(scope)
            return True
        if self.at_keyword("resource"):
            self.take()
            resource = self._resource(docs=docs, line=line)
            self._declare(scope, resource.name)
            scope.resources.append(resource)
            return True
        if not self.at_keyword("type", "record", "variant", "enum", "flags"):
            return False
        keyword = self.take().text
        name = self.identifier(f"the name of the {keyword}")
        self._declare(scope, name)
        scope.types.append(TypeDef(name, self._definition(keyword), docs=docs, line=line))
        return True

    def function(self, name: str, *, docs: str, line: int, kind: FunctionKind = "free") -> Function:
        """`func(...) -> T;`, after the name and the colon."""
        if self.at_keyword("async"):
            raise self.error("`async` functions are not supported")
        self.expect_keyword("func")
        params = self._params()
        result = self._result()
        self.expect(";")
        return Function(name, params, result=result, kind=kind, docs=docs, line=line)

    def _declare(self, scope: Scope, name: str) -> None:
        self.unique(name, scope.names, "something else here")
        scope.names.add(name)

    def _use_names(self, scope: Scope) -> None:
        line = self.peek().line
        self.expect_keyword("use")
        path = self.use_path()
        self.expect(".")

        def one() -> Use:
            name = self.identifier("the name of a type")
            alias = name
            if self.at_keyword("as"):
                self.take()
                alias = self.identifier("the new name")
            self._declare(scope, alias)
            return Use(path, name, alias, line=line)

        scope.uses.extend(self._block(one))
        self.expect(";")

    def _block(self, one: Callable[[], _T]) -> tuple[_T, ...]:
        """`{ a, b, }` with at least one item."""
        self.expect("{")
        items = [one()]
        while self.separator("}") and not self.at_symbol("}"):
            items.append(one())
        self.expect("}")
        return tuple(items)

    def _definition(self, keyword: str) -> WitType:
        if keyword == "type":
            self.expect("=")
            aliased = self._type()
            self.expect(";")
            return aliased
        if keyword == "record":
            fields = self._block(self._field)
            self._all_different(tuple(item.name for item in fields), "field")
            return RecordOf(fields)
        cases = self._block(self._case if keyword == "variant" else self._bare_case)
        self._all_different(tuple(item.name for item in cases), "case")
        if keyword == "variant":
            return VariantOf(cases)
        if keyword == "enum":
            return EnumOf(cases)
        if len(cases) > _MAX_FLAGS:
            raise self.error(f"flags have at most {_MAX_FLAGS} names, these have {len(cases)}")
        return FlagsOf(cases)

    def _all_different(self, names: tuple[str, ...], what: str) -> None:
        seen: set[str] = set()
        for name in names:
            if name in seen:
                raise self.error(f"the {what} `{name}` occurs twice")
            seen.add(name)

    def _field(self) -> Field:
        docs = self.peek().docs
        self.feature_gates()
        name = self.identifier("a name")
        self.expect(":")
        return Field(name, self._type(), docs=docs)

    def _bare_case(self) -> Case:
        docs = self.peek().docs
        self.feature_gates()
        return Case(self.identifier("the name of a case"), docs=docs)

    def _case(self) -> Case:
        case = self._bare_case()
        if not self.at_symbol("("):
            return case
        self.take()
        payload = self._type()
        self.expect(")")
        return Case(case.name, payload, docs=case.docs)

    def _resource(self, *, docs: str, line: int) -> Resource:
        name = self.identifier("the name of the resource")
        if self.at_symbol(";"):
            self.take()
            return Resource(name, docs=docs, line=line)
        self.expect("{")
        members: list[Function] = []
        names: set[str] = set()
        while not self.at_symbol("}"):
            member = self._member()
            key = "constructor" if member.kind == "constructor" else member.name
            self.unique(key, names, f"another member of `{name}`")
            names.add(key)
            members.append(member)
        self.expect("}")
        return Resource(name, tuple(members), docs=docs, line=line)

    def _member(self) -> Function:
        token = self.peek()
        self.feature_gates()
        if self.at_keyword("constructor"):
            line = self.take().line
            params = self._params()
            result = self._result()
            self.expect(";")
            return Function("", params, result, kind="constructor", docs=token.docs, line=line)
        line = self.peek().line
        name = self.identifier("a method, a `static` function or `constructor`")
        self.expect(":")
        if self.at_keyword("static"):
            self.take()
            return self.function(name, docs=token.docs, line=line, kind="static")
        return self.function(name, docs=token.docs, line=line, kind="method")

    def _params(self) -> tuple[Field, ...]:
        self.expect("(")
        params: list[Field] = []
        while not self.at_symbol(")"):
            params.append(self._field())
            if not self.separator(")"):
                break
        self.expect(")")
        self._all_different(tuple(param.name for param in params), "parameter")
        return tuple(params)

    def _result(self) -> WitType | None:
        if not self.at_symbol("->"):
            return None
        self.take()
        return self._type()

    def _type(self, depth: int = 0) -> WitType:
        if depth > MAX_TYPE_DEPTH:
            raise self.error(f"types nest deeper than {MAX_TYPE_DEPTH} levels")
        token = self.peek()
        if token.kind == "name":
            self.take()
            return NameRef(token.text, line=token.line)
        if token.kind != "keyword":
            raise self.unexpected("a type")
        if token.text in PRIMITIVES:
            self.take()
            return Primitive(token.text)
        if token.text in {"stream", "future", "error-context"}:
            raise self.error(f"`{token.text}` is not supported", hint="use `list` or a resource")
        if token.text == "result":
            self.take()
            return self._result_type(depth)
        if token.text not in {"list", "option", "tuple", "own", "borrow"}:
            raise self.unexpected("a type")
        self.take()
        self.expect("<")
        parsed = self._generic(token.text, depth)
        self.expect(">")
        return parsed

    def _generic(self, word: str, depth: int) -> WitType:
        if word in {"own", "borrow"}:
            return Handle(word == "own", self.identifier("the name of a resource"))
        if word == "option":
            return OptionOf(self._type(depth + 1))
        if word == "list":
            element = self._type(depth + 1)
            if self.at_symbol(","):
                raise self.error("lists of fixed length are not supported", hint="use `tuple`")
            return ListOf(element)
        items = [self._type(depth + 1)]
        while self.separator(">") and not self.at_symbol(">"):
            items.append(self._type(depth + 1))
        return TupleOf(tuple(items))

    def _result_type(self, depth: int) -> ResultOf:
        if not self.at_symbol("<"):
            return ResultOf()
        self.take()
        ok: WitType | None = None
        if self.at_symbol("_"):
            self.take()
            if not self.at_symbol(","):
                raise self.unexpected("`,` and the error type")
        else:
            ok = self._type(depth + 1)
        err: WitType | None = None
        if self.at_symbol(","):
            self.take()
            err = self._type(depth + 1)
        self.expect(">")
        return ResultOf(ok, err)
