from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrid_core.domain.wit import MAX_TEXT_BYTES, WitSet, WitSyntaxError, parse_document
from astrid_core.domain.wit_lexer import tokenize
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
    ResultOf,
    TupleOf,
    TypeDef,
    UsePath,
    VariantOf,
)

U8, STRING = Primitive("u8"), Primitive("string")

EVERYTHING = """
/// About the package.
package acme:notes@1.2.0-rc.1+build.5;

use other:pkg/iface@0.1.0 as renamed;

/// About
/// the interface.
@since(version = 1.0.0)
interface store {
    use other:pkg/iface@0.1.0.{thing, one as two};
    use local.{x};
    /** A block
      * comment. */
    record note { %list: list<u8>, body: option<string>, }
    variant v { a, b(tuple<u8, string>) }
    enum e { first, SECOND-part, }
    flags fl { r, w }
    type t = result<_, string>;
    resource conn {
        constructor(name: string);
        @unstable(feature = fancy)
        send: func(data: list<u8>) -> result<u8>;
        open: static func() -> own<conn>;
    }
    resource bare;
    /* a comment /* nested */ still */
    call: func(c: borrow<conn>, r: result, q: result<u8, string>,) -> note; // trailing
    nothing: func();
}

world app {
    use store.{note};
    import store;
    import other:pkg/iface@0.1.0;
    import log: func(text: string);
    import inline: interface { f: func(); }
    export run: func() -> note;
    export acme:notes/store@1.2.0-rc.1+build.5;
    include small with { a as b, c as d }
    include other:pkg/their-world;
    record here { n: note }
}
world small {}

package acme:nested@0.1.0 { interface i { f: func(); } }
"""


def test_everything_the_grammar_knows() -> None:
    document = parse_document(EVERYTHING)
    assert document.package == PackageName("acme", "notes", "1.2.0-rc.1+build.5")
    assert document.docs == "About the package."
    assert document.aliases == (("renamed", UsePath("iface", "other:pkg", "0.1.0")),)
    (store,) = document.interfaces
    assert store.docs == "About\nthe interface."
    assert [(use.name, use.alias, str(use.path)) for use in store.uses] == [
        ("thing", "thing", "other:pkg/iface@0.1.0"),
        ("one", "two", "other:pkg/iface@0.1.0"),
        ("x", "x", "local"),
    ]
    assert {definition.name: definition.type for definition in store.types} == {
        "note": RecordOf((Field("list", ListOf(U8)), Field("body", OptionOf(STRING)))),
        "v": VariantOf((Case("a"), Case("b", TupleOf((U8, STRING))))),
        "e": EnumOf((Case("first"), Case("SECOND-part"))),
        "fl": FlagsOf((Case("r"), Case("w"))),
        "t": ResultOf(None, STRING),
    }
    assert store.types[0].docs == "A block\ncomment."
    conn, bare = store.resources
    assert [(member.kind, member.name) for member in conn.functions] == [
        ("constructor", ""),
        ("method", "send"),
        ("static", "open"),
    ]
    assert conn.functions[2].result == Handle(owned=True, resource="conn")
    assert bare.functions == ()
    call, nothing = store.functions
    assert call.params == (
        Field("c", Handle(owned=False, resource="conn")),
        Field("r", ResultOf()),
        Field("q", ResultOf(U8, STRING)),
    )
    assert call.result == NameRef("note")
    assert (nothing.params, nothing.result) == ((), None)
    assert document.nested[0].package == PackageName("acme", "nested", "0.1.0")


def test_world() -> None:
    app, small = parse_document(EVERYTHING).worlds
    assert [(item.direction, type(item.item).__name__) for item in app.items] == [
        ("import", "UsePath"),
        ("import", "UsePath"),
        ("import", "Function"),
        ("import", "Interface"),
        ("export", "Function"),
        ("export", "UsePath"),
    ]
    assert app.includes == (
        (UsePath("small"), (("a", "b"), ("c", "d"))),
        (UsePath("their-world", "other:pkg"), ()),
    )
    assert app.scope.types[0].name == "here"
    assert small.items == ()


