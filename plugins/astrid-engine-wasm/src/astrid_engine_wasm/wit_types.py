"""WIT types as a tree, and the canonical text of a function's signature.

Pure: text in, values out. The text is what the ABI lock holds and what is derived from a component;
two functions have the same shape exactly when their texts are equal. Aliases are expanded and
resources are named by the interface that declares them, so that the text needs no context:

    func(key: string) -> result<option<list<u8>>, variant{invalid-key, unknown(string)}>
    func(self: borrow<astrid:io/poll@1.0.0/pollable>) -> bool

Grammar: `bool u8 u16 u32 u64 s8 s16 s32 s64 f32 f64 char string`, `list<T>`, `option<T>`,
`tuple<T, U>`, `result`, `result<T>`, `result<_, E>`, `result<T, E>`, `record{field: T, ...}`,
`variant{case, case(T), ...}`, `enum{a, b}`, `flags{a, b}`, `own<R>`, `borrow<R>`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias, TypeVar

_Item = TypeVar("_Item")
PRIMITIVES = frozenset(
    {"bool", "u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64", "f32", "f64", "char", "string"}
)
MAX_DEPTH = 64
"""Nesting of a signature; the ABI uses five levels."""


class SignatureError(ValueError):
    """A signature text does not follow the grammar."""


@dataclass(frozen=True, slots=True)
class Primitive:
    """A type without parts."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class List:
    """`list<T>`."""

    element: WitType

    def __str__(self) -> str:
        return f"list<{self.element}>"


@dataclass(frozen=True, slots=True)
class Option:
    """`option<T>`."""

    some: WitType

    def __str__(self) -> str:
        return f"option<{self.some}>"


@dataclass(frozen=True, slots=True)
class Tuple:
    """`tuple<T, U>`."""

    items: tuple[WitType, ...]

    def __str__(self) -> str:
        return f"tuple<{', '.join(map(str, self.items))}>"


@dataclass(frozen=True, slots=True)
class Result:
    """`result<T, E>`; a side without payload is None."""

    ok: WitType | None
    err: WitType | None

    def __str__(self) -> str:
        if self.err is not None:
            return f"result<{'_' if self.ok is None else self.ok}, {self.err}>"
        return "result" if self.ok is None else f"result<{self.ok}>"


@dataclass(frozen=True, slots=True)
class Record:
    """`record{field: T, ...}`, fields in order."""

    fields: tuple[tuple[str, WitType], ...]

    def __str__(self) -> str:
        return "record{" + ", ".join(f"{name}: {item}" for name, item in self.fields) + "}"


@dataclass(frozen=True, slots=True)
class Variant:
    """`variant{case, case(T), ...}`, cases in order."""

    cases: tuple[tuple[str, WitType | None], ...]

    def __str__(self) -> str:
        cases = (name if item is None else f"{name}({item})" for name, item in self.cases)
        return "variant{" + ", ".join(cases) + "}"

    def payload(self, case: str) -> WitType | None:
        """The payload type of a case.

        Raises:
            KeyError: There is no such case.
        """
        return dict(self.cases)[case]


@dataclass(frozen=True, slots=True)
class Enum:
    """`enum{a, b}`, names in order."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return "enum{" + ", ".join(self.names) + "}"


@dataclass(frozen=True, slots=True)
class Flags:
    """`flags{a, b}`, names in order."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return "flags{" + ", ".join(self.names) + "}"


@dataclass(frozen=True, slots=True)
class Handle:
    """`own<R>` or `borrow<R>`, where R is `<interface>/<resource>`."""

    resource: str
    owned: bool

    def __str__(self) -> str:
        return f"{'own' if self.owned else 'borrow'}<{self.resource}>"


WitType: TypeAlias = (
    Primitive | List | Option | Tuple | Result | Record | Variant | Enum | Flags | Handle
)


@dataclass(frozen=True, slots=True)
class Signature:
    """A function's parameters and result; `str()` gives the canonical text."""

    params: tuple[tuple[str, WitType], ...]
    result: WitType | None

    def __str__(self) -> str:
        params = ", ".join(f"{name}: {item}" for name, item in self.params)
        return f"func({params})" + ("" if self.result is None else f" -> {self.result}")


