from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wasmtime import wat2wasm

from astrid_engine_wasm.binary import COMPONENT_PREAMBLE, MAX_NESTING, MODULE_PREAMBLE, BinaryError
from astrid_engine_wasm.footprint import Shape, bound_each, read_footprint
from astrid_engine_wasm.scan import (
    HOOK,
    INSTALL,
    RUN,
    TRIO,
    UPGRADE,
    check_is_component,
    has_export,
    iter_export_sections,
)
from astrid_hookspecs.errors import ComponentError

FUNCTION, GLOBAL, MEMORY = 0, 3, 2


def leb(value: int) -> bytes:
    out = bytearray()
    while True:
        byte, value = value & 0x7F, value >> 7
        out.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(out)


def section(section_id: int, body: bytes) -> bytes:
    return bytes([section_id]) + leb(len(body)) + body


def named(name: str) -> bytes:
    return leb(len(name)) + name.encode()


def module(*exports: tuple[str, int, int]) -> bytes:
    """A core module with nothing but an export section of (name, kind, index)."""
    body = leb(len(exports)) + b"".join(
        named(name) + bytes([kind]) + leb(index) for name, kind, index in exports
    )
    return MODULE_PREAMBLE + section(7, body)


def exports(*entries: tuple[str, int]) -> bytes:
    """The export section of a component, all functions."""
    return section(
        11,
        leb(len(entries))
        + b"".join(b"\0" + named(name) + b"\x01" + leb(index) + b"\0" for name, index in entries),
    )


def component(*sections: bytes) -> bytes:
    return COMPONENT_PREAMBLE + b"".join(sections)


@pytest.mark.parametrize(
    ("indexes", "expected"),
    [
        pytest.param({RUN: 7, INSTALL: 7, UPGRADE: 7}, set(), id="108"),
        pytest.param({RUN: 5, INSTALL: 7, UPGRADE: 7}, {RUN}, id="109"),
        pytest.param({RUN: 7, INSTALL: 3, UPGRADE: 7}, {INSTALL}, id="110"),
        pytest.param({RUN: 1, INSTALL: 2, UPGRADE: 3}, {RUN, INSTALL, UPGRADE}, id="111"),
        pytest.param({RUN: 4}, {RUN}, id="112"),
        pytest.param({RUN: 300, INSTALL: 300}, set(), id="two-byte-index"),
        pytest.param({INSTALL: 4}, {INSTALL}, id="112-no-run"),
        pytest.param({}, set(), id="empty-section"),
        pytest.param({RUN: 4, HOOK: 4}, {RUN, HOOK}, id="114"),
    ],
)
@pytest.mark.parametrize("where", ["module", "nested-module", "component"])
def test_stub_detection(indexes: dict[str, int], expected: set[str], where: str) -> None:
    core = module(*((name, FUNCTION, index) for name, index in indexes.items()))
    binary = {
        "module": core,
        "nested-module": component(section(1, core)),
        "component": component(exports(*indexes.items())),
    }[where]
    assert {name for name in [*TRIO, HOOK] if has_export(binary, name)} == expected


@pytest.mark.parametrize(
    "binary",
    [
        pytest.param(b"garbage bytes", id="112-garbage"),
        pytest.param(b"", id="112-empty-file"),
        pytest.param(component(exports((RUN, 7), (INSTALL, 7)))[:-1], id="132-truncated"),
        pytest.param(component(section(1, module()), b"\x0b\x7f"), id="size-past-end"),
        pytest.param(component(b"\x0b\xff\xff\xff\xff\xff\x01"), id="size-too-large"),
        pytest.param(component(section(11, b"\x01\x00\x7frun")), id="name-past-end"),
        pytest.param(component(section(11, b"\x01\x00\x03r\xff\xfe\x01\0\0")), id="name-not-utf8"),
        pytest.param(component(section(11, b"\x01\x02\x03run\x01\0\0")), id="name-kind"),
        pytest.param(component(section(11, b"\x01\x00\x03run\x09\0\0")), id="sort"),
        pytest.param(component(section(11, b"\x01\x00\x03run\x01\0\x02")), id="type-flag"),
        pytest.param(component(section(11, b"\x01\x00\x03run\x01\0\0\0")), id="bytes-left"),
        pytest.param(MODULE_PREAMBLE + section(7, b"\x01\x03run\x09\0"), id="kind"),
        pytest.param(component(section(1, b"not a module")), id="nested-garbage"),
    ],
)
def test_unreadable_binary_counts_as_having_every_export(binary: bytes) -> None:
    assert all(has_export(binary, name) for name in [*TRIO, HOOK])


def test_112_no_export_section() -> None:
    assert not has_export(component(section(0, named("x"))), RUN)
    assert not has_export(MODULE_PREAMBLE, RUN)


@pytest.mark.parametrize("kind", [GLOBAL, MEMORY], ids=["113-global", "113-memory"])
def test_only_functions_count(kind: int) -> None:
    assert not has_export(module((RUN, kind, 0)), RUN)
    assert has_export(module((RUN, FUNCTION, 5), (INSTALL, kind, 5)), RUN)


def test_113_component_export_of_another_sort() -> None:
    core_function = section(11, b"\x01\0" + named(RUN) + b"\x00\x00" + leb(4) + b"\0")
    assert not has_export(component(core_function), RUN)


def test_115_section_without_the_name_does_not_decide() -> None:
    binary = component(
        section(1, module(("memory", MEMORY, 0), ("other", FUNCTION, 0))),
        exports((RUN, 4), (INSTALL, 4)),
    )
    assert not has_export(binary, RUN)