@pytest.mark.parametrize(
    ("body", "line", "message"),
    [
        ("interface i {\n  f: func(\n", 3, "found the end of the text"),
        ("interface i {\n  f: funk();\n}", 2, "expected `func`, found `funk`"),
        ("interface i {\n\n  record record { a: u8 } }", 3, "becomes a name as `%record`"),
        ("interface i { record r { } }", 1, "expected a name"),
        ("interface i { record r { a: u8, a: u8 } }", 1, "the field `a` occurs twice"),
        ("interface i { enum e { a, a } }", 1, "the case `a` occurs twice"),
        ("interface i { f: func(a: u8, a: u8); }", 1, "the parameter `a` occurs twice"),
        ("interface i { f: func(); f: func(); }", 1, "`f` is already the name"),
        ("interface i {}\ninterface i {}", 2, "`i` is already the name"),
        ("interface i { resource r { m: func(); m: func(); } }", 1, "another member of `r`"),
        ("interface i { f: func() -> stream<u8>; }", 1, "`stream` is not supported"),
        ("interface i { f: async func(); }", 1, "`async` functions are not supported"),
        ("interface i { type t = list<u8, 4>; }", 1, "fixed length"),
        ("interface i { type t = list<>; }", 1, "expected a type"),
        ("interface i { type t = interface; }", 1, "expected a type"),
        ("interface i { type t = tuple<u8; }", 1, "expected `,` or `>`"),
        ("world w { include x with { a as b c } }", 1, "expected `,` or `}`"),
        ("interface i { type t = result<_>; }", 1, "expected `,` and the error type"),
        ("interface i { type fooBar = u8; }", 1, "mixes upper and lower case"),
        ("interface i { type a_b = u8; }", 1, "expected `=`, found `_`"),
        ("\n\ninterface i { type a = u8 $ }", 3, "unexpected character '$'"),
        ("/* never closed", 1, "a comment is not closed"),
        ("@since(version = 1)\ninterface i {}", 1, "expected a version"),
        ("@nope(x = y) interface i {}", 1, "no annotation `@nope`"),
        ("@since(feature = y) interface i {}", 1, "takes `version = ...`"),
        ("interface i { use a:b/c@1.{d}; }", 1, "a version such as"),
        ("interface i { use c.{}; }", 1, "expected the name of a type"),
        ("world w { import x }", 1, "expected `;`"),
        ("world w { nonsense: func(); }", 1, "expected `import`, `export`"),
        ("nonsense", 1, "expected `interface`, `world`, `use` or `package`"),
        ("package a:b { package c:d { } }", 1, "do not nest"),
    ],
)
def test_malformed_text_is_refused_with_its_line(body: str, line: int, message: str) -> None:
    with pytest.raises(WitSyntaxError) as caught:
        parse_document("package a:b@1.0.0; " + body, name="t.wit")
    assert caught.value.line == line
    assert message in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.message.startswith(f"t.wit:{line}: ")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("interface i { type t = " + "list<" * 5000 + "u8", id="nesting"),
        pytest.param("/*" * 100_000, id="comments"),
        pytest.param(" " * (MAX_TEXT_BYTES + 1), id="length"),
        pytest.param("é" * (MAX_TEXT_BYTES // 2 + 1), id="length-in-bytes"),
        pytest.param("interface i { flags f {" + ",".join(f"a{n}" for n in range(33)) + "} }"),
    ],
)
def test_oversized_text_is_refused(text: str) -> None:
    with pytest.raises(WitSyntaxError):
        parse_document(text)


def wits(*texts: str) -> WitSet:
    return WitSet.from_texts({f"{number}.wit": text for number, text in enumerate(texts)})