_TOKEN = re.compile(r"\s*(->|[a-z][a-z0-9]*(?:[-:/@.][A-Za-z0-9]+)*|[<>{}(),:_])")


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._depth = 0

    def fail(self, expected: str) -> SignatureError:
        rest = self._text[self._position : self._position + 24]
        return SignatureError(f"expected {expected} at {rest!r} in {self._text[:200]!r}")

    def peek(self) -> str:
        match = _TOKEN.match(self._text, self._position)
        return match.group(1) if match else ""

    def next(self) -> str:
        match = _TOKEN.match(self._text, self._position)
        if match is None:
            raise self.fail("a token")
        self._position = match.end()
        return match.group(1)

    def take(self, token: str) -> bool:
        if self.peek() != token:
            return False
        self.next()
        return True

    def expect(self, token: str) -> None:
        if not self.take(token):
            raise self.fail(repr(token))

    def name(self) -> str:
        token = self.peek()
        if not token[:1].isalpha() or not set(token).isdisjoint(":/@."):
            raise self.fail("a name")
        return self.next()

    def end(self) -> None:
        if self._text[self._position :].strip():
            raise self.fail("the end")

    def signature(self) -> Signature:
        self.expect("func")
        self.expect("(")
        params: list[tuple[str, WitType]] = []
        while not self.take(")"):
            if params:
                self.expect(",")
            params.append(self.field())
        return Signature(tuple(params), self.type() if self.take("->") else None)

    def field(self) -> tuple[str, WitType]:
        name = self.name()
        self.expect(":")
        return name, self.type()

    def type(self) -> WitType:
        if self._depth >= MAX_DEPTH:
            raise self.fail(f"at most {MAX_DEPTH} levels of nesting")
        self._depth += 1
        token = self.next()
        found = self.structured(token)
        self._depth -= 1
        return found

    def structured(self, word: str) -> WitType:  # noqa: C901, PLR0911 - one case per type
        match word:
            case "list":
                return List(self.angle())
            case "option":
                return Option(self.angle())
            case "tuple":
                return Tuple(self.several("<", ">", self.type))
            case "result":
                return self.result()
            case "record":
                return Record(self.several("{", "}", self.field))
            case "variant":
                return Variant(self.several("{", "}", self.case))
            case "enum":
                return Enum(self.several("{", "}", self.name))
            case "flags":
                return Flags(self.several("{", "}", self.name))
            case "own" | "borrow":
                return Handle(self.resource(), owned=word == "own")
            case _ if word in PRIMITIVES:
                return Primitive(word)
        self._position -= len(word)
        raise self.fail("a type")

    def angle(self) -> WitType:
        self.expect("<")
        inner = self.type()
        self.expect(">")
        return inner

    def several(self, start: str, stop: str, item: Callable[[], _Item]) -> tuple[_Item, ...]:
        self.expect(start)
        items: list[_Item] = []
        while not self.take(stop):
            if items:
                self.expect(",")
            items.append(item())
        return tuple(items)

    def case(self) -> tuple[str, WitType | None]:
        name = self.name()
        if not self.take("("):
            return name, None
        payload = self.type()
        self.expect(")")
        return name, payload

    def result(self) -> Result:
        if not self.take("<"):
            return Result(None, None)
        ok = None if self.take("_") else self.type()
        err = self.type() if self.take(",") else None
        self.expect(">")
        if ok is None and err is None:
            raise self.fail("an error type")
        return Result(ok, err)

    def resource(self) -> str:
        self.expect("<")
        token = self.next()
        if token.count("/") != 2:  # noqa: PLR2004 - package:ns/interface@version/resource
            raise self.fail("interface/resource")
        self.expect(">")
        return token


@lru_cache(maxsize=1024)
def parse_signature(text: str) -> Signature:
    """Parse a canonical signature text.

    Raises:
        SignatureError: The text does not follow the grammar of this module.
    """
    parser = _Parser(text)
    signature = parser.signature()
    parser.end()
    return signature


@lru_cache(maxsize=1024)
def parse_type(text: str) -> WitType:
    """Parse one type of a signature text.

    Raises:
        SignatureError: The text does not follow the grammar of this module.
    """
    parser = _Parser(text)
    found = parser.type()
    parser.end()
    return found