def test_first_section_with_the_name_decides() -> None:
    binary = component(
        section(1, module((RUN, FUNCTION, 7), (INSTALL, FUNCTION, 7))),
        exports((RUN, 1), (INSTALL, 2)),
    )
    assert not has_export(binary, RUN)
    inverse = component(section(1, module((RUN, FUNCTION, 7))), exports((RUN, 1), (INSTALL, 1)))
    assert has_export(inverse, RUN)


def test_nested_components_and_typed_exports_are_read() -> None:
    inner = component(exports((RUN, 2), (INSTALL, 2)))
    assert not has_export(component(section(4, inner)), RUN)
    binary = bytes(
        wat2wasm(
            """(component (core module $m (func (export "f") ) )
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            (instance $none)
            (type $t (record (field "a" string)))
            (export "t" (type $t) (type (eq $t)))
            (export "i" (instance $none) (instance))
            (export "m" (core module $m) (core module (export "f" (func))))
            (export "run" (func $f) (func)))"""
        )
    )
    assert next(iter(iter_export_sections(binary))) == {"f": 0}
    assert has_export(binary, RUN)
    assert not has_export(binary, INSTALL)


def test_deep_nesting_is_refused_not_followed() -> None:
    binary = component(exports((RUN, 1), (INSTALL, 1)))
    for _ in range(MAX_NESTING + 1):
        binary = component(section(4, binary))
    assert has_export(binary, RUN)
    with pytest.raises(BinaryError, match="nested"):
        list(iter_export_sections(binary))


@pytest.mark.parametrize(
    ("binary", "what"),
    [
        (b"", "empty"),
        (MODULE_PREAMBLE, "core WebAssembly module"),
        (b"\0asm\x0a\x00\x01\x00", "version"),
        (b"\0asm", "version"),
        (b"#!/bin/sh\necho hello\n", "text"),
        (b"  (component)", "text form"),
        (b"PK\x03\x04....", "archive"),
        (b"\x7fELF\x02\x01", "native code"),
        (b"\x00\x01\x02", "not a WebAssembly component"),
    ],
)
def test_files_that_are_no_component_are_named(binary: bytes, what: str) -> None:
    with pytest.raises(ComponentError, match=what) as caught:
        check_is_component(binary)
    assert caught.value.code == "engine.component.not-a-component"
    assert caught.value.hint


VALID = bytes(
    wat2wasm(
        """(component
        (core module $a (memory 1) (table 3 funcref) (func (export "run")))
        (component $n
          (alias outer 1 $a (core module $again))
          (core module $k (memory 1 4))
          (core instance (instantiate $again))
          (core instance (instantiate $k)))
        (core instance $i (instantiate $a))
        (instance (instantiate $n)) (instance (instantiate $n))
        (func $f (canon lift (core func $i "run")))
        (export "run" (func $f)))"""
    )
)


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(COMPONENT_PREAMBLE.__add__)))
def test_any_bytes_are_judged(binary: bytes) -> None:
    assert isinstance(has_export(binary, RUN), bool)


@settings(max_examples=400, deadline=None)
@given(st.data())
@pytest.mark.slow
def test_damaged_components_are_judged_or_refused(data: st.DataObject) -> None:
    binary = bytearray(VALID)
    for _ in range(data.draw(st.integers(1, 4))):
        binary[data.draw(st.integers(8, len(binary) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(8, len(binary)))
    has_export(bytes(binary[:cut]), RUN)
    try:
        footprint = read_footprint(bytes(binary[:cut]))
    except BinaryError:
        return
    assert footprint.memories.total() <= 100


def test_footprint_counts_every_instantiation() -> None:
    footprint = read_footprint(VALID)
    assert footprint.memories == {Shape(65536, None): 3, Shape(65536, 4 * 65536): 2}
    assert footprint.tables == {Shape(3, None): 3}


def test_footprint_does_not_expand_multiplicities() -> None:
    text = "(component $c0 (core module $m (memory 1)) (core instance (instantiate $m)))"
    for level in range(1, 12):
        copies = f"(instance (instantiate $c{level - 1}))" * 4
        text = f"(component $c{level} {text} {copies})"
    with pytest.raises(BinaryError, match="more than 100"):
        read_footprint(bytes(wat2wasm(text)))


def test_module_received_as_a_value_is_refused() -> None:
    text = """(component (component $n
      (import "m" (core module $m))
      (core instance (instantiate $m))))"""
    assert read_footprint(bytes(wat2wasm("(component)"))).memories.total() == 0
    with pytest.raises(BinaryError, match="received"):
        read_footprint(bytes(wat2wasm(text)))


@pytest.mark.parametrize(
    ("shapes", "limit", "expected"),
    [
        ({}, 100, 100),
        ({Shape(1, None): 1}, 100, 100),
        ({Shape(1, None): 2}, 100, 50),
        ({Shape(1, 10): 1, Shape(1, None): 1}, 100, 90),
        ({Shape(1, 10): 3, Shape(1, None): 2}, 100, 35),
        ({Shape(1, 80): 1, Shape(1, None): 1}, 100, 50),
        ({Shape(1, 10): 2}, 100, 100),
    ],
)
def test_bound_keeps_the_sum_within_the_limit(
    shapes: dict[Shape, int], limit: int, expected: int
) -> None:
    bound = bound_each(Counter(shapes), limit=limit)
    assert bound == expected
    total = sum(
        min(bound, bound if shape.maximum is None else shape.maximum) * count
        for shape, count in shapes.items()
    )
    assert total <= limit