def test_names_resolve_across_files_and_packages() -> None:
    found = wits(
        "package a:b@1.0.0;"
        "interface i { use j.{t as u}; use c:d/k@2.0.0.{h}; f: func(x: u, y: h); }",
        "interface j { type t = list<s>; type s = string; }",
        "package c:d@2.0.0 { interface k { resource h; } }",
    )
    found.check()
    ((name, function),) = found.functions("a:b/i@1.0.0")
    assert (name, function.params) == (
        "f",
        (
            Field("x", ListOf(STRING)),
            Field("y", Handle(owned=True, resource="c:d/k@2.0.0/h")),
        ),
    )


def test_a_text_without_package_belongs_to_its_directory() -> None:
    texts = {
        "root.wit": "package a:b; interface i { f: func(); }",
        "more.wit": "interface j { f: func(); }",
        "deps/x.wit": "package c:d; interface k { f: func(); }",
    }
    assert set(WitSet.from_texts(texts).interfaces) == {"a:b/i", "a:b/j", "c:d/k"}
    with pytest.raises(WitSyntaxError, match="which package"):
        WitSet.from_texts({**texts, "other/y.wit": "interface l { f: func(); }"})


def test_members_of_resources_carry_their_binary_names() -> None:
    text = "resource r { constructor(n: u8); m: func(); s: static func() -> r; }"
    found = wits(f"package a:b; interface i {{ {text} }}")
    rep = "a:b/i/r"
    members: dict[str, Function] = dict(found.functions("a:b/i"))
    assert members["[constructor]r"].result == Handle(owned=True, resource=rep)
    assert members["[method]r.m"].params == (Field("self", Handle(owned=False, resource=rep)),)
    assert members["[static]r.s"].params == ()


@pytest.mark.parametrize(("use", "name"), [("c:d/k@2.0.0 as z", "z"), ("c:d/k@2.0.0", "k")])
def test_a_top_level_use_names_an_interface(use: str, name: str) -> None:
    found = wits(
        f"package a:b; use {use}; interface i {{ use {name}.{{t}}; f: func(x: t); }}",
        "package c:d@2.0.0; interface k { type t = u8; }",
    )
    assert dict(found.functions("a:b/i"))["f"].params == (Field("x", U8),)


def test_a_path_without_version_needs_a_single_candidate() -> None:
    user = "package a:b; interface i { use c:d/k.{t}; f: func(x: t); }"
    one = "package c:d@1.0.0; interface k { type t = u8; }"
    wits(user, one).check()
    with pytest.raises(WitSyntaxError, match="fits several interfaces"):
        wits(user, one, one.replace("1.0.0", "1.1.0")).check()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["interface i {}"], "does not say which package"),
        (["package a:b; interface i {}", "package a:b; interface i {}"], "declared twice"),
        (["package a:b; interface i { f: func(x: nope); }"], "unknown type `nope`"),
        (["package a:b; interface i { use j.{t}; }"], "no interface `j`"),
        (["package a:b; interface i { use j.{t}; } interface j {}"], "unknown type `t`"),
        (["package a:b; interface i { type t = u; type u = list<t>; }"], "contains itself"),
        (
            ["package a:b; interface i { use j.{t}; } interface j { use i.{t}; }"],
            "contains itself",
        ),
        (["package a:b; interface i { type t = u8; f: func(x: own<t>); }"], "is not a resource"),
        (["package a:b; world w { import nope; }"], "no interface `nope`"),
        (["package a:b; world w { include nope; }"], "no world `nope`"),
        (["package a:b; world w { import f: func(x: nope); }"], "unknown type"),
        (["package a:b; world w { type t = nope; }"], "unknown type"),
        (["package a:b; world w { export i: interface { f: func(x: nope); } }"], "unknown type"),
        (["package a:b; world w { import c:d/k; }"], "no interface `c:d/k`"),
        (["package a:b; interface w {} world w {}"], "already the name"),
    ],
)
def test_texts_that_do_not_fit_together(texts: list[str], message: str) -> None:
    with pytest.raises(WitSyntaxError, match=message):
        wits(*texts).check()


