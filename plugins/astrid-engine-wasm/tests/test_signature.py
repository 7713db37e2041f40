"""The grammar of signature texts, and what a component must import and export to be loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmtime import Engine
from wasmtime.component import Component

from astrid_engine_wasm.component_types import MAX_IMPORTS, MAX_NODES
from astrid_engine_wasm.signature import (
    check_exports,
    check_imports,
    component_exports,
    component_imports,
    parse_signature,
)
from astrid_engine_wasm.wit_types import (
    Handle,
    List,
    Option,
    Primitive,
    Result,
    Signature,
    SignatureError,
    Variant,
    parse_type,
)
from astrid_hookspecs.errors import ComponentError

GUESTS = Path(__file__).parent / "guests"
KV = "astrid:kv/host@1.0.0"
KV_GET = (
    "func(key: string) -> result<option<list<u8>>, "
    "variant{invalid-key, too-large, quota, cas-mismatch, unknown(string)}>"
)
SUBSCRIPTION = "astrid:ipc/host@1.0.0/subscription"
IPC_ERROR = "variant{capability-denied, closed, unknown(string)}"
POLL_IPC = {
    "astrid:io/poll@1.0.0": (),
    "astrid:io/poll@1.0.0#[resource]pollable": (),
    "astrid:io/poll@1.0.0#[method]pollable.ready": (
        "func(self: borrow<astrid:io/poll@1.0.0/pollable>) -> bool",
    ),
    "astrid:ipc/host@1.0.0": (),
    "astrid:ipc/host@1.0.0#[resource]subscription": (),
    "astrid:ipc/host@1.0.0#[method]subscription.subscribe-readiness": (
        f"func(self: borrow<{SUBSCRIPTION}>) -> own<astrid:io/poll@1.0.0/pollable>",
    ),
    "astrid:ipc/host@1.0.0#subscribe": (
        f"func(topic-pattern: string) -> result<own<{SUBSCRIPTION}>, {IPC_ERROR}>",
    ),
}


def guest(engine: Engine, name: str) -> Component:
    return Component(engine, (GUESTS / name).read_text())


@pytest.mark.parametrize(
    "text",
    [
        "func()",
        "func() -> bool",
        KV_GET,
        "func(a: record{}, b: tuple<u8, f32>, c: enum{term, hup, usr1}, d: flags{a}) -> result",
        "func(a: result<_, string>, b: result<u8>, c: char)",
        "func(self: borrow<astrid:io/poll@1.0.0/pollable>) -> list<own<astrid:a/b@1.2.3/c-d>>",
        "func(a1-b2: record{next-cursor: option<s64>, u8: u8})",
    ],
)
def test_a_canonical_text_survives_parsing(text: str) -> None:
    assert str(parse_signature(text)) == text


def test_the_tree_has_the_types_of_the_text() -> None:
    error = Variant((("closed", None), ("unknown", Primitive("string"))))
    assert parse_signature(
        "func(key: string, of: borrow<a:b/c@1.0.0/d>)"
        " -> result<option<list<u8>>, variant{closed, unknown(string)}>"
    ) == Signature(
        (("key", Primitive("string")), ("of", Handle("a:b/c@1.0.0/d", owned=False))),
        Result(Option(List(Primitive("u8"))), error),
    )
    assert error.payload("unknown") == Primitive("string")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "'func'"),
        ("func(", "a name"),
        ("func()x", "the end"),
        ("func() -> ", "a token"),
        ("func() -> i32", "a type"),
        ("func(A: u8)", "a name"),
        ("func(a u8)", "':'"),
        ("func(a: u8 b: u8)", "','"),
        ("func(a: list<u8)", "'>'"),
        ("func(a: result<_>)", "an error type"),
        ("func(a: own<pollable>)", "interface/resource"),
        ("func(a: variant{b(u8})", "')'"),
        ("func(a: " + "list<" * 100 + "u8" + ">" * 100 + ")", "levels of nesting"),
    ],
)
def test_a_text_outside_the_grammar_is_refused(text: str, expected: str) -> None:
    with pytest.raises(SignatureError, match="expected") as caught:
        parse_signature(text)
    assert expected in str(caught.value)


_names = st.from_regex(r"[a-z][a-z0-9]{0,4}(-[a-z0-9]{1,3})?", fullmatch=True)
_types = st.recursive(
    st.sampled_from(["bool", "u8", "s64", "f32", "char", "string", "enum{a, b}", "flags{x}"]),
    lambda inner: st.one_of(
        inner.map("list<{}>".format),
        inner.map("option<{}>".format),
        inner.map("result<_, {}>".format),
        inner.map("result<{}>".format),
        st.tuples(inner, inner).map(lambda pair: "tuple<{}, {}>".format(*pair)),
        st.tuples(_names, inner).map(lambda pair: "record{{{}: {}}}".format(*pair)),
        st.tuples(_names, inner).map(lambda pair: "variant{{zz, {}({})}}".format(*pair)),
    ),
    max_leaves=8,
)


@given(_types)
def test_any_type_prints_as_it_was_written(text: str) -> None:
    assert str(parse_type(text)) == text


def test_imports_are_read_from_a_component(raw_engine: Engine) -> None:
    assert component_imports(guest(raw_engine, "kv.wat"), raw_engine) == {KV: {"kv-get": KV_GET}}


def test_a_resource_is_named_by_the_interface_that_declares_it(raw_engine: Engine) -> None:
    found = component_imports(guest(raw_engine, "poll_ipc.wat"), raw_engine)
    assert {
        f"{interface}#{name}": (text,)
        for interface, functions in found.items()
        for name, text in functions.items()
    } == {key: texts for key, texts in POLL_IPC.items() if texts}


def test_matching_imports_are_accepted(raw_engine: Engine) -> None:
    accepted = check_imports(guest(raw_engine, "poll_ipc.wat"), raw_engine, POLL_IPC)
    assert [item.function for item in accepted.functions] == [
        "[method]pollable.ready",
        "[method]subscription.subscribe-readiness",
        "subscribe",
    ]
    assert accepted.resources == (
        ("astrid:io/poll@1.0.0", "pollable", "astrid:io/poll@1.0.0/pollable"),
        ("astrid:ipc/host@1.0.0", "subscription", "astrid:ipc/host@1.0.0/subscription"),
    )


def test_an_older_shape_is_accepted_where_the_lock_lists_it(raw_engine: Engine) -> None:
    abi = {KV: (), f"{KV}#kv-get": ("func() -> bool", KV_GET)}
    accepted = check_imports(guest(raw_engine, "kv.wat"), raw_engine, abi)
    assert accepted.functions[0].signature == KV_GET


@pytest.mark.parametrize("offered", ["1.0.3", "1.1.0"])
def test_a_later_minor_version_answers_for_an_earlier_one(raw_engine: Engine, offered: str) -> None:
    host = f"astrid:kv/host@{offered}"
    abi: Mapping[str, tuple[str, ...]] = {
        host: (),
        f"{host}#kv-get": (KV_GET,),
        "astrid:kv/host@1.9.0": (),
        "astrid:kv/host@2.0.0": (),
    }
    (found,) = check_imports(guest(raw_engine, "kv.wat"), raw_engine, abi).functions
    assert (found.interface, found.host_interface) == (KV, host)


def test_a_resource_of_a_later_version_has_that_versions_name(raw_engine: Engine) -> None:
    abi = {
        key.replace("@1.0.0", "@1.0.1"): tuple(t.replace("@1.0.0", "@1.0.1") for t in texts)
        for key, texts in POLL_IPC.items()
    }
    accepted = check_imports(guest(raw_engine, "poll_ipc.wat"), raw_engine, abi)
    assert accepted.resources[0][2] == "astrid:io/poll@1.0.1/pollable"


def test_load_denied_when_the_shape_differs(raw_engine: Engine) -> None:
    abi = {KV: (), f"{KV}#kv-get": ("func(key: string) -> option<list<u8>>",)}
    with pytest.raises(ComponentError) as caught:
        check_imports(guest(raw_engine, "kv.wat"), raw_engine, abi)
    assert caught.value.code == "engine.component.shape"
    assert f"{KV}#kv-get" in caught.value.message
    assert KV_GET in caught.value.message
    assert "func(key: string) -> option<list<u8>>" in caught.value.message


def importing(name: str, body: str = '(export "f" (func))') -> str:
    return f'(component (import "{name}" (instance {body})))'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (importing("wasi:cli/environment@0.2.3"), "--stub-wasi"),
        (importing("astrid:kv/host@2.0.0"), f"available: {KV}"),
        (importing("astrid:kv/host@1.0.1"), f"available: {KV}"),
        (importing("astrid:nothing/host@1.0.0"), "no such interface"),
        (importing("other:thing/x"), "no such interface"),
        (importing(KV), "no such function"),
        (importing(KV, '(export "r" (type (sub resource)))'), "no such resource"),
        ('(component (import "plain" (func)))', "not an interface"),
        ('(component (import "m" (core module)))', "not an interface"),
        ('(component (import "t" (type (sub resource))))', "not an interface"),
        (importing(KV, '(export "m" (core module))'), "neither a function nor a type"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
def test_load_denied_when_an_import_does_not_exist(
    raw_engine: Engine, text: str, expected: str
) -> None:
    abi = {KV: (), f"{KV}#kv-get": (KV_GET,)}
    with pytest.raises(ComponentError) as caught:
        check_imports(Component(raw_engine, text), raw_engine, abi)
    assert caught.value.code == "engine.component.import"
    assert expected in f"{caught.value.message} {caught.value.hint}"


def test_load_denied_when_a_resource_is_redeclared_under_a_known_name(raw_engine: Engine) -> None:
    """A guest that declares its own `pollable` in another interface does not get the kernel's."""
    text = importing(
        "astrid:ipc/host@1.0.0",
        '(export "pollable" (type $p (sub resource)))'
        '(export "subscribe" (func (param "topic-pattern" string) (result (own $p))))',
    )
    with pytest.raises(ComponentError, match="no such resource"):
        check_imports(Component(raw_engine, text), raw_engine, POLL_IPC)


