"""Canonical signature texts: how the shape of a host function is written, compared and read back.

A signature text has every alias expanded, so two functions have the same text exactly when a guest
built for the one can call the other. `docs/abi.md` holds the grammar.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from astrid_core.domain.wit_lexer import Token, WitSyntaxError
from astrid_core.domain.wit_reader import TokenReader
from astrid_core.domain.wit_resolve import WitSet
from astrid_core.domain.wit_types import (
    PRIMITIVES,
    Case,
    EnumOf,
    Field,
    FlagsOf,
    Function,
    Handle,
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

_MAX_DEPTH: Final = 128
_CASE_WORDS: Final[Mapping[type, str]] = {
    VariantOf: "variant",
    EnumOf: "enum",
    FlagsOf: "flags",
}
_CASE_TYPES: Final[Mapping[str, type[VariantOf | EnumOf | FlagsOf]]] = {
    "variant": VariantOf,
    "enum": EnumOf,
    "flags": FlagsOf,
}


@dataclass(frozen=True, slots=True)
class Signature:
    """Parameters and result of a function, without names left to resolve."""

    params: tuple[Field, ...]
    result: WitType | None = None

    @classmethod
    def of(cls, function: Function) -> Signature:
        """The signature of a resolved function."""
        return cls(function.params, function.result)

    def __str__(self) -> str:
        params = ", ".join(f"{param.name}: {type_text(param.type)}" for param in self.params)
        arrow = "" if self.result is None else f" -> {type_text(self.result)}"
        return f"func({params}){arrow}"


def type_text(wit_type: WitType) -> str:
    """The canonical text of a resolved type.

    Raises:
        WitSyntaxError: The type still contains a name.
    """
    match wit_type:
        case Primitive(name):
            text = name
        case ListOf(inner) | OptionOf(inner):
            text = f"{'list' if isinstance(wit_type, ListOf) else 'option'}<{type_text(inner)}>"
        case TupleOf(items):
            text = f"tuple<{', '.join(map(type_text, items))}>"
        case ResultOf():
            text = _result_text(wit_type)
        case Handle(owned, resource):
            text = f"{'own' if owned else 'borrow'}<{resource}>"
        case NameRef(name, line):
            raise WitSyntaxError(f"`{name}` is not resolved", line=line)
        case _:
            text = _named_parts_text(wit_type)
    return text


def _named_parts_text(wit_type: RecordOf | VariantOf | EnumOf | FlagsOf) -> str:
    if isinstance(wit_type, RecordOf):
        word = "record"
        parts = [f"{item.name}: {type_text(item.type)}" for item in wit_type.fields]
    else:
        word = _CASE_WORDS[type(wit_type)]
        parts = [_case_text(case) for case in wit_type.cases]
    return f"{word}{{{', '.join(parts)}}}"


def _result_text(result: ResultOf) -> str:
    ok = None if result.ok is None else type_text(result.ok)
    if result.err is None:
        return "result" if ok is None else f"result<{ok}>"
    return f"result<{ok or '_'}, {type_text(result.err)}>"


def _case_text(case: Case) -> str:
    return case.name if case.type is None else f"{case.name}({type_text(case.type)})"


def signatures(wits: WitSet) -> dict[str, str | None]:
    """Everything that a component can import from these texts.

    Returns:
        Signature texts by `interface#function`; every interface also by its bare name, and every
        resource as `interface#[resource]name`, both with None.

    Raises:
        WitSyntaxError: A type cannot be resolved.
    """
    out: dict[str, str | None] = {}
    for interface_id, declared in sorted(wits.interfaces.items()):
        out[interface_id] = None
        for resource in declared.interface.resources:
            out[f"{interface_id}#[resource]{resource.name}"] = None
        for name, function in wits.functions(interface_id):
            out[f"{interface_id}#{name}"] = str(Signature.of(function))
    return out


def parse_signature(text: str) -> Signature:
    """Read a canonical signature text.

    Raises:
        WitSyntaxError: The text is not a signature, or not in canonical form.
    """
    parser = _SignatureParser(text, name="signature")
    signature = parser.signature()
    if str(signature) != text:
        raise WitSyntaxError(
            "the signature is not in canonical form", line=0, hint=f"write it as {signature}"
        )
    return signature


class _SignatureParser(TokenReader):
    def signature(self) -> Signature:
        self.expect_keyword("func")
        self.expect("(")
        params = self._fields(")")
        result: WitType | None = None
        if self.at_symbol("->"):
            self.take()
            result = self._type(0)
        if not self.at_end():
            raise self.unexpected("the end of the signature")
        return Signature(params, result)

    def _word(self) -> Token:
        """A name; in this notation keywords are names too."""
        if self.peek().kind not in {"name", "keyword"}:
            raise self.unexpected("a name")
        return self.take()

    def _fields(self, closing: str, depth: int = 0) -> tuple[Field, ...]:
        fields: list[Field] = []
        while not self.at_symbol(closing):
            name = self._word().text
            self.expect(":")
            fields.append(Field(name, self._type(depth)))
            if not self.separator(closing):
                break
        self.expect(closing)
        return tuple(fields)

    def _cases(self, depth: int) -> tuple[Case, ...]:
        self.expect("{")
        cases: list[Case] = []
        while not self.at_symbol("}"):
            name = self._word().text
            payload: WitType | None = None
            if self.at_symbol("("):
                self.take()
                payload = self._type(depth)
                self.expect(")")
            cases.append(Case(name, payload))
            if not self.separator("}"):
                break
        self.expect("}")
        return tuple(cases)

    def _type(self, depth: int) -> WitType:
        if depth > _MAX_DEPTH:
            raise self.error("the type nests too deeply")
        word = self._word().text
        parsed: WitType
        if word in PRIMITIVES:
            parsed = Primitive(word)
        elif word == "record":
            self.expect("{")
            parsed = RecordOf(self._fields("}", depth + 1))
        elif word in _CASE_TYPES:
            parsed = _CASE_TYPES[word](self._cases(depth + 1))
        elif word in {"own", "borrow"}:
            parsed = Handle(word == "own", self._resource())
        elif word in {"list", "option", "tuple", "result"}:
            parsed = self._generic(word, depth + 1)
        else:
            raise self.error(f"`{word}` is not a type")
        return parsed

    def _generic(self, word: str, depth: int) -> WitType:
        if word == "result" and not self.at_symbol("<"):
            return ResultOf()
        self.expect("<")
        items: list[WitType | None] = []
        while not self.at_symbol(">"):
            if word == "result" and self.at_symbol("_"):
                self.take()
                items.append(None)
            else:
                items.append(self._type(depth))
            if not self.separator(">"):
                break
        self.expect(">")
        types = tuple(item for item in items if item is not None)
        match word, items:
            case "tuple", [_, *_]:
                return TupleOf(types)
            case "list", [element] if element is not None:
                return ListOf(element)
            case "option", [some] if some is not None:
                return OptionOf(some)
            case "result", [ok]:
                return ResultOf(ok)
            case "result", [ok, err]:
                return ResultOf(ok, err)
        raise self.error(f"`{word}` has the wrong number of arguments")

    def _resource(self) -> str:
        """`astrid:io/poll@1.0.0/pollable` between angle brackets."""
        self.expect("<")
        text = self._word().text
        self.expect(":")
        text += f":{self._word().text}"
        self.expect("/")
        text += f"/{self._word().text}"
        version = self.version_suffix()
        text += f"@{version}" if version else ""
        self.expect("/")
        text += f"/{self._word().text}"
        self.expect(">")
        return text
