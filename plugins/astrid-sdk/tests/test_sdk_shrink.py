"""Components lose what nothing in them uses, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from wasmtime import Config, Engine, Store, wat2wasm
from wasmtime.component import Component, Linker

from astrid_sdk_host.leb import Cursor, UnknownFormError, number
from astrid_sdk_host.shrink import shrink, shrink_file

TEXT = """
(component
  (core module $library
    (memory (export "memory") 1 2)
    (table (export "unused-table") 1 2 funcref)
    (global $level (export "level") (mut i32) (i32.const 40))
    (func $helper (export "unused-function") (result i32) i32.const 7)
    (func $two (export "two") (result i32) i32.const 2))
  (core module $program
    (import "library" "two" (func $two (result i32)))
    (import "library" "level" (global $level (mut i32)))
    (import "library" "memory" (memory 1))
    (func (export "answer") (result i32) (i32.add (call $two) (global.get $level)))
    (func (export "unused-answer") (result i32) i32.const 0))
  (core instance $made (instantiate $library))
  (core instance $running (instantiate $program (with "library" (instance $made))))
  (component $inner
    (core module $hidden (func $a (export "a") (result i32) i32.const 1)
                         (func $b (export "unused-b") (result i32) i32.const 1))
    (core instance $i (instantiate $hidden))
    (func (export "one") (result u32) (canon lift (core func $i "a"))))
  (instance $nested (instantiate $inner))
  (func (export "answer") (result u32) (canon lift (core func $running "answer")))
  (@custom "kept" "of the author")
)
"""
IMPORTING = '(component (core module (import "e" "{0}" {1}) (func (export "x"))))'


@pytest.fixture(scope="module")
def component() -> bytes:
    return bytes(wat2wasm(TEXT))


def answer(binary: bytes, name: str = "answer") -> object:
    engine = Engine(Config())
    store = Store(engine)
    instance = Linker(engine).instantiate(store, Component(engine, binary))
    function = instance.get_func(store, name)
    assert function is not None
    return function(store)


def test_a_shrunk_component_does_what_it_did(component: bytes) -> None:
    small = shrink(component)

    assert len(small) < len(component)
    assert answer(component) == answer(small) == 42


def test_what_nobody_imports_is_gone(component: bytes) -> None:
    small = shrink(component)

    assert b"unused-" in component
    assert b"unused-" not in small
    for name in (b"memory", b"level", b"two", b"answer"):
        assert name in small


def test_debug_names_go_and_other_custom_sections_stay(component: bytes) -> None:
    small = shrink(component)

    assert b"helper" in component
    assert b"helper" not in small
    assert b"of the author" in small


def test_shrinking_again_changes_nothing(component: bytes) -> None:
    small = shrink(component)
    assert shrink(small) == small


@pytest.mark.parametrize(
    "kind",
    [
        "(func)",
        "(table 1 2 funcref)",
        "(table 1 funcref)",
        "(memory 1)",
        "(memory 1 2)",
        "(global (mut i64))",
        "(tag)",
    ],
)
def test_every_kind_of_import_is_read(kind: str) -> None:
    binary = bytes(wat2wasm(IMPORTING.format("needed", kind)))
    small = shrink(binary)
    assert b"needed" in small
    assert shrink(small) == small


@pytest.mark.parametrize("kind", ["(memory i64 1)", "(memory 1 2 shared)"])
def test_newer_limits_are_not_guessed_at(kind: str) -> None:
    with pytest.raises(UnknownFormError, match="limits"):
        shrink(bytes(wat2wasm(IMPORTING.format("needed", kind))))


def test_every_cut_is_refused_or_at_a_section(component: bytes) -> None:
    """A cut between sections leaves a component, anything else is an error of this kind."""
    whole = 0
    for end in range(len(component)):
        try:
            shrink(component[:end])
            whole += 1
        except UnknownFormError:
            pass
    assert 0 < whole < len(component) // 10


def test_a_file_of_an_unknown_form_stays(tmp_path: Path, component: bytes) -> None:
    path = tmp_path / "made.wasm"
    path.write_bytes(b"\0asm\x01\0\0\0")
    shrink_file(path)
    assert path.read_bytes() == b"\0asm\x01\0\0\0"

    path.write_bytes(component)
    shrink_file(path)
    assert path.read_bytes() == shrink(component)


@pytest.mark.parametrize("value", [0, 1, 127, 128, 16383, 16384, 2**32 - 1])
def test_numbers_come_back(value: int) -> None:
    text = number(value)
    cursor = Cursor(text, 0, len(text))
    assert cursor.number() == value
    assert cursor.at_end


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80\x80\x80\x80\x80\x00"])
def test_numbers_that_are_cut_off_or_too_long(data: bytes) -> None:
    with pytest.raises(UnknownFormError):
        Cursor(data, 0, len(data)).number()


def test_names_are_utf_8_and_places_inside() -> None:
    with pytest.raises(UnknownFormError, match="UTF-8"):
        Cursor(b"\x01\xff", 0, 2).name()
    with pytest.raises(UnknownFormError, match="cut off"):
        Cursor(b"abc", 2, 4)