def test_types_alone_need_no_function(raw_engine: Engine) -> None:
    name = "astrid:guest/lifecycle@1.0.0"
    text = importing(name, '(type $t (record (field "a" u8))) (export "t" (type (eq $t)))')
    accepted = check_imports(Component(raw_engine, text), raw_engine, {name: ()})
    assert accepted.functions == ()


def test_load_denied_when_a_type_is_too_large(raw_engine: Engine) -> None:
    """Each level doubles the text; expanding it all would take minutes and gigabytes."""
    levels = "".join(f"(type $t{i} (tuple $t{i - 1} $t{i - 1}))" for i in range(1, 18))
    text = importing(KV, f'(type $t0 u8) {levels} (export "kv-get" (func (param "key" $t17)))')
    abi = {KV: (), f"{KV}#kv-get": (KV_GET,)}
    with pytest.raises(ComponentError, match=f"more than {MAX_NODES} types"):
        check_imports(Component(raw_engine, text), raw_engine, abi)


@pytest.mark.slow
def test_load_denied_when_the_imports_are_too_many(raw_engine: Engine) -> None:
    functions = "".join(f'(export "f{i}" (func))' for i in range(MAX_IMPORTS + 1))
    with pytest.raises(ComponentError, match=f"more than {MAX_IMPORTS} items"):
        check_imports(Component(raw_engine, importing(KV, functions)), raw_engine, {KV: ()})


