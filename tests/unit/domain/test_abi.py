from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrid_core.domain.abi import Signature, parse_signature, signatures, type_text
from astrid_core.domain.wit import WitSet, WitSyntaxError
from astrid_core.domain.wit_types import (
    PRIMITIVES,
    Case,
    EnumOf,
    Field,
    FlagsOf,
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

TEXT = """
package acme:x@1.0.0;
interface i {
    use acme:y/j@2.0.0.{pollable as waiter};
    record pair { %list: list<u8>, b: option<string> }
    variant v { none, some(pair) }
    enum e { a, b }
    flags f { r, w }
    resource r {
        constructor();
        recv: func(ms: u64) -> result<e, v>;
        make: static func() -> r;
    }
    plain: func(a: tuple<u8, char>, f: f, w: waiter, b: borrow<r>);
    void: func() -> result;
    half: func() -> result<_, string>;
    other: func() -> result<u8>;
}
package acme:y@2.0.0 { interface j { resource pollable; } }
"""


def test_every_shape_has_one_canonical_text() -> None:
    pair = "record{list: list<u8>, b: option<string>}"
    assert signatures(WitSet.from_texts({"t.wit": TEXT})) == {
        "acme:x/i@1.0.0": None,
        "acme:x/i@1.0.0#[resource]r": None,
        "acme:x/i@1.0.0#plain": (
            "func(a: tuple<u8, char>, f: flags{r, w}, w: own<acme:y/j@2.0.0/pollable>, "
            "b: borrow<acme:x/i@1.0.0/r>)"
        ),
        "acme:x/i@1.0.0#void": "func() -> result",
        "acme:x/i@1.0.0#half": "func() -> result<_, string>",
        "acme:x/i@1.0.0#other": "func() -> result<u8>",
        "acme:x/i@1.0.0#[constructor]r": "func() -> own<acme:x/i@1.0.0/r>",
        "acme:x/i@1.0.0#[method]r.recv": (
            "func(self: borrow<acme:x/i@1.0.0/r>, ms: u64) -> "
            f"result<enum{{a, b}}, variant{{none, some({pair})}}>"
        ),
        "acme:x/i@1.0.0#[static]r.make": "func() -> own<acme:x/i@1.0.0/r>",
        "acme:y/j@2.0.0": None,
        "acme:y/j@2.0.0#[resource]pollable": None,
    }


def test_an_unresolved_name_has_no_text() -> None:
    with pytest.raises(WitSyntaxError, match="`x` is not resolved"):
        type_text(NameRef("x"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "func",
        "func(",
        "func() ->",
        "func(a)",
        "func(a:u8)",
        "func( a: u8)",
        "func(a: u8,)",
        "func(a: enum{b,})",
        "func(a: u9)",
        "func() -> list",
        "func() -> list<>",
        "func() -> list<u8, u8>",
        "func() -> list<_>",
        "func() -> tuple<>",
        "func() -> option<_>",
        "func() -> result<>",
        "func() -> result<_>",
        "func() -> result<u8, _>",
        "func() -> result<u8, u8, u8>",
        "func() -> own<x>",
        "func() -> own<a:b/c@1/d>",
        "func() -> u8 u8",
        "func() -> u8 // comment",
        "func() -> " + "list<" * 1000 + "u8" + ">" * 1000,
    ],
)
def test_text_that_is_not_a_canonical_signature_is_refused(text: str) -> None:
    with pytest.raises(WitSyntaxError):
        parse_signature(text)


_NAMES = st.sampled_from(["a", "b-c", "list", "from", "self", "X-Y", "k1"])
_RESOURCES = st.sampled_from(["a:b/c@1.0.0/d", "a:b/c/d", "list:own/func@0.1.0-rc.1/borrow"])


def _cases(payload: st.SearchStrategy[WitType | None]) -> st.SearchStrategy[tuple[Case, ...]]:
    case = st.builds(Case, _NAMES, payload)
    return st.lists(case, min_size=1, max_size=3).map(tuple)


def _compound(inner: st.SearchStrategy[WitType]) -> st.SearchStrategy[WitType]:
    maybe = st.none() | inner
    return st.one_of(
        st.builds(ListOf, inner),
        st.builds(OptionOf, inner),
        st.builds(TupleOf, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(ResultOf, maybe, maybe),
        st.builds(VariantOf, _cases(maybe)),
        st.builds(
            RecordOf,
            st.lists(st.builds(Field, _NAMES, inner), min_size=1, max_size=3).map(tuple),
        ),
    )


_TYPES: st.SearchStrategy[WitType] = st.recursive(
    st.one_of(
        st.builds(Primitive, st.sampled_from(sorted(PRIMITIVES))),
        st.builds(Handle, st.booleans(), _RESOURCES),
        st.builds(EnumOf, _cases(st.none())),
        st.builds(FlagsOf, _cases(st.none())),
    ),
    _compound,
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.builds(Field, _NAMES, _TYPES), max_size=3).map(tuple), st.none() | _TYPES)
@pytest.mark.slow
def test_text_and_signature_determine_each_other(
    params: tuple[Field, ...], result: WitType | None
) -> None:
    signature = Signature(params, result)
    assert parse_signature(str(signature)) == signature


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(WitSyntaxError):
        assert str(parse_signature("func" + text)) == "func" + text