def test_a_world_is_checked_with_everything_it_names() -> None:
    wits(
        "package a:b@1.0.0; interface i { resource r; }",
        """world w {
            use i.{r};
            record here { n: u8 }
            import i;
            import f: func(x: borrow<r>, h: here);
            export j: interface { use i.{r as s}; g: func() -> s; }
            include v with { a as b, };
            include v with { };
            include a:b/v@1.0.0;
        }
        world v { }""",
    ).check()


def test_an_interface_that_is_not_there() -> None:
    found = wits("package a:b@1.0.0; interface i { }")
    with pytest.raises(WitSyntaxError, match="no interface `a:b/j@1"):
        list(found.functions("a:b/j@1.0.0"))
    with pytest.raises(WitSyntaxError, match="no interface"):
        found.expand("a:b/i", U8)


def test_expanding_twice_changes_nothing() -> None:
    found = wits("package a:b@1.0.0; interface i { resource r; record s { h: r, b: borrow<r> } }")
    once = found.expand("a:b/i@1.0.0", NameRef("s"))
    assert found.expand("a:b/i@1.0.0", once) == once


def test_package_names_read_as_they_are_written() -> None:
    assert str(PackageName("a", "b", "1.0.0")) == "a:b@1.0.0"
    assert str(PackageName("a", "b")) == "a:b"


def test_types_that_explode_when_expanded_are_refused_quickly() -> None:
    doubling = "".join(f"type t{n + 1} = tuple<t{n}, t{n}>; " for n in range(60))
    with pytest.raises(WitSyntaxError, match="too large"):
        wits(f"package a:b; interface i {{ type t0 = u8; {doubling} }}").check()


def test_long_alias_chains_do_not_exhaust_the_stack() -> None:
    chain = "".join(f"type t{n + 1} = t{n}; " for n in range(2000))
    with pytest.raises(WitSyntaxError, match="too large"):
        wits(f"package a:b; interface i {{ type t0 = u8; {chain} }}").check()


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with contextlib.suppress(WitSyntaxError):
        parse_document(text)


_WORDS = [token.text for token in tokenize(EVERYTHING)[:-1]]


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, len(_WORDS)),
    st.lists(st.sampled_from(sorted(set(_WORDS))), max_size=6),
    st.integers(0, 4),
)
@pytest.mark.slow
def test_damaged_texts_are_parsed_or_refused(at: int, inserted: list[str], removed: int) -> None:
    words = [*_WORDS[:at], *inserted, *_WORDS[at + removed :]]
    with contextlib.suppress(WitSyntaxError):
        WitSet([parse_document(" ".join(words))]).check()


class Counted(tuple[TypeDef, ...]):
    """Counts how often somebody goes through it."""

    __slots__ = ()
    turns = 0

    def __iter__(self) -> Iterator[TypeDef]:
        Counted.turns += 1
        return super().__iter__()


def test_a_type_that_names_many_is_not_looked_for_among_all_of_them_each_time() -> None:
    """Texts of strangers: 60,000 types, and 5,000 fields that each name the last one."""
    types = Counted(TypeDef(f"t{number}", Primitive("u8")) for number in range(9))
    interface = Interface("i", types=types)
    wits = WitSet([Document(PackageName("a", "b", "1.0.0"), interfaces=(interface,))])
    before = Counted.turns
    many = TupleOf(tuple(NameRef("t8") for _ in range(500)))
    assert wits.expand("a:b/i@1.0.0", many) == TupleOf((Primitive("u8"),) * 500)
    assert Counted.turns - before < 3


def test_an_interface_of_many_packages_is_found_by_its_only_version() -> None:
    text = "".join(
        f"package a:b{number} {{ interface i {{ type t = u8; }} }}\n" for number in range(3)
    )
    user = "package c:d { interface j { use a:b2/i.{t}; type u = t; } }\n"
    wits = WitSet.from_texts({"a.wit": text + user})
    assert wits.expand("c:d/j", NameRef("u")) == Primitive("u8")