def exporting(signature: str, results: str = "") -> str:
    return (
        f'(component (core module $m (func (export "f") {results}))'
        " (core instance $i (instantiate $m))"
        f' (func (export "run") {signature} (canon lift (core func $i "f"))))'
    )


def test_known_exports_are_found_and_others_ignored(raw_engine: Engine) -> None:
    component = guest(raw_engine, "kv.wat")
    assert check_exports(component, raw_engine) == {"astrid-hook-trigger", "run", "astrid-install"}
    assert component_exports(component, raw_engine)["run"] == "func()"


def test_load_denied_when_an_export_has_another_shape(raw_engine: Engine) -> None:
    component = Component(raw_engine, exporting("(result u32)", "(result i32) i32.const 1"))
    with pytest.raises(ComponentError) as caught:
        check_exports(component, raw_engine)
    assert "export run has another shape" in caught.value.message
    assert "func() -> u32" in caught.value.message


def test_load_denied_when_an_export_is_no_function(raw_engine: Engine) -> None:
    component = Component(raw_engine, '(component (instance $i) (export "run" (instance $i)))')
    with pytest.raises(ComponentError, match="run is not a function"):
        check_exports(component, raw_engine)


def test_types_that_differ_only_in_a_resource_are_told_apart(raw_engine: Engine) -> None:
    """Types are read once per component; equal structure must not hide another resource."""
    text = importing(
        "test:two/host@1.0.0",
        '(export "a" (type $a (sub resource))) (export "b" (type $b (sub resource)))'
        '(type $x0 (variant (case "some" (own $a)))) (export "x" (type $x (eq $x0)))'
        '(type $y0 (variant (case "some" (own $b)))) (export "y" (type $y (eq $y0)))'
        '(export "f" (func (result $x))) (export "g" (func (result $y)))',
    )
    found = component_imports(Component(raw_engine, text), raw_engine)["test:two/host@1.0.0"]
    assert found == {
        "f": "func() -> variant{some(own<test:two/host@1.0.0/a>)}",
        "g": "func() -> variant{some(own<test:two/host@1.0.0/b>)}",
    }


def test_load_denied_when_a_named_type_is_used_too_often(raw_engine: Engine) -> None:
    """A type that was read once still counts in full each time it appears."""
    fields = " ".join(f'(field "f{i}" u8)' for i in range(70))
    many = " ".join("$r" for _ in range(70))
    text = importing(
        KV,
        f'(type $r0 (record {fields})) (export "r" (type $r (eq $r0)))'
        f'(export "kv-get" (func (param "key" (tuple {many}))))',
    )
    abi = {KV: (), f"{KV}#kv-get": (KV_GET,)}
    with pytest.raises(ComponentError, match=f"more than {MAX_NODES} types"):
        check_imports(Component(raw_engine, text), raw_engine, abi)
