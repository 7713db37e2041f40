"""Which components were merged from versions that differ. Text is the real thing, compiled."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wasmtime import wat2wasm

from astrid_engine_wasm.merged import Merged, check_versions, merged
from astrid_hookspecs.errors import ComponentError

OLD, NEW, OTHER = "a:b/c@1.0.0", "a:b/c@1.2.0", "a:b/c@2.0.0"
CALLS = f"""(core module
  (import "env" "memory" (memory 1 2))
  (import "env" "table" (table 1 funcref))
  (import "env" "base" (global (mut i32)))
  (import "{OLD}" "act" (func (param i32 i32)))
  (import "{OLD}" "stay" (func)))"""


def component(*parts: str) -> bytes:
    return bytes(wat2wasm(f"(component {' '.join(parts)})"))


def imports(name: str) -> str:
    return f'(import "{name}" (instance))'


MERGED = component(imports("x:y/z@1.0.0"), imports(NEW), CALLS)
ABI = {f"{OLD}#act": ("func()",), f"{NEW}#act": ("func() -> u8",)}


def test_code_for_an_older_version_is_found() -> None:
    assert sorted(merged(MERGED)) == [Merged(OLD, NEW, "act"), Merged(OLD, NEW, "stay")]
    inner = component(imports(NEW), f"(component {imports(NEW)} {CALLS})")
    assert len(list(merged(inner))) == 2


@pytest.mark.parametrize(
    "parts",
    [
        [imports(OLD), CALLS],
        [imports(OLD), imports(NEW), CALLS],
        [imports(OTHER), CALLS],
        [imports(NEW)],
        [CALLS],
        [imports(NEW), f"(component {imports(OLD)} {CALLS})"],  # composed: the outer one adapts
    ],
    ids=["own", "both", "other-major", "no-code", "no-import", "composed"],
)
def test_code_that_gets_what_it_was_made_for(parts: list[str]) -> None:
    assert list(merged(component(*parts))) == []


def test_component_refused_when_the_versions_differ() -> None:
    with pytest.raises(ComponentError, match=r"in which act is another function") as caught:
        check_versions(MERGED, ABI)
    assert caught.value.code == "engine.component.versions"
    check_versions(MERGED, {**ABI, f"{NEW}#act": ("func()",)})
    check_versions(MERGED, {f"{NEW}#act": ("func()",)})


@settings(max_examples=200)
@given(st.integers(8, len(MERGED) - 1), st.integers(0, 255))
def test_hostile_bytes_are_refused_by_others(where: int, byte: int) -> None:
    for damaged in (MERGED[:where], MERGED[:where] + bytes([byte]) + MERGED[where + 1 :]):
        with contextlib.suppress(ComponentError):
            check_versions(damaged, ABI)
