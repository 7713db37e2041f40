"""One conversion plan per signature: arguments in, result out, and which errors it can carry.

Trusted with the rule that a guest gets an answer its own shape of the interface has: error cases
that the shape lacks are mapped (Spec: host-abi 1.3), and functions that cannot fail get a harmless
value (Spec: host-abi 18.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from astrid_engine_wasm.layout import VALUE_SIZE
from astrid_engine_wasm.lift import Frame, Lift, compile_lift
from astrid_engine_wasm.lower import Lower, compile_lower
from astrid_engine_wasm.resources import INERT
from astrid_engine_wasm.wit_types import (
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
    parse_signature,
)
from astrid_hookspecs.engines import WitError

__all__ = ["Frame", "Lift", "Lower", "Plan", "compile_plan", "default"]

FALLBACKS = MappingProxyType(
    {"no-such-process": "closed", "registry-full": "quota", "persist-unsupported": "unknown"}
)
"""Error cases that older shapes lack, and what they become. Spec: host-abi 1.3."""


class NoAnswerError(Exception):
    """The function's type has nothing that could say what happened; the guest must trap."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How one function's values cross.

    Attributes:
        signature: The function's types.
        lifts: One per parameter, with the distance of its value from the first one.
        lower: Writes the result, None without one. A `WitError` value makes the err side.
        takes_handles: A parameter is or contains a handle.
    """

    signature: Signature
    lifts: tuple[tuple[Lift, int], ...]
    lower: Lower | None
    takes_handles: bool

    @property
    def can_fail(self) -> bool:
        """Whether the function's result has an err side."""
        return isinstance(self.signature.result, Result)

    def error_answer(self, error: WitError) -> WitError:
        """The error that this shape can carry.

        Raises:
            NoAnswerError: The function has no err side, or none that fits.
        """
        result = self.signature.result
        if not isinstance(result, Result):
            raise NoAnswerError(f"{error.case} from a function that cannot fail")
        match result.err:
            case Variant(cases):
                return _into_variant(error, dict(cases))
            case Enum(names):
                return _into_enum(error, names)
        return error

    def unforeseen_answer(self, text: str) -> object:
        """What a guest gets when a handler failed in a way nobody foresaw.

        Args:
            text: Free text without anything secret, for `unknown`.

        Raises:
            NoAnswerError: The type has nothing harmless to say.
        """
        result = self.signature.result
        if isinstance(result, Result):
            return self.error_answer(WitError("unknown", text))
        return None if result is None else default(result)

    def stale_answer(self) -> object:
        """What a guest gets when the object behind one of its handles is gone.

        Raises:
            NoAnswerError: As `unforeseen_answer`.

        Spec: host-abi 2.5.
        """
        result = self.signature.result
        if isinstance(result, Result) and isinstance(result.err, Variant):
            cases = dict(result.err.cases)
            for case in ("invalid-handle", "closed"):
                if case in cases and cases[case] is None:
                    return WitError(case)
        return self.unforeseen_answer("the resource is gone")


def _into_variant(error: WitError, cases: dict[str, WitType | None]) -> WitError:
    case = error.case
    if case not in cases:
        case = FALLBACKS.get(case, "unknown")
    if case in cases:
        payload = cases[case]
        if payload is None:
            return WitError(case)
        if payload != Primitive("string"):
            if case == error.case and error.payload is not None:
                return error
        elif isinstance(error.payload, str):
            return WitError(case, error.payload)
        else:
            return WitError(case, error.case)
    if cases.get("closed", Primitive("bool")) is None:
        return WitError("closed")
    raise NoAnswerError(f"the interface has no error case for {error.case}")


def _into_enum(error: WitError, names: tuple[str, ...]) -> WitError:
    for case in (error.case, FALLBACKS.get(error.case, "unknown"), "closed"):
        if case in names:
            return WitError(case)
    raise NoAnswerError(f"the interface has no error case for {error.case}")


_SIMPLE: dict[str, object] = {"bool": False, "string": "", "char": "?", "f32": 0.0, "f64": 0.0}


def default(item: WitType) -> object:  # noqa: C901, PLR0911 - one case per type
    """A harmless value of a type: false, zero, empty, none, the first case, a closed handle."""
    match item:
        case Primitive(name):
            return _SIMPLE.get(name, 0)
        case List(Primitive("u8")):
            return b""
        case List():
            return []
        case Option():
            return None
        case Tuple(items):
            return tuple(default(part) for part in items)
        case Record(fields):
            return tuple(default(part) for _, part in fields)
        case Variant(cases):
            name, payload = next((case for case in cases if case[1] is None), cases[0])
            return name, None if payload is None else default(payload)
        case Enum(names):
            return names[0]
        case Flags():
            return frozenset()
        case Result(ok):
            return None if ok is None else default(ok)
        case Handle():
            return INERT


def _has_handle(item: WitType | None) -> bool:
    parts: tuple[WitType | None, ...] = ()
    match item:
        case Handle():
            return True
        case List(part) | Option(part):
            parts = (part,)
        case Tuple(parts):
            pass
        case Record(fields):
            parts = tuple(part for _, part in fields)
        case Variant(cases):
            parts = tuple(part for _, part in cases)
        case Result(ok, err):
            parts = (ok, err)
    return any(_has_handle(part) for part in parts)


@lru_cache(maxsize=1024)
def compile_plan(text: str) -> Plan:
    """The plan for a canonical signature text; made once per text.

    Raises:
        SignatureError: The text does not follow the grammar.
        ComponentError: A type has no unambiguous Python form.
    """
    signature = parse_signature(text)
    lifts = tuple(
        (compile_lift(item), VALUE_SIZE * index) for index, (_, item) in enumerate(signature.params)
    )
    result = signature.result
    return Plan(
        signature=signature,
        lifts=lifts,
        lower=None if result is None else compile_lower(result),
        takes_handles=any(_has_handle(item) for _, item in signature.params),
    )
