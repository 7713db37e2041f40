"""Compiled code without what only debuggers read: the same code, and nothing unusual is touched."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from wasmtime import Engine, Store, WasmtimeError
from wasmtime.component import Component, Linker

from astrid_engine_wasm.prune import prune

UNREAD = (b".wasmtime.addrmap", b".symtab", b".strtab")
ADDS = """(component
  (core module $M
    (memory 1) (data (i32.const 0) "some data")
    (func (export "add") (param i32 i32) (result i32)
      (if (i32.eqz (local.get 1)) (then unreachable))
      (i32.add (local.get 0) (local.get 1))))
  (core instance $m (instantiate $M))
  (func (export "add") (param "a" s32) (param "b" s32) (result s32)
    (canon lift (core func $m "add"))))
"""
SECTION_TABLE_AT, SECTION_COUNT_AT, NAMES_AT = 40, 60, 62


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@pytest.fixture(scope="module")
def compiled(engine: Engine) -> bytes:
    return bytes(Component(engine, ADDS).serialize())


def section_names(artefact: bytes) -> list[bytes]:
    (start,) = struct.unpack_from("<Q", artefact, SECTION_TABLE_AT)
    count, names = struct.unpack_from("<HH", artefact, SECTION_COUNT_AT)
    rows = [struct.unpack_from("<IIQQQQ", artefact, start + 64 * at) for at in range(count)]
    text = artefact[rows[names][4] :]
    return [text[row[0] : text.index(b"\0", row[0])] for row in rows]


def adder(engine: Engine, artefact: bytes) -> Callable[[int, int], int]:
    store = Store(engine)
    component = Component.deserialize(engine, artefact)
    function = Linker(engine).instantiate(store, component).get_func(store, "add")
    assert function is not None
    return lambda a, b: function(store, a, b)


def test_what_is_left_out_is_gone_and_the_rest_is_there(compiled: bytes) -> None:
    before = section_names(compiled)
    assert set(UNREAD) <= set(before), "wasmtime still writes them"

    pruned = bytes(prune(compiled))

    assert section_names(pruned) == [name for name in before if name not in UNREAD]
    assert len(pruned) < len(compiled)
    assert bytes(prune(pruned)) == pruned


def test_pruned_code_answers_and_traps_as_before(engine: Engine, compiled: bytes) -> None:
    whole, pruned = adder(engine, compiled), adder(engine, bytes(prune(compiled)))

    assert pruned(40, 2) == whole(40, 2) == 42
    reasons = []
    for add in (whole, pruned):
        with pytest.raises(WasmtimeError, match="`unreachable`") as caught:
            add(1, 0)
        assert "M!<wasm function 0>" in str(caught.value)
        reasons.append(str(caught.value).partition("Caused by")[2])
    assert reasons[0] == reasons[1]


def test_pruned_code_is_mapped_from_a_file(engine: Engine, compiled: bytes, tmp_path: Path) -> None:
    path = tmp_path / "pruned"
    path.write_bytes(prune(compiled))

    assert Component.deserialize_file(engine, str(path))


@pytest.mark.parametrize("keep", [0, 1, 63, 64, 65, 4096, -1, -64])
def test_a_cut_file_is_left_alone(compiled: bytes, keep: int) -> None:
    assert prune(compiled[:keep]) == compiled[:keep]


def test_something_else_is_left_alone() -> None:
    text = b"no object file" * 100
    assert prune(text) is text


def test_damaged_headers_are_left_alone_or_give_bytes(compiled: bytes) -> None:
    source = random.Random(8126)  # noqa: S311 - a seed, so that failures repeat
    (table,) = struct.unpack_from("<Q", compiled, SECTION_TABLE_AT)
    places = [*range(64), *range(table, len(compiled))]
    left = 0
    for _ in range(500):
        damaged = bytearray(compiled)
        for place in source.sample(places, 3):
            damaged[place] = source.randrange(256)
        found = prune(bytes(damaged))
        assert len(found) <= len(compiled)
        left += found == damaged
    assert left > 100
